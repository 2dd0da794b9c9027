"""The serving benchmark end to end, with a server of its own and very few requests."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.run_conditions import ROOT
from benchmarks.serving.__main__ import main
from benchmarks.serving.serving_report import serving_section

pytestmark = pytest.mark.server
_QUICK = "--requests 2 --clients 1 2 --rates 5 --memory-requests 36 --baseline-requests 1 --no-result"


@pytest.fixture
def portraits(tmp_path: Path) -> Path:
    """The astronaut mirrored, a grey picture without a face, and what is not a photo."""
    with Image.open(ROOT / "tests" / "data" / "astronaut.jpg") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "bob.jpg", quality=95)
    Image.new("RGB", (300, 300), "grey").save(tmp_path / "ann.png")
    (tmp_path / "SOURCES.txt").write_text("where they are from")
    return tmp_path


def test_measures_checks_and_reports(portraits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*_QUICK.split(), "--photos", str(portraits)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["restarts"] == 0
    astronaut, others = (result["photo_sets"][name] for name in ("astronaut", "portraits"))
    for photos in (astronaut, others):
        assert "equals that of the stages called in one process" in photos["checked"]
    loads = [*astronaut["closed_loop"].values(), *astronaut["poisson"].values()]
    assert all(load["failed"] == {} and load["answered"] >= 2 for load in loads)
    assert list(astronaut["closed_loop"]) == ["1", "2"]
    stages = astronaut["closed_loop"]["1"]["stages"]
    served = {"find_face", "face_landmarks", "fit_head", "bake_texture", "package_avatar", "avatar_twin"}
    assert served <= set(stages)
    steps = sum(stages[name]["total_ms"] for name in served - {"avatar_twin"})
    assert steps == pytest.approx(stages["avatar_twin"]["total_ms"], rel=0.5)

    # Each portrait as often as the other; the one without a face is counted, not left out.
    assert (others["photos"], others["poisson"]) == (2, {})
    loads = [others["in_process"], *others["closed_loop"].values()]
    assert all(load["failed"] == {"NO_FACE": load["answered"]} for load in loads)
    assert [load["answered"] for load in loads] == [1, 2, 8]

    # The server's work counts as this run's: it is below this process.
    for load in (*astronaut["closed_loop"].values(), *others["closed_loop"].values()):
        assert load["machine_load"]["by_this_run"] > 0
    assert result["machine_load"]["by_this_run"] > 0

    first, *_, last = result["memory"]
    # The supervisor, Triton and a stub for each stage at least.
    assert first["processes"] >= 8
    assert 200 < last["pss_mb"] <= last["rss_mb"] < 4000
    assert last["requests"] == 36
    text = serving_section(result)
    assert "| fit_head |" in text
    assert "2 portraits of 2 people" in text
    assert "1 NO_FACE" in text


def test_a_folder_without_usable_photos_is_refused_before_a_server_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*_QUICK.split(), "--photos", str(tmp_path)]) == 2
    assert main([*_QUICK.split(), "--photos", str(tmp_path / "missing")]) == 2
    buffer = io.BytesIO()
    Image.new("RGB", (300, 300), "grey").save(buffer, "PNG")
    (tmp_path / "ann.png").write_bytes(buffer.getvalue())
    assert main([*_QUICK.split(), "--photos", str(tmp_path)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "no .jpeg, .jpg, .png, .webp in" in said
    assert "none of the 1 portraits gives an avatar; the last one: NO_FACE" in said
