"""What of Triton's log reaches its reader."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from facewright.engines.profile import Profile
from facewright.server.triton_log import TritonLog

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
    assert _passed(tmp_path / "log" / "triton.log", "cpu", _OF_CUDA + _OTHERS) == _OTHERS


@pytest.mark.parametrize("profile", ["cuda", "tensorrt"])
def test_a_server_on_gpus_does(profile: Profile, tmp_path: Path) -> None:
    assert _passed(tmp_path / "triton.log", profile, _OF_CUDA + _OTHERS) == _OF_CUDA + _OTHERS


def test_a_full_disk_does_not_hold_up_what_writes() -> None:
    log = TritonLog(Path("/dev/full"), "cpu")
    for _ in range(100):
        os.write(log.writing_end, b"x" * 4000 + b"\n")
    log.close()
