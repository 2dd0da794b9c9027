"""The serving benchmark end to end, with a server of its own and very few requests."""

from __future__ import annotations

import json

import pytest

from benchmarks.serving.__main__ import main
from benchmarks.serving.serving_report import serving_section

pytestmark = pytest.mark.server


def test_measures_checks_and_reports(capsys: pytest.CaptureFixture[str]) -> None:
    quick = "--requests 2 --clients 1 2 --rates 5 --memory-requests 2 --baseline-requests 1 --no-result"
    assert main(quick.split()) == 0
    result = json.loads(capsys.readouterr().out)
    assert "equals that of the stages called in one process" in result["answer"]["checked"]
    assert result["restarts"] == 0
    loads = [*result["closed_loop"].values(), *result["poisson"].values()]
    assert all(load["failed"] == {} and load["answered"] >= 2 for load in loads)
    stages = result["closed_loop"]["1"]["stages"]
    served = {"find_face", "face_landmarks", "fit_head", "bake_texture", "package_avatar", "avatar_twin"}
    assert served <= set(stages)
    steps = sum(stages[name]["total_ms"] for name in served - {"avatar_twin"})
    assert steps == pytest.approx(stages["avatar_twin"]["total_ms"], rel=0.5)
    first, *_, last = result["memory"]
    # The supervisor, Triton and a stub for each stage at least.
    assert first["processes"] >= 8
    assert 200 < last["pss_mb"] <= last["rss_mb"] < 4000
    assert "| fit_head |" in serving_section(result | {"cpu_count": 2})
