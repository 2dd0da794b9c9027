"""Pipelines of other people's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from facewright.core.errors import FacewrightError
from facewright.pipelines.registry import VARIABLE, pipeline, pipelines, stages
from facewright_client.contract import ErrorCode

MINE = """
from facewright.pipelines.twin import AVATAR_TWIN
from dataclasses import replace
MINE = replace(AVATAR_TWIN, name="avatar_mine")
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_ours_are_there() -> None:
    assert list(pipelines()) == [
        "avatar_twin",
        "avatar_normalized",
        "avatar_rerenderable",
        "merge_avatars",
        "interpolate_avatars",
        "relight_avatar",
        "refine_latent",
        "refine_latent_progress",
    ]
    assert "find_face" in stages(pipelines())


@pytest.mark.usefixtures("file")
def test_a_file_adds_its_own() -> None:
    assert pipeline("avatar_mine").steps == pipeline("avatar_twin").steps


def test_a_name_that_is_none_gets_the_nearest_as_hint() -> None:
    with pytest.raises(FacewrightError, match="no pipeline 'avatar_twins'") as caught:
        pipeline("avatar_twins")
    assert caught.value.code is ErrorCode.BAD_OPTION
    assert "avatar_twin" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "defines no Pipeline"),
        ("1/0", "cannot be run: ZeroDivisionError"),
        ("def", "cannot be run: SyntaxError"),
        ("raise SystemExit('boo')", r"other_\d+\.py cannot be run: SystemExit: boo"),
        ("raise KeyboardInterrupt", "cannot be run: KeyboardInterrupt"),
        ("raise GeneratorExit", "cannot be run: GeneratorExit"),
        (
            MINE + "S = AVATAR_TWIN.steps[3]\n"
            "S = replace(S, takes=tuple(replace(t, optional=True) for t in S.takes))\n"
            "STEPS = (*AVATAR_TWIN.steps[:3], S, *AVATAR_TWIN.steps[4:])\n"
            "OTHER = replace(AVATAR_TWIN, name='o', steps=STEPS)",
            "two different stages are called fit_head",
        ),
        (
            MINE + "S = replace(AVATAR_TWIN.steps[0], expected_s=9.0)\n"
            "OTHER = replace(AVATAR_TWIN, name='o', steps=(S, *AVATAR_TWIN.steps[1:]))",
            "two different stages are called find_face",
        ),
    ],
)
def test_a_file_that_cannot_serve_says_why(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    other = file.with_name(f"other_{abs(hash(text))}.py")
    other.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(other))
        with pytest.raises(FacewrightError, match=message) as caught:
            pipelines()
    assert caught.value.code is ErrorCode.INTERNAL
    assert VARIABLE in caught.value.message


def test_a_row_of_two_names_and_a_file_named_twice_are_one(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = file.with_name("again.py")
    again.write_text(MINE + "DEFAULT = MINE")
    monkeypatch.setenv(VARIABLE, f"{again}:{again}")
    assert "avatar_mine" in pipelines()


def test_a_file_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nothing.py"))
    with pytest.raises(FacewrightError, match=r"nothing\.py cannot be run"):
        pipelines()
