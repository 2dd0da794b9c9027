"""Which photos the service is measured with: the same ones each time, everybody's before anybody's second."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.serving.photo_set import astronaut, portraits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = ("zoe", "ann__sea", "ann__office", "bob__1", "bob__2", "bob__3")
    for shade, name in enumerate(names):
        Image.new("RGB", (1000, 500), (shade, 0, 0)).save(tmp_path / f"{name}.png")
    (tmp_path / "SOURCES.txt").write_text("not a photo")
    return tmp_path


def _names(folder: Path, count: int) -> list[str]:
    name_of = {path.read_bytes(): path.stem for path in folder.glob("*.png")}
    return [name_of[photo] for photo in portraits(folder, count).photos]


def test_everybody_comes_before_anybodys_second_photo(folder: Path) -> None:
    assert _names(folder, 4) == ["ann__office", "bob__1", "zoe", "ann__sea"]
    assert _names(folder, 30) == ["ann__office", "bob__1", "zoe", "ann__sea", "bob__2", "bob__3"]


def test_names_stay_out_of_the_result(folder: Path) -> None:
    row = portraits(folder, 4).as_row()
    assert row == {
        "description": "4 portraits of 3 people (0.5 megapixels in the median)",
        "public": False,
        "photos": 4,
    }


def test_each_photo_is_sent_equally_often(folder: Path) -> None:
    six = portraits(folder, 30)
    assert [six.rounds(requests) for requests in (1, 6, 7, 40)] == [6, 6, 12, 42]
    assert astronaut().rounds(40) == 40


def test_the_astronaut_is_public() -> None:
    row = astronaut().as_row()
    assert row == {"description": "astronaut (512 × 512)", "public": True, "photos": 1}


def test_a_folder_without_photos_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \.jpeg, \.jpg, \.png, \.webp in "):
        portraits(tmp_path, 30)
    with pytest.raises(ValueError, match="at least one portrait is needed, not 0"):
        portraits(tmp_path, 0)
