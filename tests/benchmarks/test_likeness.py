"""The likeness benchmark on a folder with one public-domain portrait and one picture without a face."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.likeness.__main__ import chosen_photos, main, parse

pytestmark = pytest.mark.skipif(
    find_spec("dlib") is None, reason="the judge is an optional dependency: pip install -e '.[bench]'"
)

_PORTRAIT = Path(__file__).parents[1] / "data" / "astronaut.jpg"


def test_a_folder_of_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(_PORTRAIT, tmp_path / "collins__portrait.jpg")
    with Image.open(_PORTRAIT) as portrait:
        portrait.resize((portrait.width // 2, portrait.height // 2)).save(tmp_path / "collins__thumbnail.png")
    rng = np.random.default_rng(2)
    Image.fromarray(rng.integers(0, 255, (256, 256, 3), np.uint8)).save(tmp_path / "noise.png")
    details, sheets = tmp_path / "details.json", tmp_path / "sheets"

    outputs = [
        "--judges",
        "dlib",
        "--texture-size",
        "512",
        "--no-result",
        "--details",
        str(details),
        "--sheets",
        str(sheets),
    ]
    status = main([str(tmp_path), "--smallest-face", "100", *outputs])

    assert status == 1, "the picture without a face must not pass unnoticed"
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    table = told["tables"]["|yaw| < 40°"]
    assert "NO_FACE" in printed.err
    assert "1 of 3 photos left out: face below 100 px" in printed.err
    assert table["photos"] == 1
    assert table["reprojection"]["median"] < 3
    assert table["distances"]["dlib"]["photo pose"]["mean"] < 0.6, "the judge sees another person"
    assert table["distances"]["dlib"]["0"]["mean"] < 0.6
    assert told["verification"]["dlib"]["pairs"] == 0, "one photo has no other"
    assert {name: group["failed"] for name, group in told["groups"]["skin tone"].items()}["not known"] == 1
    row = json.loads(details.read_text())["collins__portrait.jpg"]
    assert "collins" not in json.dumps(row), "rows that are committed must not name people"
    assert all(row["judge_found_face"]["dlib"].values())
    with Image.open(sheets / "sheet_01.png") as sheet:
        assert sheet.width > 1000


def test_people_with_enough_photos_are_chosen_by_name_alone(tmp_path: Path) -> None:
    for person, photos in (("ann", 4), ("bob", 2), *((f"p{n:02}", 3) for n in range(12))):
        for photo in range(photos):
            (tmp_path / f"{person}__{photo}.jpg").touch()
    chosen = [path.name for path in chosen_photos(parse([str(tmp_path), "--photos-of-each", "3"]))]
    assert chosen[:4] == [f"ann__{n}.jpg" for n in range(4)]
    assert len(chosen) == 40
    quick = [path.name for path in chosen_photos(parse([str(tmp_path), "--quick"]))]
    people = ["ann", *(f"p{n:02}" for n in range(11))]
    assert quick == [f"{person}__{n}.jpg" for person in people for n in range(3)]


def test_an_empty_folder_is_wrong_usage(tmp_path: Path) -> None:
    assert main([str(tmp_path), "--no-result"]) == 2
