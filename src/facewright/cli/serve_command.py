"""``facewright serve``, and the server that ``--embedded`` starts for one command."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from facewright.core.assets import cache_folder
from facewright.server import Server, ServerFailedError, ServerSettings
from facewright.server.served_repository import served_pipelines
from facewright.server.triton_runtime import RuntimeMissingError

#: Why a server does not start or go on, beside FacewrightError.
NOT_STARTED: Final = (ServerFailedError, RuntimeMissingError)


def serve(settings: ServerSettings) -> int:
    """Run a server until SIGINT or SIGTERM; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s facewright: %(message)s", stream=sys.stderr)
    asked = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        asked.set()

    server = Server(settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    print(f"starting on {server.url}, {server.settings.usable_cores} cores …", flush=True)
    try:
        server.launch()
        announced = False
        while not asked.is_set():
            if not announced and server.wait_ready(0.2):
                _announce(server)
                announced = True
            server.wait_failed(0.2)
    except NOT_STARTED as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        server.stop()
    print("stopped", flush=True)
    return 0


@contextmanager
def embedded_server() -> Iterator[Server]:
    """A server on free ports; Triton's log goes to ``log/embedded.log`` in the cache.

    Raises:
        FacewrightError, RuntimeMissingError, ServerFailedError: as `Server.start`.
    """
    log = cache_folder() / "log" / "embedded.log"
    with Server(ServerSettings(grpc_port=0, http_port=0, metrics_port=0, log=log)) as server:
        yield server


def _announce(server: Server) -> None:
    settings = server.settings
    host = server.url.rsplit(":", 1)[0]
    tls = settings.tls_certificate
    # In plain text, and therefore to this machine only where requests are to be encrypted.
    http_host = settings.http_host if tls else host
    client = f'Client("{server.url}")'
    if tls:
        client = f'Client("{server.url}", Connection(tls=Tls(Path("{tls}"))))'
    served = served_pipelines(settings.pipelines)
    first = next(iter(served))
    imports = "Client, Connection, Tls; from pathlib import Path" if tls else "Client"
    print(
        f"""ready
  gRPC     {server.url}{" (TLS)" if tls else ""}
  HTTP     http://{http_host}:{settings.http_port}/v2/models/{first}
  serving  {", ".join(served)}
  metrics  http://{host}:{settings.metrics_port}/metrics
try
  facewright create me.jpg -o me.glb --server {server.url}{f" --tls-authority {tls}" if tls else ""}
  python -c 'from facewright_client import {imports}; {client}.create("me.jpg").save("me.glb")'
Ctrl-C stops the server.""",
        flush=True,
    )
