"""What dead servers left is removed; what anybody may still use is not."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from facewright.server.server_traces import (
    ServerFolder,
    remove_regions,
    remove_stale_folders,
    remove_stale_regions,
)

#: Above the largest process id that Linux gives.
DEAD = "facewright-4194999-123-test"


@pytest.fixture(autouse=True)
def temporary(places: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder that no other test's server sweeps."""
    monkeypatch.setattr(tempfile, "tempdir", str(places))
    return places


def test_regions_of_dead_servers_are_removed_and_of_living_ones_kept() -> None:
    folder = ServerFolder()
    dead, living = (Path("/dev/shm") / name for name in (DEAD, f"{folder.path.name}-region"))
    for path in (dead, living):
        path.write_bytes(b"")
    try:
        assert remove_stale_regions() >= 1
        assert not dead.exists()
        assert living.exists()
        remove_regions(folder.path.name)
        assert not living.exists()
    finally:
        living.unlink(missing_ok=True)
        folder.remove()


def test_folders_of_dead_servers_are_removed_and_of_living_ones_kept(temporary: Path) -> None:
    dead = temporary / DEAD
    (dead / "model_repository").mkdir(parents=True)
    (temporary / "facewright-notes").mkdir()
    living = ServerFolder()
    assert remove_stale_folders() == 1
    assert sorted(temporary.iterdir()) == sorted([temporary / "facewright-notes", living.path])
    living.remove()
    assert not living.path.exists()


def test_a_folder_is_kept_while_a_process_has_its_lock(temporary: Path) -> None:
    """The supervisor is dead, and one of its stages not yet."""
    folder = ServerFolder()
    stage = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(folder.lock,))
    orphaned = folder.path.rename(temporary / DEAD)
    os.close(folder.lock)
    assert remove_stale_folders() == 0
    assert orphaned.is_dir()
    stage.communicate()
    assert remove_stale_folders() == 1
    assert not orphaned.exists()


def test_a_link_is_not_followed(temporary: Path) -> None:
    precious = temporary / "precious"
    precious.mkdir()
    (temporary / DEAD).symlink_to(precious)
    assert remove_stale_folders() == 0
    assert precious.is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user")
def test_what_another_user_left_is_not_touched(temporary: Path) -> None:
    theirs, region = temporary / DEAD, Path("/dev/shm") / DEAD
    theirs.mkdir()
    region.write_bytes(b"")
    try:
        for path in (theirs, region):
            os.chown(path, 12345, 12345)
        assert remove_stale_folders() == 0
        remove_stale_regions()
        assert theirs.is_dir()
        assert region.exists()
    finally:
        region.unlink()
