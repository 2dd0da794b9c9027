"""What of Triton's log reaches its reader."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from facewright.engines.profile import Profile
from facewright.server.triton_log import TritonLog, require_log

#: As Triton 2.51 writes them on a machine without a driver, and on one with a driver and no GPU.
_OF_CUDA: Final = """\
E1130 08:45:58.6 21310 server.cc:241] "CudaDriverHelper has not been initialized."
E1130 08:46:11.8 21310 ensemble_scheduler.cc:1468] "unable to create stream for avatar_twin: CUDA driver \
version is insufficient for CUDA runtime version"
E1130 08:46:11.8 21310 ensemble_scheduler.cc:1468] "unable to create stream for avatar_twin: no \
CUDA-capable device is detected"
W1130 08:46:12.1 21310 pinned_memory_manager.cc:170] "failed to allocate pinned system memory: no pinned \
memory pool, falling back to non-pinned system memory"
"""
_OTHERS: Final = """\
E1130 08:46:11.8 21310 ensemble_scheduler.cc:1468] "unable to create stream for avatar_twin: out of memory"
E1130 08:46:11.8 21310 model_lifecycle.cc:654] "failed to load 'fit_head' version 1: CUDA driver is old"
find_face: ValueError
the last line, without an end"""


def _passed(path: Path, profile: Profile, text: str) -> str:
    log = TritonLog(path, profile)
    os.write(log.writing_end, text.encode())
    log.close()
    return path.read_text()


def test_a_server_without_gpus_does_not_complain_of_their_absence(tmp_path: Path) -> None:
    assert _passed(tmp_path / "triton.log", "cpu", _OF_CUDA + _OTHERS) == _OTHERS


@pytest.mark.parametrize("profile", ["cuda", "tensorrt"])
def test_a_server_on_gpus_does(profile: Profile, tmp_path: Path) -> None:
    assert _passed(tmp_path / "triton.log", profile, _OF_CUDA + _OTHERS) == _OF_CUDA + _OTHERS


def test_a_full_disk_does_not_hold_up_what_writes() -> None:
    log = TritonLog(Path("/dev/full"), "cpu")
    for _ in range(100):
        os.write(log.writing_end, b"x" * 4000 + b"\n")
    log.close()


@pytest.mark.parametrize(
    "content", ["", "I1130 08:45 started\n", "Gänge\r\n\x1b[31mrot\t\f", "latin: Gänge".encode("latin-1")]
)
def test_a_log_may_be_continued(content: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "triton.log"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    require_log(path)
    require_log(tmp_path / "new.log")


@pytest.mark.parametrize("name", ["/dev/null", "/dev/stdout", "/dev/stderr", "/proc/self/fd/2"])
def test_places_that_are_no_files_and_take_a_log(name: str) -> None:
    require_log(Path(name))
    TritonLog(Path(name), "cpu").close()


def test_a_pipe_that_is_read_takes_a_log(tmp_path: Path) -> None:
    """Its reader, which ends with the last that writes, sees one."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    require_log(path)
    log = TritonLog(path, "cpu")
    os.write(log.writing_end, b"a line\n")
    log.close()
    assert os.read(reading, 100) == b"a line\n"
    os.close(reading)


def test_a_log_on_standard_output_follows_what_is_there_already(tmp_path: Path) -> None:
    """A file that a shell opened for both has one place where the next line goes."""
    program = (
        "import os; from pathlib import Path; from facewright.server.triton_log import TritonLog\n"
        "os.write(1, b'first\\n'); log = TritonLog(Path('/dev/stdout'), 'cpu')\n"
        "os.write(log.writing_end, b'second\\n'); log.close(); os.write(1, b'third\\n')"
    )
    with (tmp_path / "all").open("wb") as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, check=True)
    assert (tmp_path / "all").read_text() == "first\nsecond\nthird\n"
