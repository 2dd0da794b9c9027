"""Differences of Triton's statistics: per request, only what happened in between."""

from __future__ import annotations

from typing import Any

from benchmarks.serving.server_statistics import stage_times


def _statistics(name: str, count: int, milliseconds: float, batches: int, failed: int = 0) -> dict[str, Any]:
    # Triton's gRPC statistics as JSON: 64-bit numbers are strings.
    spent = {"count": str(count), "ns": str(int(milliseconds * 1e6))}
    return {
        "name": name,
        "version": "1",
        "execution_count": str(batches),
        "inference_stats": {
            "success": spent,
            "fail": {"count": str(failed), "ns": "0"},
            "queue": {"count": str(count), "ns": "0"},
            "compute_infer": spent,
        },
    }


def test_mean_per_request_between_two_readings() -> None:
    before = {"model_stats": [_statistics("fit_head", 10, 1000, 10), _statistics("idle", 4, 9, 4)]}
    after = {"model_stats": [_statistics("fit_head", 14, 1200, 12, failed=1), _statistics("idle", 4, 9, 4)]}
    times = stage_times(before, after)
    assert set(times) == {"fit_head"}
    assert times["fit_head"] == {
        "requests": 4,
        "batches": 2,
        "failed": 1,
        "total_ms": 50.0,
        "queue_ms": 0.0,
        "compute_input_ms": 0.0,
        "compute_infer_ms": 50.0,
        "compute_output_ms": 0.0,
    }


def test_a_model_loaded_in_between_counts_from_zero() -> None:
    times = stage_times({}, {"model_stats": [_statistics("bake_texture", 2, 30, 2)]})
    assert times["bake_texture"]["total_ms"] == 15.0


def test_a_model_that_only_failed_has_no_times() -> None:
    times = stage_times({}, {"model_stats": [_statistics("find_face", 0, 0, 0, failed=3)]})
    assert times["find_face"] == {"requests": 0, "batches": 0, "failed": 3}
