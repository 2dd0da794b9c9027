"""Triton's log, line by line, without what it says of CUDA on a machine where none is asked for."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from pathlib import Path
from typing import Final

from facewright.core.errors import FacewrightError
from facewright.engines.profile import Profile
from facewright_client._whole_file import make_folder_first
from facewright_client.contract import ErrorCode

#: Triton 2.51 makes a CUDA stream for each ensemble, a block manager and pinned memory whatever it serves,
#: and calls it an error that there is no driver or no GPU. No option turns that off, but for
#: `--log-error=false`, which would hide every other error too.
_EXPECTED_WITHOUT_CUDA: Final = re.compile(
    rb"[EW]\d{4} [^\]]*\] \"("
    rb"CudaDriverHelper has not been initialized\.|"
    rb"unable to create stream for \S+: "
    rb"(CUDA driver version is insufficient for CUDA runtime version|no CUDA-capable device is detected)|"
    rb"failed to allocate pinned system memory: no pinned memory pool, .*"
    rb")\"\n"
)


#: Standard output and error by their names. They are shared, not opened: where one is a file, what is said
#: there next would be written over the log, and a socket, as of a service's journal, cannot be opened.
_STREAMS: Final = {
    f"{place}{name}": number
    for number, stream in ((1, "stdout"), (2, "stderr"))
    for place, name in (("/dev/", stream), ("/dev/fd/", number), ("/proc/self/fd/", number))
}
#: How much of a file is looked at, and what no text has: it may be of any encoding but UTF-16, and coloured.
_LOOKED_AT: Final = 8192
_NO_TEXT: Final = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
_NULL_DEVICE: Final = Path(os.devnull)


def require_log(path: Path) -> None:
    """Refuse a place that no log should be added to, and make a file that is not there.

    A log may be a file of text, a new file in a folder that is there, a pipe (which is not opened: its reader
    would see its end), a terminal, and ``/dev/null``, ``/dev/stdout``, ``/dev/stderr``.

    Raises:
        FacewrightError: BAD_OPTION.
    """
    if str(path) in _STREAMS:
        return
    mend = "name another file with --log, or leave it out for standard error"
    try:
        kind = path.stat().st_mode if path.exists() else 0
        if stat.S_ISFIFO(kind) or (kind and path.samefile(_NULL_DEVICE)):
            return
        if stat.S_ISDIR(kind):
            problem = "is a folder"
        elif missing := make_folder_first(path):
            problem, mend = "is in no folder that there is", f"{missing}, or name another file"
        elif stat.S_ISCHR(kind) or stat.S_ISBLK(kind) or stat.S_ISSOCK(kind):
            with open(os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)) as device:
                if device.isatty():
                    return
            problem = "is a device"
        else:
            with path.open("a+b") as file:
                file.seek(0)
                if not _NO_TEXT.search(file.read(_LOOKED_AT)):
                    return
            problem, mend = "is no text, and nothing is added to it", "name another file"
    except OSError as error:
        problem = f"cannot be written: {error.strerror}"
    raise FacewrightError(ErrorCode.BAD_OPTION, f"--log {path} {problem}", mend)


class TritonLog:
    """What Triton and its stages write, on its way to a file or to standard error.

    Args:
        path: the file, to which is added; standard error when None.
        profile: what the networks run on: on GPUs every line is passed on.

    Raises:
        FacewrightError: INTERNAL, when the file cannot be written.
    """

    def __init__(self, path: Path | None, profile: Profile) -> None:
        self._left_out = _EXPECTED_WITHOUT_CUDA if profile == "cpu" else None
        stream = 2 if path is None else _STREAMS.get(str(path))
        self._target = _opened(path) if path is not None and stream is None else os.dup(stream or 2)
        reading, self._writing_end = os.pipe()
        self._reading = os.fdopen(reading, "rb")
        self._copying = threading.Thread(target=self._copy, name="triton-log", daemon=True)
        self._copying.start()

    @property
    def writing_end(self) -> int:
        """A descriptor for Triton to inherit as its output."""
        return self._writing_end

    def close(self) -> None:
        """Write what came until the last process that has the writing end ended, and close the file."""
        os.close(self._writing_end)
        self._copying.join(5.0)

    def _copy(self) -> None:
        for line in self._reading:
            if self._left_out is not None and self._left_out.fullmatch(line):
                continue
            try:
                os.write(self._target, line)
            except OSError:  # a full disk or a closed terminal, and nobody to tell: the server goes on
                continue
        self._reading.close()
        os.close(self._target)


def _opened(path: Path) -> int:
    """A descriptor that adds to a file. A pipe that nobody reads would be waited for, for ever."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    try:
        target = os.open(path, flags, 0o666)
    except OSError as error:
        problem = f"cannot be written: {error.strerror}"
        if error.errno == errno.ENXIO:
            problem = "is a pipe that nobody reads" if path.is_fifo() else "is no file"
        raise FacewrightError(
            ErrorCode.INTERNAL, f"the log {path} {problem}", "name another file with --log"
        ) from None
    os.set_blocking(target, True)
    return target
