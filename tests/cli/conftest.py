"""What the tests of the doctor share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from facewright.cli import doctor
from facewright.cli.finding import Finding
from facewright.core.assets import cache_folder
from facewright_kernels._runtime.cpu_library import kernel_cache

#: The exit status of a doctor that finds this, and prints it.
Examine = Callable[[Finding], int]


@pytest.fixture
def examine(monkeypatch: pytest.MonkeyPatch) -> Examine:
    """The doctor with one check, which finds what it is given."""

    def with_finding(finding: Finding) -> int:
        monkeypatch.setattr(doctor, "_CHECKS", (lambda: finding,))
        return doctor.examine(quiet=True)

    return with_finding


@pytest.fixture
def copied_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own, whose files are this machine's."""
    cache = tmp_path / "cache"
    shutil.copytree(cache_folder() / "open", cache / "open")
    (runtime,) = cache_folder().glob("triton-*")
    shutil.copytree(runtime, cache / runtime.name, copy_function=os.symlink)
    (cache / "kernels").symlink_to(kernel_cache())
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(cache))
    return cache
