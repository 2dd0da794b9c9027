r"""Health check of a running server for orchestrators: a real photo must be answered.

    python -m facewright.server.probe [--pipeline NAME] [--tls-authority PEM [--tls-server-name NAME]] \
        [--key-file FILE] [HOST:PORT] [SECONDS]

A server that asks for an API key is probed with one of its own: ``--key-file``, or ``$FACEWRIGHT_KEY``.

Exit status 0 when the server made an avatar or refused one in its own words (overloaded, deadline): a full
server is alive, and restarting it would lose what it works on. So is one that starts, stops, or replaces its
Triton, which it says: it keeps what was lost, to compute it again, and ends by itself where it cannot mend
things. 1 when it stays silent, fails or is not there. Triton's own health endpoints stay true when a stage
has died.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facewright.core.invocation import runnable
from facewright.pipelines.registry import pipelines
from facewright.server.liveness import PROBE_PHOTO, smallest_options
from facewright_client import (
    Client,
    Connection,
    DeadlineExceededError,
    FacewrightClientError,
    InternalServerError,
    RetryPolicy,
    ServerUnavailableError,
    Tls,
    UnauthenticatedError,
)
from facewright_client._api_key import key_from
from facewright_client.contract import GLB, PHOTO


def main(arguments: Sequence[str] | None = None) -> int:
    """Probe one server; returns the exit status and says why on standard error."""
    parser = argparse.ArgumentParser(
        "python -m facewright.server.probe",
        allow_abbrev=False,
        description="Ask a running server for an avatar; exit status 0 when it is alive, else 1.",
    )
    parser.add_argument("url", nargs="?", default="localhost:8001", metavar="HOST:PORT")
    parser.add_argument("patience_s", nargs="?", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument(
        "--tls-authority", type=Path, metavar="PEM", help="who signed the server's certificate, or itself"
    )
    parser.add_argument(
        "--tls-server-name", metavar="NAME", help="what the certificate was issued for, where not for HOST"
    )
    parser.add_argument(
        "--pipeline", metavar="NAME", help="what is asked (default: the first that the server serves)"
    )
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help="holds an API key (default: that in $FACEWRIGHT_KEY)"
    )
    given = parser.parse_args(arguments)
    if not 0 < given.patience_s < 1e6:
        parser.error(f"SECONDS is {given.patience_s}; give more than 0")
    url: str = given.url
    tls = None
    if given.tls_authority is not None:
        tls = Tls(authority=given.tls_authority, server_name=given.tls_server_name)
    try:
        # A failure is news, so nothing is retried.
        connection = Connection(retries=RetryPolicy(attempts=1), tls=tls, key=key_from(given.key_file))
        client = Client(url, connection)
    except (ValueError, OSError) as error:  # no address, no PEM file, or no key
        sys.stderr.write(f"{url} cannot be asked: {error}\n")
        return 1
    try:
        asked = given.pipeline or _served_pipeline(client)
        options: dict[str, Any] = smallest_options(pipelines()[asked]) if asked in pipelines() else {}
        client.create(PROBE_PHOTO, asked, timeout_s=given.patience_s, **options)
    except ServerUnavailableError as error:
        if error.stage != "gateway":  # nobody is there
            sys.stderr.write(runnable(f"{url} is not alive: {error.code}: {error}\n"))
            return 1
        sys.stderr.write(f"{url} is alive, and no photo was tried: {error}\n")
    except InternalServerError as error:
        sys.stderr.write(runnable(f"{url} is not alive: {error.code}: {error}\n"))
        return 1
    except FacewrightClientError as error:
        # A refusal names who refuses; a deadline that passed in silence names nobody, or the gateway, which
        # waited for Triton.
        silent = isinstance(error, DeadlineExceededError) and error.stage == "gateway"
        if silent or not error.stage:
            sys.stderr.write(f"{url} is not alive: {error.code}: {error}\n")
            return 1
        if isinstance(error, UnauthenticatedError):  # a key that has ended must not end the server, too
            sys.stderr.write(f"{url} answers, and no photo was tried: {error}\n")
    finally:
        client.close()
    return 0


def _served_pipeline(client: Client) -> str:
    """The first pipeline that makes an avatar of a photo and that the server says it serves.

    Raises:
        FacewrightClientError: there is none, or nobody answers.
    """
    names = [name for name, row in pipelines().items() if PHOTO in row.takes and GLB in row.gives]
    for name in names:
        if client.ready(name):
            return name
    client.statistics()  # whoever does not answer serves nothing, either
    raise ServerUnavailableError(f"it serves none of {', '.join(names)}", "name one with --pipeline")


if __name__ == "__main__":
    sys.exit(main())
