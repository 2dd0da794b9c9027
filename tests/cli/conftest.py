"""What tests of the command line share."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from facewright.cli import doctor, main
from facewright.cli.finding import Finding
from facewright.core.assets import cache_folder
from facewright_kernels._runtime.cpu_library import kernel_cache
from tests.support.scripted_triton import Scripted, scripted_server

#: The exit status of a doctor that finds this, and prints it.
Examine = Callable[[Finding], int]
#: The exit status, and what standard error has.
Said = tuple[int, str]
#: Runs a command line.
Say = Callable[[str], Said]


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


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command line in a folder with all sorts of files."""
    monkeypatch.chdir(tmp_path)
    for name in ("me.jpg", "you.jpg", "afile", "-x.jpg", "-5.jpg"):
        Path(name).write_bytes(b"photo")
    Path("empty.jpg").touch()
    Path("folder").mkdir()
    for name in ("photo.jpg", "folder/photo.glb"):
        Path(name).write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF")
    Path("broken.jpg").symlink_to("nowhere.jpg")
    for name in ("circle.jpg", "circle.glb", "circle.npz", "circle"):
        Path(name).symlink_to(name)
    os.mkfifo("pipe.jpg")

    def run(line: str) -> Said:
        try:
            status = main(shlex.split(line))
        except SystemExit as left:
            status = int(left.code or 0)
        return status, capsys.readouterr().err

    return run


@pytest.fixture
def scripted() -> Iterator[tuple[Scripted, str]]:
    """The server's script and its address."""
    with scripted_server() as served:
        yield served
