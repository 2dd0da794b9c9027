"""Health check of a running server for orchestrators: a real photo must be answered.

    python -m facewright.server.probe [HOST:PORT] [SECONDS]

Exit status 0 when the server made an avatar or refused one in its own words (overloaded, deadline): a full
server is alive, and restarting it would lose what it works on. 1 when it stays silent, fails or is not there.
Triton's own health endpoints stay true when a stage has died.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from facewright_client import (
    Client,
    Connection,
    FacewrightClientError,
    InternalServerError,
    RetryPolicy,
    ServerUnavailableError,
)

from facewright.server.liveness import PROBE_PHOTO


def main(arguments: Sequence[str] | None = None) -> int:
    """Probe one server; returns the exit status and says why on standard error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    url = given[0] if given else "localhost:8001"
    patience_s = float(given[1]) if len(given) > 1 else 30.0
    client = Client(url, Connection(retries=RetryPolicy(attempts=1)))
    try:
        client.create(PROBE_PHOTO, timeout_s=patience_s, texture_size=512)
    except (ServerUnavailableError, InternalServerError) as error:
        sys.stderr.write(f"{url} is not alive: {error.code}: {error}\n")
        return 1
    except FacewrightClientError as error:
        # A stage's own refusal names the stage; a deadline that passed in silence does not.
        if not error.stage:
            sys.stderr.write(f"{url} is not alive: {error.code}: {error}\n")
            return 1
    finally:
        client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
