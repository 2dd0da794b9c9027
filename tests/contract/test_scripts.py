"""The commands of the README, as a newcomer's machine meets them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from PIL import Image

from facewright.pipelines.twin import AVATAR_TWIN

ROOT = Path(__file__).resolve().parents[2]


def _run(
    command: Sequence[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture
def bare_machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who is not root and has neither Python nor a compiler."""
    for name in ("bash", "dirname", "uname", "env"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    identity = tmp_path / "id"
    identity.write_text("#!/bin/sh\necho 1000\n")
    identity.chmod(0o755)
    return {"PATH": str(tmp_path), "HOME": str(tmp_path)}


_SCRIPTS: Final = sorted((ROOT / "scripts").iterdir())


def _script(path: Path) -> list[str]:
    """The command that runs a script, in this environment where it is Python."""
    return [
        sys.executable if "python" in path.read_text().splitlines()[0] else "bash",
        f"scripts/{path.name}",
    ]


@pytest.mark.parametrize("path", _SCRIPTS, ids=lambda path: path.name)
def test_every_script_says_how_it_is_called(path: Path) -> None:
    for option in ("--help", "-h"):
        done = _run([*_script(path), option])
        assert done.returncode == 0, done.stderr
        assert f"scripts/{path.name}" in done.stdout
        assert len(done.stdout.splitlines()) >= 2, "no word on what it does"


@pytest.mark.parametrize("arguments", [["--tset"], ["tset", "1", "2"]], ids=["option", "words"])
@pytest.mark.parametrize("path", _SCRIPTS, ids=lambda path: path.name)
def test_no_script_runs_on_arguments_that_it_does_not_know(path: Path, arguments: list[str]) -> None:
    """Where a script takes words, they are files, and these are not there."""
    done = _run([*_script(path), *arguments])
    assert done.returncode in (1, 2)
    assert any(word in done.stderr + done.stdout for word in arguments)
    assert "installing" not in done.stdout


def test_setup_names_the_command_for_what_only_root_can_install(bare_machine: dict[str, str]) -> None:
    done = _run(["bash", "scripts/setup"], bare_machine)
    assert done.returncode == 1
    assert "Install it with:  sudo apt-get install g++" in done.stderr


def test_setup_for_the_tests_names_the_command_for_strace(
    bare_machine: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "g++").symlink_to("/bin/true")
    done = _run(["bash", "scripts/setup", "--test"], bare_machine)
    assert done.returncode == 1
    assert "Install it with:  sudo apt-get install strace" in done.stderr


def test_setup_names_the_pythons_it_can_use(bare_machine: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "g++").symlink_to("/bin/true")
    copy = tmp_path / "checkout"  # without a .venv
    (copy / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "setup", copy / "scripts")
    done = _run(["bash", str(copy / "scripts" / "setup")], bare_machine)
    assert done.returncode == 1
    assert "needs Python 3.11 or 3.12" in done.stderr


def test_a_second_setup_installs_nothing() -> None:
    done = _run(["scripts/setup"])
    assert done.returncode == 0, done.stderr
    assert "installing" not in done.stdout
    assert "creating" not in done.stdout


def test_every_part_of_the_tests_runs_though_the_first_fails(tmp_path: Path) -> None:
    """Over programs that say what they were asked for; style and the first suite fail, at first."""
    programs = {
        "scripts/lint": "echo untidy; exit 1",
        "scripts/types": "echo typed",
        ".venv/bin/python": "echo one failed; exit 1",
        ".venv-export/bin/python": "printf '<%s>' \"$@\"",
    }
    for name, lines in programs.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
    shutil.copy(ROOT / "scripts" / "test", tmp_path / "scripts")
    script = str(tmp_path / "scripts" / "test")
    done = _run([script])
    assert done.returncode == 1
    style, types, tests, networks = (line.split(maxsplit=2) for line in done.stdout.splitlines()[-4:])
    assert style == ["style", "FAILED", "untidy"]
    assert types == ["types", "ok", "typed"]
    assert tests == ["tests", "FAILED", "one failed"]
    assert networks[:2] == ["networks", "ok"]
    every_mark = "<-m><>"
    assert every_mark not in networks[2]
    for name in ("scripts/lint", ".venv/bin/python"):
        (tmp_path / name).write_text("#!/bin/sh\necho good\n")
    done = _run([script, "--all"])
    assert done.returncode == 0
    assert every_mark in done.stdout.splitlines()[-1]


@pytest.mark.server
def test_demo_writes_avatar_preview_and_report(tmp_path: Path) -> None:
    photo = ROOT / "tests" / "data" / "astronaut.jpg"
    python = ROOT / ".venv" / "bin" / "python"
    done = _run(
        [str(python), "scripts/demo", str(photo), str(tmp_path / "out")], {**os.environ, "COLUMNS": "120"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "avatar.glb").read_bytes()[:4] == b"glTF"
    with Image.open(tmp_path / "out" / "preview.png") as preview:
        assert preview.width > 1000
    assert json.loads((tmp_path / "out" / "report.json").read_text())["pipeline"] == "avatar_twin"
    for stage in (step.name for step in AVATAR_TWIN.steps):
        assert stage in done.stdout


def test_demo_says_what_is_wrong_with_the_photo(tmp_path: Path) -> None:
    python = ROOT / ".venv" / "bin" / "python"
    done = _run([str(python), "scripts/demo", str(tmp_path / "me.jpg")])
    assert done.returncode == 1
    assert done.stderr.endswith("me.jpg: No such file or directory; check the name and the folder\n")
    done = _run([str(python), "scripts/demo", "https://example.org/me.jpg"])
    assert done.returncode == 1
    assert done.stderr.startswith("error: 'https://example.org/me.jpg' is a URL; ")
