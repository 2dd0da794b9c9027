"""Where the time went, by the server's own account: differences of Triton's per-model statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Triton's names of the phases of a request, in order.
_PHASES = ("queue", "compute_input", "compute_infer", "compute_output")


def stage_times(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, float | int]]:
    """Mean milliseconds per request and stage between two answers of Triton's statistics extension.

    Args:
        before, after: ``get_inference_statistics(as_json=True)`` of the gRPC client.

    Returns:
        by model: ``requests``, ``batches`` (executions), ``failed``, ``total_ms`` and each phase; models that
        served nothing in between are left out.
    """
    earlier = {_key(model): model for model in before.get("model_stats", ())}
    times: dict[str, dict[str, float | int]] = {}
    for model in after.get("model_stats", ()):
        old = earlier.get(_key(model), {})
        served = _count(model, "success") - _count(old, "success")
        failed = _count(model, "fail") - _count(old, "fail")
        if served <= 0 and failed <= 0:
            continue
        row: dict[str, float | int] = {
            "requests": served,
            "batches": int(model.get("execution_count", 0)) - int(old.get("execution_count", 0)),
            "failed": failed,
        }
        if served:
            for phase in ("success", *_PHASES):
                spent = _nanoseconds(model, phase) - _nanoseconds(old, phase)
                row["total_ms" if phase == "success" else f"{phase}_ms"] = round(spent / served / 1e6, 2)
        times[str(model["name"])] = row
    return times


def _key(model: Mapping[str, Any]) -> tuple[str, str]:
    return str(model["name"]), str(model.get("version", ""))


def _count(model: Mapping[str, Any], phase: str) -> int:
    return int(model.get("inference_stats", {}).get(phase, {}).get("count", 0))


def _nanoseconds(model: Mapping[str, Any], phase: str) -> int:
    return int(model.get("inference_stats", {}).get(phase, {}).get("ns", 0))
