"""``facewright serve``, and the server that ``--embedded`` starts for one command."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from facewright.cli.client_commands import DEFAULT_PIPELINE
from facewright.cli.messages import complain
from facewright.core.assets import cache_folder
from facewright.core.invocation import program, python
from facewright.gateway.callers import KEYS_VARIABLE
from facewright.pipelines.registry import stages
from facewright.server import Server, ServerFailedError, ServerSettings
from facewright.server.served_repository import served_pipelines
from facewright.server.triton_runtime import RuntimeMissingError
from facewright_client.contract import PHOTO

#: Why a server does not start or go on, beside FacewrightError.
NOT_STARTED: Final = (ServerFailedError, RuntimeMissingError)
#: Seconds after which it is told what a start waits for.
_PATIENCE_S: Final = 4.0


def serve(settings: ServerSettings) -> int:
    """Run a server until SIGINT or SIGTERM, the second of which waits for nobody; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s facewright: %(message)s", stream=sys.stderr)
    # Photos pass through this process, too, and what is left of one that crashes would hold them.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        # No Event: a second signal while it is being set would wait for the first for ever.
        nonlocal asked
        asked += 1

    try:
        server = Server(settings)
    except ServerFailedError as error:
        complain(error)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the last: its terminal was closed
        signal.signal(number, stop)
    signal.signal(signal.SIGUSR1, lambda _number, _frame: server.reload())
    try:
        server.launch()
        print(f"starting on {server.url}, {server.settings.usable_cores} cores …", flush=True)
        announced = told = False
        patient_until = time.monotonic() + _PATIENCE_S
        while not asked:
            if not announced and server.wait_ready(0.2):
                _announce(server)
                announced = True
            elif not announced and not told and time.monotonic() > patient_until:
                count = len(stages(served_pipelines(server.settings.pipelines)))
                print(f"loading {count} stages and networks, and trying each with a photo …", flush=True)
                told = True
            server.wait_failed(0.2)
    except NOT_STARTED as error:
        complain(*not_started(error))
        return 1
    finally:
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        while stopping.is_alive():
            stopping.join(0.2)
            if asked > 1:
                server.hurry()
    print("stopped", flush=True)
    return 0


def not_started(error: Exception) -> tuple[str, str]:
    """Why a server does not start, and the mend, "" where the message has it."""
    if isinstance(error, RuntimeMissingError):
        return error.what, error.mend
    return str(error), ""


@contextmanager
def embedded_server(pipelines: tuple[str, ...] = ()) -> Iterator[Server]:
    """A server of some pipelines, by default the usual ones, on free ports.

    Triton's log goes to ``log/embedded.log`` in the cache, or to standard error where the cache is only read.

    Raises:
        FacewrightError, RuntimeMissingError, ServerFailedError: as `Server.start`.
    """
    kept = cache_folder() / "log" / "embedded.log"
    log: Path | None = kept
    try:
        kept.parent.mkdir(exist_ok=True)
        kept.touch()
    except OSError:
        log = None
    server = Server(ServerSettings(grpc_port=0, http_port=0, log=log, pipelines=pipelines))
    try:
        server.start()
    except ServerFailedError as error:
        where = f"; the log: {log}" if log else ""
        raise ServerFailedError(f"{error}{where}") from error
    try:
        yield server
    finally:
        server.stop()


def _announce(server: Server) -> None:
    settings = server.settings
    host, tls = server.url.rsplit(":", 1)[0], settings.tls_certificate
    rest = f"{'https' if tls else 'http'}://{host}:{settings.http_port}/v1"
    served = served_pipelines(settings.pipelines)
    print(
        f"""ready
  gRPC     {server.url}{" (TLS)" if tls else ""}
  REST     {rest}/docs
  metrics  {rest}/metrics
  serving  {", ".join(served)}"""
    )
    from_photos = [name for name, row in served.items() if PHOTO in row.takes]
    if from_photos:
        keys = settings.keys is not None or KEYS_VARIABLE in os.environ
        print(_examples(server.url, rest, from_photos[0], tls, keys))
    print("Ctrl-C stops the server.", flush=True)


def _examples(url: str, rest: str, pipeline: str, tls: Path | None, keys: bool) -> str:
    """What to type to try a server; ``KEY`` stands for a key where one is asked for."""
    connection = [*([f'tls=Tls(Path("{tls}"))'] if tls else []), *(['key="KEY"'] if keys else [])]
    client = f'Client("{url}", Connection({", ".join(connection)}))' if connection else f'Client("{url}")'
    imports = "Client, Connection" if connection else "Client"
    imports += ", Tls; from pathlib import Path" if tls else ""
    default = pipeline == DEFAULT_PIPELINE
    flags = f"{'' if default else f' --pipeline {pipeline}'}{f' --tls-authority {tls}' if tls else ''}"
    named = (
        "\n  and, where the certificate was issued for another name: --tls-server-name NAME" if tls else ""
    )
    photo = '"me.jpg"' if default else f'"me.jpg", "{pipeline}"'
    query = "" if default else f"?pipeline={pipeline}"
    authority = f"--cacert {tls} " if tls else ""
    header = "-H 'Authorization: Bearer KEY' " if keys else ""
    variable = "FACEWRIGHT_KEY=KEY " if keys else ""
    return f"""try
  curl {authority}{header}--fail-with-body --data-binary @me.jpg '{rest}/avatars{query}' -o me.glb
  {variable}{program()} create me.jpg -o me.glb --server {url}{flags}
  {python()} -c 'from facewright_client import {imports}; {client}.create({photo}).save("me.glb")'{named}"""
