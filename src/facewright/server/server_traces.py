"""What a server has on this machine while it runs, and how what killed ones left is found and removed.

Each server has a folder, and regions in ``/dev/shm`` through which Triton and its stages exchange tensors,
named after the process that supervises it. Every process of the server holds a lock on the folder. The names
of regions are removed as soon as every stage has opened its own: the memory then lives exactly as long as the
processes that use it, however they end. `written_places` lists all that a server writes to.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SHARED_MEMORY: Final = Path("/dev/shm")
_NAME: Final = re.compile(r"facewright-(\d+)-(\d+)-")
#: What Triton listens on, in a folder of its own: gRPC takes a port behind any name.
TRITON_SOCKET: Final = "triton:1"
#: Of a socket's whole name (unix(7)).
_LONGEST_SOCKET: Final = 107
#: The longest below the folder for temporary files: the largest process id, a boot thirty years ago.
_LONGEST_BELOW: Final = f"/facewright-{2**22}-{10**10}-8letters/{TRITON_SOCKET}"
_SHORT: Final = Path("/tmp")


def servers_place() -> Path:
    """Where servers have their folders, which nobody else can enter: among temporary files, or in ``/tmp``
    where the name of the folder for those is too long for sockets.
    """
    temporary = Path(tempfile.gettempdir())
    return temporary if len(os.fsencode(temporary)) + len(_LONGEST_BELOW) <= _LONGEST_SOCKET else _SHORT


class ServerFolder:
    """A new folder, locked until the last process that inherits the lock has ended."""

    def __init__(self) -> None:
        pid = os.getpid()
        prefix = f"facewright-{pid}-{_start_time(pid)}-"
        self.path: Final = Path(tempfile.mkdtemp(prefix=prefix, dir=servers_place()))
        #: A descriptor for child processes to inherit.
        self.lock: Final = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove the folder and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def remove_regions(prefix: str) -> None:
    """Remove the names of a server's regions; memory that a process still maps stays."""
    for path in _SHARED_MEMORY.glob(f"{prefix}*"):
        path.unlink(missing_ok=True)


def remove_stale_regions() -> int:
    """Remove regions of this user's servers that no longer run; returns how many."""
    removed = 0
    for path in _left_in(_SHARED_MEMORY):
        path.unlink(missing_ok=True)
        removed += 1
    return removed


def remove_stale_folders() -> int:
    """Remove folders of this user's servers of which no process lives; returns how many."""
    removed = 0
    for path in _left_in(servers_place()):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # no folder, or another server that starts was faster
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
        except BlockingIOError:  # its supervisor is dead, but not yet what it started
            continue
        finally:
            os.close(lock)
    return removed


def running_folders() -> Iterator[Path]:
    """Folders of this user's servers, and of their Tritons, whose supervisors run."""
    for path in servers_place().glob("facewright-*"):
        named = _NAME.match(path.name)
        if named is None or _start_time(int(named[1])) != named[2]:
            continue
        try:
            if path.lstat().st_uid == os.geteuid():
                yield path
        except FileNotFoundError:
            continue


def _left_in(folder: Path) -> Iterator[Path]:
    """What is named after a process that has ended, and is this user's: nobody else's may be removed."""
    for path in folder.glob("facewright-*"):
        named = _NAME.match(path.name)
        if named is None or _start_time(int(named[1])) == named[2]:
            continue
        try:
            if path.lstat().st_uid == os.geteuid():
                yield path
        except FileNotFoundError:
            continue


def _start_time(pid: int) -> str:
    """When a living process started, in clock ticks since boot (pids are used again); "" when none lives."""
    try:
        # The command's name is in parentheses and may hold anything; what follows the last one is fixed.
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
