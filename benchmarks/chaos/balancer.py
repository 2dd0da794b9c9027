"""HAProxy before several servers: gRPC over HTTP/2 to those whose REST door says that they are ready."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.chaos.server_processes import eventually

#: Of this machine alone. A server that is told of as not ready keeps what it has.
_CONFIGURATION: Final = """\
defaults
    mode http
    timeout connect 2s
    timeout client 120s
    timeout server 120s
    option redispatch
    retries 3
frontend callers
    bind 127.0.0.1:{port} proto h2
    default_backend servers
backend servers
    balance leastconn
    option httpchk
    http-check send meth GET uri /v1/health/ready ver HTTP/1.1 hdr Host localhost
    http-check expect status 200
"""
_SERVER: Final = (
    "    server s{grpc_port} 127.0.0.1:{grpc_port} proto h2"
    " check check-proto h1 port {rest_port} inter 250ms fall 1 rise 2\n"
)


class BalancerMissingError(Exception):
    """HAProxy is not installed; the message says how it is."""


class Ports(NamedTuple):
    """Of one server's doors."""

    grpc_port: int
    rest_port: int

    def ready(self) -> bool:
        """Whether the server says so."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.rest_port}/v1/health/ready", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def haproxy() -> str:
    """The program's path.

    Raises:
        BalancerMissingError: there is none.
    """
    found = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise BalancerMissingError("HAProxy is not installed here: sudo apt-get install haproxy")
    return found


@contextmanager
def balanced(servers: Sequence[Ports]) -> Iterator[str]:
    """Starts HAProxy before servers, and stops it; gives the address that callers use.

    Raises:
        BalancerMissingError: it is not installed.
        RuntimeError: it does not start.
    """
    program, (port,) = haproxy(), free_ports(1)
    with tempfile.TemporaryDirectory(prefix="facewright-balancer-") as folder:
        configuration = Path(folder) / "haproxy.cfg"
        rows = "".join(_SERVER.format(**server._asdict()) for server in servers)
        configuration.write_text(_CONFIGURATION.format(port=port) + rows)
        said = Path(folder) / "said"
        with said.open("w") as output:
            command = [program, "-db", "-f", str(configuration)]
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            if not eventually(lambda: _listens(port) or process.poll() is not None, 10.0) or process.poll():
                raise RuntimeError(f"haproxy does not start: {said.read_text()[-200:]}")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
