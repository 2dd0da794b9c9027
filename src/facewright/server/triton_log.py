"""Triton's log, line by line, without what it says of CUDA on a machine where none is asked for."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Final

from facewright.core.errors import FacewrightError
from facewright.engines.profile import Profile
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
        if path is None:
            self._target = os.dup(2)
        else:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise FacewrightError(
                    ErrorCode.INTERNAL,
                    f"the log {path} cannot be written: {error.strerror}",
                    "name another file with --log",
                ) from None
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
