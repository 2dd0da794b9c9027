"""A gateway before a Triton that somebody else started, in a process of its own, until its input ends.

python -m benchmarks.chaos.lone_gateway SOCKET
"""

from __future__ import annotations

import socket
import sys
import tempfile
from pathlib import Path

from facewright.gateway.admission import AdmissionSettings
from facewright.gateway.callers import Callers
from facewright.gateway.gateway import Gateway, GatewaySettings
from facewright.gateway.origins import page_rules
from facewright.pipelines.twin import AVATAR_TWIN

_HOST = "127.0.0.1"


def main(triton: Path) -> None:
    """Serve; says the gRPC port when it does."""
    pages = page_rules(_HOST, guarded=False, hosts=(), origins=())
    grpc_port, http_port = _free_port(), _free_port()
    # As many at once as come: nobody is to wait for slots that are sized for stages.
    settings = GatewaySettings(_HOST, grpc_port, http_port, pages, AdmissionSettings(at_once=1000))
    with tempfile.TemporaryDirectory(prefix="facewright-gateway-") as folder:
        gateway = Gateway(settings, {AVATAR_TWIN.name: AVATAR_TWIN}, Callers(), Path(folder) / "marks")
        gateway.open()
        gateway.use(triton, metrics_port=0)
        print(grpc_port, flush=True)
        sys.stdin.read()
        gateway.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
