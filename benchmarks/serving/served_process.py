"""`facewright serve` as an operator runs it: a process of its own, measured with everything below it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STOP_PATIENCE_S = 30.0


@dataclass(frozen=True)
class ServedProcess:
    """A running service.

    Attributes:
        url: host and gRPC port.
        pid: of the supervisor and the gateway; Triton and the stages are below it.
        messages: file with what the supervisor says.
    """

    url: str
    pid: int
    messages: Path

    def restarts(self) -> int:
        """How often the supervisor had to replace Triton."""
        return self.messages.read_text().count("replacing Triton")


@contextmanager
def served(log: Path | None = None) -> Iterator[ServedProcess]:
    """Starts the service on free loopback ports, waits until every stage has answered, stops it at the end.

    Args:
        log: Triton's log; a temporary file by default.

    Raises:
        RuntimeError: it did not start; the message quotes why.
    """
    with tempfile.TemporaryDirectory(prefix="facewright-benchmark-") as folder:
        messages = Path(folder) / "messages"
        ports = ("--grpc-port", "0", "--http-port", "0")
        command = [sys.executable, "-m", "facewright.cli", "serve", *ports]
        command += ["--log", str(log or Path(folder) / "triton.log")]
        with messages.open("w") as said:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
        try:
            yield ServedProcess(_announced_url(process, messages), process.pid, messages)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _announced_url(process: subprocess.Popen[str], messages: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        announced = re.fullmatch(r"\s*gRPC\s+(\S+)\s*", line)
        if announced:
            return announced[1]
    raise RuntimeError(f"facewright serve did not start: {messages.read_text().strip()}")
