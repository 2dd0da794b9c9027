"""`facewright serve` as an operator runs it: a process of its own, measured with everything below it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

#: A server answers whoever is in the house before it ends.
_STOP_PATIENCE_S = 90.0


@dataclass(frozen=True)
class ServedProcess:
    """A running service.

    Attributes:
        url: host and gRPC port.
        rest_port: of the REST door, on the same host.
        pid: of the supervisor and the gateway; Triton and the stages are below it.
        messages: file with what the supervisor says.
    """

    url: str
    rest_port: int
    pid: int
    messages: Path
    _process: subprocess.Popen[str] = field(repr=False)

    def restarts(self) -> int:
        """How often the supervisor had to replace Triton."""
        return self.messages.read_text(errors="replace").count("replacing Triton")

    def stop(self) -> int:
        """Ask it to stop, as a container's runtime does, and wait; its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@contextmanager
def served(log: Path | None = None, arguments: Sequence[str] = ()) -> Iterator[ServedProcess]:
    """Starts the service on free loopback ports, waits until every stage has answered, stops it at the end.

    Args:
        log: Triton's log; a temporary file by default.
        arguments: of ``facewright serve``, beside ports and log.

    Raises:
        RuntimeError: it did not start; the message quotes why.
    """
    with tempfile.TemporaryDirectory(prefix="facewright-benchmark-") as folder:
        messages = Path(folder) / "messages"
        ports = ("--grpc-port", "0", "--http-port", "0")
        command = [sys.executable, "-m", "facewright.cli", "serve", *ports]
        command += ["--log", str(log or Path(folder) / "triton.log"), *arguments]
        with messages.open("w") as said:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
        try:
            url, rest_port = _announced(process, messages)
            server = ServedProcess(url, rest_port, process.pid, messages, process)
            try:
                yield server
            finally:
                server.stop()
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _announced(process: subprocess.Popen[str], messages: Path) -> tuple[str, int]:
    """Where its doors are: the gRPC door's address, the REST door's port."""
    assert process.stdout is not None
    url = ""
    for line in process.stdout:
        if announced := re.fullmatch(r"\s*gRPC\s+(\S+)\s*", line):
            url = announced[1]
        elif announced := re.fullmatch(r"\s*REST\s+http://[^/]+:(\d+)/\S*\s*", line):
            return url, int(announced[1])
    raise RuntimeError(f"facewright serve did not start: {messages.read_text(errors='replace').strip()}")
