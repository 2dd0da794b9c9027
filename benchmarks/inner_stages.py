"""How the same user reaches single stages, past a server's doors."""

from __future__ import annotations

import re
from pathlib import Path


def triton_target(pid: int) -> str:
    """Where gRPC finds the Triton behind a server's doors: in a folder that is its user's alone.

    Args:
        pid: Triton's process id.

    Raises:
        ValueError: it is another process's.
    """
    arguments = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    address, number = (re.search(rf"--grpc-{name}=(\S+)", arguments) for name in ("address", "port"))
    if address is None or number is None:
        raise ValueError(f"process {pid} is no Triton: {arguments}")
    return f"{address[1]}:{number[1]}"
