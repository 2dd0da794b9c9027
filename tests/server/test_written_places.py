"""A server that cannot write where it must says so in one line, before it starts anything."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from facewright.core.assets import cache_folder
from facewright.core.errors import FacewrightError
from facewright.server import written_places as module
from facewright.server.server_traces import TRITON_SOCKET, ServerFolder, running_folders
from facewright.server.written_places import (
    WrittenPlace,
    passed_over,
    require_kernels,
    require_places,
    written_places,
)
from facewright_export import open_assets

#: Where nobody can make a file, root included.
_READ_ONLY = "/proc/nowhere"


def _serve(*arguments: str, **changed: str) -> str:
    """What a start that fails says."""
    done = subprocess.run(
        [sys.executable, "-m", "facewright.cli", "serve", *arguments],
        env={**os.environ, **changed},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_cold_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """All is there but the kernels, which would be compiled now."""
    for path in cache_folder().iterdir():
        if path.name.startswith(("open", "triton-")):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "kernels").symlink_to(_READ_ONLY)
    said = _serve("--grpc-port=0", "--http-port=0", FACEWRIGHT_CACHE=str(tmp_path))
    error, mend = said.split("mend: ")
    assert f"error: {tmp_path}/kernels cannot be written (" in error
    assert "FACEWRIGHT_CACHE" in mend


def test_a_log_that_cannot_be_written_is_named() -> None:
    log = "--log=/proc/triton.log"
    said = _serve("--grpc-port=0", "--http-port=0", log)
    assert "/proc/triton.log cannot be written: " in said.split("mend: ")[0]
    assert "--log" in said


def test_a_warm_cache_may_be_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEWRIGHT_CACHE", _READ_ONLY)
    monkeypatch.setattr(module, "kernels_to_build", list)
    require_kernels()


def test_without_a_compiler_kernels_that_are_there_are_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> list[str]:
        raise module.CompilerError("there is no C++ compiler", "sudo apt-get install g++")

    monkeypatch.setattr(module, "kernels_to_build", refuse)
    with pytest.raises(FacewrightError, match=r"no C\+\+ compiler \(sudo apt-get install g\+\+\)"):
        require_kernels()


def test_no_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [_READ_ONLY])
    with pytest.raises(FacewrightError, match=rf"{_READ_ONLY}.*set TMPDIR"):
        require_places(1)


def test_a_tmpdir_that_is_passed_over_is_named(monkeypatch: pytest.MonkeyPatch, places: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", _READ_ONLY)
    assert passed_over().startswith(f"TMPDIR={_READ_ONLY} cannot be written, so ")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(places))
    assert passed_over() == ""


@pytest.mark.parametrize(("length", "fits"), [(58, True), (59, False), (120, False)])
def test_a_tmpdir_whose_name_is_too_long_for_sockets(
    length: int, fits: bool, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the server's folder is, Triton can listen there, and nobody else can enter."""
    temporary = places / ("t" * (length - len(f"{places}/")))
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    folder = ServerFolder()
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(folder.path / TRITON_SOCKET))
        assert folder.path.parent == (temporary if fits else Path("/tmp"))
        assert folder.path.stat().st_mode & 0o777 == 0o700
        assert folder.path in running_folders()
        assert any(place.holds(folder.path) for place in written_places())
        assert ("is too long a name" in passed_over()) is not fits
    finally:
        folder.remove()


def test_a_full_disk_is_told_from_one_that_is_only_read(tmp_path: Path) -> None:
    """In memory, where a file cannot be larger than all of it."""
    memory = Path("/dev/shm")
    room = shutil.disk_usage(memory).total + (1 << 20)
    full = WrittenPlace(memory, "facewright-test-", "tensors", "mend", room)
    assert full.problem() == f"/dev/shm has less than {room >> 20} MB free, for tensors"
    assert WrittenPlace(tmp_path / "made", "", "tensors", "mend").problem() == ""
    assert "cannot be written" in WrittenPlace(Path(_READ_ONLY), "", "tensors", "mend").problem()


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As in a container that runs as a number."""

    def unknown(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("FACEWRIGHT_CACHE", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(FacewrightError, match=r"has no home.*set FACEWRIGHT_CACHE"):
        require_places(1)
    with pytest.raises(FacewrightError, match=r"has no home.*set FACEWRIGHT_CACHE"):
        cache_folder()
    assert open_assets.main([]) == 1
    assert "set FACEWRIGHT_CACHE" in capsys.readouterr().err


def test_assets_are_not_built_where_nothing_can_be_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert open_assets.main(["--folder", _READ_ONLY]) == 1
    error, mend = capsys.readouterr().err.strip().splitlines()
    assert error.startswith(f"error: {_READ_ONLY} cannot be written: ")
    assert "FACEWRIGHT_CACHE" in mend


def test_the_operators_page_names_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEWRIGHT_CACHE", "$FACEWRIGHT_CACHE")
    monkeypatch.setattr(tempfile, "tempdir", "$TMPDIR")
    page = (Path(__file__).parents[2] / "deploy" / "README.md").read_text()
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("  | `")}
    declared = written_places()
    assert rows.keys() == {str(place.folder) for place in declared} | {"__pycache__"}
    for place in declared:
        assert place.prefix in rows[str(place.folder)]
