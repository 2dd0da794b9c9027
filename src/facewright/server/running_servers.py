"""Servers of this user that run on this machine, and what each says of itself: for commands about them.

Each has a file in its folder (`facewright.server.server_traces`), which is replaced whenever it changes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from facewright.server.server_traces import running_folders

_NAME: Final = "status.json"


@dataclass(frozen=True)
class ServerStatus:
    """What a server says.

    Attributes:
        pid: of the process that supervises it, which takes signals.
        url: host and gRPC port.
        ready: whether it answers.
        reloaded: how often another Triton was loaded because somebody asked for it.
        not_reloaded: how often that failed.
        why_not: the last time, in words.
    """

    pid: int
    url: str
    ready: bool
    reloaded: int = 0
    not_reloaded: int = 0
    why_not: str = ""

    def write(self, folder: Path) -> None:
        """Say it in a server's folder."""
        new = folder / f".{_NAME}"
        new.write_text(json.dumps(asdict(self)))
        new.replace(folder / _NAME)


def running_servers() -> Iterator[ServerStatus]:
    """All of this user's."""
    for folder in running_folders():
        try:
            status = ServerStatus(**json.loads((folder / _NAME).read_text()))
        except (OSError, ValueError, TypeError):  # of a Triton, or of a server that begins or ends
            continue
        if status.pid != os.getpid():
            yield status
