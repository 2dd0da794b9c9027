"""The likeness benchmark on a folder with one public-domain portrait and one picture without a face."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.likeness.__main__ import main

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

    outputs = ["--texture-size", "512", "--no-result", "--details", str(details), "--sheets", str(sheets)]
    status = main([str(tmp_path), "--smallest-face", "100", *outputs])

    assert status == 1, "the picture without a face must not pass unnoticed"
    printed = capsys.readouterr()
    table = json.loads(printed.out)["|yaw| < 40°"]
    assert "NO_FACE" in printed.err
    assert "1 of 3 photos left out: face below 100 px" in printed.err
    assert table["photos"] == 1
    assert table["reprojection"]["median"] < 3
    assert table["distance at photo pose"]["mean"] < 0.6, "the judge sees another person"
    assert table["distance at 0"]["mean"] < 0.6
    assert table["right person nearest at 0"]["percent"] == 100
    row = json.loads(details.read_text())["collins__portrait.jpg"]
    assert "collins" not in json.dumps(row), "rows that are committed must not name people"
    assert all(row["judge_found_face"].values())
    with Image.open(sheets / "sheet_01.png") as sheet:
        assert sheet.width > 1000


def test_an_empty_folder_is_wrong_usage(tmp_path: Path) -> None:
    assert main([str(tmp_path), "--no-result"]) == 2
