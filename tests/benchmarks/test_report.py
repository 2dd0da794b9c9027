"""The report says what the result files say, and refuses results that it would not show."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from benchmarks import report as report_module
from benchmarks.machine_load import BUSY_NOTE
from benchmarks.report import main, read_results, report
from benchmarks.run_conditions import ROOT
from benchmarks.serving.serving_report import readme_rows

_CONDITIONS: dict[str, Any] = {
    "commit": "0123456789ab",
    "date": "2026-01-02 03:04 UTC",
    "cpu": "Some CPU",
    "cpu_count": 2,
    "memory_gb": 24.0,
    "load_average_before": 0.1,
    "python": "3.11.7",
    "versions": {"numpy": "2.4.6"},
}
_LOAD = {"answered": 9, "failed": {}, "p50_ms": 321.5, "p95_ms": 400, "p99_ms": 410, "per_second": 3.25}
_QUIET, _BUSY = (
    {"machine_load": {"cores": 2, "by_this_run": 1.75, "by_others": others}} for others in (0.125, 0.25)
)
_PHOTOS: dict[str, Any] = {
    "checked": "the GLB parses",
    "in_process": _LOAD,
    "closed_loop": {
        "1": _LOAD | _QUIET | {"stages": {"fit_head": {"total_ms": 33.25, "queue_ms": 0.5}}},
        "4": _LOAD | _BUSY,
    },
    "poisson": {},
}
_SERVING: dict[str, Any] = {
    "benchmark": "serving",
    **_CONDITIONS,
    "server": "Triton 2.51.0",
    "photo_sets": {
        "astronaut": _PHOTOS
        | {
            "description": "astronaut (512 × 512)",
            "public": True,
            "photos": 1,
            "poisson": {"2": _LOAD | {"failed": {"OVERLOADED": 3}}},
        },
        "portraits": _PHOTOS
        | {"description": "30 portraits of 29 people (1.5 megapixels)", "public": False, "photos": 30},
    },
    "memory": [
        {"requests": requests, "processes": 7, "rss_mb": 1500, "pss_mb": pss_mb, "shm_mb": 30}
        for requests, pss_mb in ((1, 900), (400, 990), (1000, 987))
    ],
}


def test_serving_numbers_reach_the_report() -> None:
    text = report({"serving": _SERVING})
    for shown in (
        "321.5",
        "3.25",
        "| fit_head | 33.25 | 0.5 | – |",
        "3 OVERLOADED",
        "| 1000 | 7 | 987 | 1500 | 30 |",
    ):
        assert shown in text
    assert text.index("### astronaut (512 × 512), public") < text.index("### 30 portraits of 29 people")
    assert "(1.5 megapixels), private" in text
    assert "benchmarks.serving --photos FOLDER\n" in text
    assert "Commit 0123456789ab" in text
    assert "Likeness" not in text


def test_times_taken_on_a_busy_machine_are_marked() -> None:
    busy = "**The machine was busy with other work: times are too long.**"
    # What a result says of the run goes before the load of the minute before it.
    assert busy not in report({"serving": _SERVING | _QUIET | {"load_average_before": 4.0}})
    assert busy in report({"serving": _SERVING | _BUSY})
    assert "by the run 1.75 and by other programs 0.25;" in report({"serving": _SERVING | _BUSY})
    assert busy not in report({"serving": _SERVING})
    assert busy in report({"serving": _SERVING | {"load_average_before": 4.0}})


def test_rows_taken_on_a_busy_machine_are_marked() -> None:
    text = report({"serving": _SERVING})
    assert "| closed loop, 1 client | 9 |" in text
    assert "| closed loop, 4 clients † | 9 |" in text
    assert BUSY_NOTE in text
    kernels = _KERNELS | {"rows": [row | _QUIET for row in _KERNELS["rows"]]}
    assert BUSY_NOTE not in report({"kernels": kernels})
    kernels["rows"] = [row | _BUSY for row in _KERNELS["rows"]]
    text = report({"kernels": kernels})
    assert BUSY_NOTE in text
    assert "| antialias † | 1.25 |" in text


def test_the_readme_shows_the_committed_serving_numbers() -> None:
    result = read_results()["serving"]
    assert {"astronaut", "portraits"} == set(result["photo_sets"])
    readme = (ROOT / "README.md").read_text()
    for row in readme_rows(result):
        assert f"{row}\n" in readme
    table = [line for line in readme.splitlines() if line.startswith("|")]
    assert (BUSY_NOTE in readme) == any("†" in line for line in table)
    marked = readme_rows(_SERVING)
    assert marked[0].endswith("| **322 ms** (400) |")
    assert marked[1].endswith("| 3.2 † |"), "4 are the goal"
    assert marked[-1].endswith("| **1.5 GB**, -3 MB (PSS) in the last 600 |")


def _likeness() -> dict[str, Any]:
    stats = {"count": 3, "mean": 0.321, "median": 0.654, "p95": 0.987}
    poses = ("photo pose", "0", "±15", "±30", "±45", "0, studio light")
    table: dict[str, Any] = {
        "photos": 3,
        "reprojection": {"pictures": 3, "no face found": 0, **stats},
        "refound at 0": {"pictures": 2, "no face found": 1, **stats},
        "refound at ±30": {"pictures": 0, "no face found": 6, "count": 0},
        "jawOpen left where the photo has > 0.3": {**stats, "count": 2},
        "distances": {"faceres": dict.fromkeys((*poses, "photo cut to the silhouette"), stats)},
    }
    photo = {
        "photo": 7,
        "yaw": -12.3,
        "pitch": 4.0,
        "reprojection_median": 0.71,
        "reprojection_p95": 3.1,
        "refound_median": {"0": None},
        "distance": {"faceres": dict.fromkeys(("photo pose", "0", "-30", "30", "-45", "45"), 0.25)},
        "jaw_open": 0.4,
        "jaw_open_left": 0.05,
        "milliseconds": {"find_face": 100.0, "fit_head": 50.4},
    }
    at = {
        "cross_photo": 0.75,
        "share": 0.13,
        "tar": {"1 %": 0.955, ".1 %": 0.804},
        "rank": 0.96,
        "taken for each other": 0.0123,
    }
    judged = {
        "photos": 3,
        "pairs": 4,
        "pairs lost": 2,
        "same": 0.7,
        "strangers": 1.1,
        "auc": 0.9876,
        "tar": {"1 %": 1.0, ".1 %": None},
        "poses": dict.fromkeys(("0", "±30", "±45"), at),
    }
    agreement = {"pairs": 4, "same": 2.0, "strangers": 3.2, "ratio": 0.625, "auc": 0.78}
    return {
        "benchmark": "likeness",
        **_CONDITIONS,
        "photos": 4,
        "persons": 3,
        "failed": {"2": "NO_FACE"},
        "smallest_face": 140,
        "rule": " --smallest-face 140",
        "judges": ["faceres"],
        "verification": {"faceres": judged},
        "agreement": {"shape, rms mm": agreement},
        "groups": {"skin tone": {"dark": {"people": 1, "failed": 1, **judged}}},
        "left_out": {"3": 97},
        "texture_size": 1024,
        "delight": 0.5,
        "light": "studio",
        "tables": {"|yaw| < 40°": table},
        "per_photo": [photo],
    }


def test_likeness_numbers_reach_the_report() -> None:
    text = report({"likeness": _likeness()})
    assert "**0.65 / 0.99**" in text
    assert "**0.65 (no face in 1 of 3) / – (no face in 6 of 6)**" in text
    assert "| real photos: AUC; TAR at FAR 1 % / .1 % | – | 0.9876; 100.0 / – % |" in text
    assert "| avatars at yaw ±45°: share of the gap (mean distance) | ≤ 32 % | **13 %** (0.750) |" in text
    assert "| … TAR at FAR 1 % / .1 %; rank 1 | ≥ 86 % | 95.5 / 80.4 %; 96 % |" in text
    assert "| shape, rms mm | AUC ≥ .82 | 2.00 | 3.20 | 0.625 | 0.780 | 4 |" in text
    dark = "| skin tone: dark | 1 | 3 | 1 | 0.70 / 1.10 | 13 % / 13 % / 13 % | 80 % / 80 % | 96 % | 1.23 % |"
    assert dark in text
    assert "2 more are lost" in text
    assert "photo 2 (NO_FACE)" in text
    assert "1 left out, faces below 140 pixels" in text
    assert "FOLDER --smallest-face 140\n" in text
    assert "| 7 | -12 | 4 | 0.71 / 3.1 | no face |" in text
    assert "0.40 → 0.05 | 150 |" in text


def test_a_result_without_a_section_is_an_error() -> None:
    with pytest.raises(ValueError, match="no section of the report shows rooflines"):
        report({"rooflines": {}})


def test_the_committed_report_is_what_the_committed_results_say() -> None:
    assert main(["--check"]) == 0


def test_check_notices_a_changed_number(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = copy.deepcopy(read_results())
    changed["serving"] = _SERVING
    monkeypatch.setattr(report_module, "read_results", lambda: changed)
    assert main(["--check"]) == 1


_KERNELS: dict[str, Any] = {
    "benchmark": "kernels",
    **_CONDITIONS,
    "threads": 1,
    "device": "cpu",
    "nvdiffrast_parity": "not run: nvdiffrast needs a GPU",
    "failed": [{"kernel": "interpolate", "error": "AssertionError: off by one"}],
    "rows": [
        {
            "kernel": "antialias",
            "ms": 1.25,
            "goal_ms": None,
            "gb_per_s": 8.5,
            "copy_ms": 0.125,
            "copy_gb_per_s": 85.0,
            "percent_of_copy": 10.0,
            "rivals_ms": {"torch": 33.5},
        }
    ],
}


def test_kernel_rows_stand_beside_their_rivals() -> None:
    text = report({"kernels": _KERNELS})
    assert "| antialias | 1.25 | – | 8.5 | 10.0 | 0.125 | – | 33.50 | – |" in text
    assert "Not timed: interpolate: AssertionError: off by one" in text
    assert "Agreement with nvdiffrast: not run: nvdiffrast needs a GPU." in text


def test_what_did_not_run_on_a_gpu_is_said() -> None:
    assert "Not run: there is no result of `scripts/gpu-suite`" in report({"kernels": _KERNELS})
    gpu = {"name": "Some GPU", "driver": "580.1", "memory": "1 MiB"}
    suite = {
        "benchmark": "suite",
        **_CONDITIONS,
        "gpu": gpu,
        "parts": [
            {"part": "kernels", "state": "ran", "seconds": 61.2, "detail": ""},
            {"part": "networks", "state": "not run", "seconds": None, "detail": "no module"},
        ],
    }
    parity = {
        "operation": "antialias",
        "largest_difference": 0.5,
        "mean_difference": 1e-4,
        "largest_magnitude": 4.0,
        "other_triangle": 3,
        "pixels": 100,
    }
    on_gpu = _KERNELS | {"device": "cuda", "gpu": gpu, "nvdiffrast_parity": [parity]}
    text = report({"kernels": _KERNELS, "gpu/kernels": on_gpu, "gpu/suite": suite})
    assert "Not run" not in text
    assert "| kernels | ran | 61 |  |" in text
    assert "| networks | not run | – | no module |" in text
    assert "| antialias | 5.00e-01 | 1.00e-04 | 4.00e+00 | 3 of 100 |" in text
    assert "Some GPU (driver 580.1)" in text
    assert text.index("## Kernels\n") < text.index("## On a GPU") < text.index("## Kernels on a GPU")
