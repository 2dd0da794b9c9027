"""Where a server writes: all of it, and whether it can before it starts."""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from facewright.core.assets import ANOTHER_CACHE
from facewright.core.errors import FacewrightError
from facewright.server.server_traces import servers_place
from facewright_client.contract import ErrorCode
from facewright_kernels._runtime.cpu_library import CompilerError, kernel_cache
from facewright_kernels._runtime.kernel_source import kernels_to_build

#: What Triton takes at once for each stage process; it grows with the tensors.
_REGION_BYTES: Final = 1 << 20
#: Of a compiled kernel, and what the linker needs beside it.
_KERNEL_BYTES: Final = 1 << 18


@dataclass(frozen=True)
class WrittenPlace:
    """A folder that a server writes to.

    Args:
        folder: which.
        prefix: how the names of all files and folders begin that it makes there.
        purpose: what they are.
        mend: what to do where it cannot be written.
        room: bytes that a start needs there.
    """

    folder: Path
    prefix: str
    purpose: str
    mend: str
    room: int = 0

    def holds(self, path: Path) -> bool:
        """Whether a path is the folder's, and named as the server names its files there."""
        if not path.is_relative_to(self.folder):
            return False
        below = path.relative_to(self.folder).parts
        return not below or below[0].startswith(self.prefix)

    def problem(self) -> str:
        """Why it cannot be written, which is tried; "" where it can."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(prefix=self.prefix, dir=self.folder) as file:
                if self.room:
                    os.posix_fallocate(file.fileno(), 0, self.room)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                return f"{self.folder} has less than {self.room >> 20} MB free, for {self.purpose}"
            return f"{self.folder} cannot be written ({error.strerror}), for {self.purpose}"
        return ""


def written_places(stages: int = 0) -> tuple[WrittenPlace, ...]:
    """Every place that a server writes to, the file of ``serve --log`` apart.

    Python also keeps the bytecode of sources in ``__pycache__`` beside them, where it may write there.

    Args:
        stages: processes of stages that are to start.

    Raises:
        FacewrightError: INTERNAL, when there is no folder for temporary files, or none for the cache.
    """
    try:
        temporary, kernels = Path(tempfile.gettempdir()), kernel_cache()
    except CompilerError as error:
        raise FacewrightError(ErrorCode.INTERNAL, error.problem, error.mend) from None
    except OSError as error:
        raise FacewrightError(
            ErrorCode.INTERNAL, str(error.strerror), "set TMPDIR to a folder that you may write"
        ) from None
    servers = servers_place()
    elsewhere = (
        WrittenPlace(
            servers,
            "facewright-",
            "the server's folder, for sockets have short names",
            "make room there, or set TMPDIR to a folder with a short name that you may write",
            room=1 << 20,
        ),
    )
    size = 1 + _REGION_BYTES * stages // (1 << 30)  # gigabytes
    return (
        WrittenPlace(
            temporary,
            "",
            "the server's folder facewright-*, and the compiler's files",
            "make room there, or set TMPDIR to another folder that you may write",
            room=1 << 20,
        ),
        *(elsewhere if servers != temporary else ()),
        WrittenPlace(
            Path("/tmp"),
            "python_env_",
            "an empty folder of Triton's Python backend, whatever TMPDIR says",
            "mount a tmpfs there, such as by podman run --tmpfs /tmp",
        ),
        WrittenPlace(
            Path("/dev/shm"),
            "facewright-",
            "tensors on their way between stages",
            f"mount -o remount,rw,size={size}g /dev/shm   (containers: --shm-size={size}g)",
            room=_REGION_BYTES * stages,
        ),
        WrittenPlace(
            kernels,
            "",
            "kernels, compiled for this processor",
            ANOTHER_CACHE,
        ),
    )


def passed_over() -> str:
    """What is wrong with TMPDIR where temporary files or servers go elsewhere; "" where nothing is."""
    asked = os.environ.get("TMPDIR")
    if asked and Path(tempfile.gettempdir()) != Path(asked).absolute():
        return f"TMPDIR={asked} cannot be written, so {tempfile.gettempdir()} takes its place"
    if (servers := servers_place()) != Path(tempfile.gettempdir()):
        return f"TMPDIR={asked} is too long a name for sockets, so the server's folder is in {servers}"
    return ""


def require_places(stages: int) -> None:
    """Make sure that a server can write what it always does.

    Args:
        stages: processes of stages that are to start.

    Raises:
        FacewrightError: INTERNAL: some place cannot be written, or has no room.
    """
    *always, _ = written_places(stages)
    for place in always:
        if problem := place.problem():
            raise FacewrightError(ErrorCode.INTERNAL, problem, place.mend)


def require_kernels() -> None:
    """Make sure that kernels are compiled, or can be: where they are, their folder may be only read.

    Raises:
        FacewrightError: INTERNAL: there is no compiler, or no place for what it makes.
    """
    *_, place = written_places()
    try:
        missing = kernels_to_build()
    except CompilerError as error:
        raise FacewrightError(ErrorCode.INTERNAL, error.problem, error.mend) from None
    if missing and (problem := replace(place, room=len(missing) * _KERNEL_BYTES).problem()):
        raise FacewrightError(ErrorCode.INTERNAL, problem, place.mend)
