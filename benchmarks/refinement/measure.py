"""What one iteration costs, in all and by part, and where refinement arrives."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from benchmarks.process_memory import forget_peak, peak_gb
from benchmarks.refinement.problem import Problem
from facewright.refine.loop import refine
from facewright.refine.options import RefinementOptions
from facewright.refine.step import RefinementStep

#: Iterations of a photo in the paper.
ITERATIONS: Final = 200
_WARM_UP: Final = 2


def make_step(problem: Problem, iterations: int, **options: Any) -> RefinementStep:
    """A refinement of the problem's photos from other people's latents."""
    has_identity = problem.networks.identity is not None
    chosen = RefinementOptions.from_parameters({"iterations": iterations} | options, has_identity)
    with problem.device.queue():
        start = problem.start()
    return RefinementStep(problem.networks, problem.surface, start, chosen, problem.device)


def check(problem: Problem, iterations: int = 4) -> None:
    """Raises AssertionError where the loss does not fall: nothing wrong is timed."""
    step = make_step(problem, iterations, latent_weight=0.0, warm_up=0.0, learning_rate=0.01)
    for result in refine(step):
        losses = result.losses[:, 0]
        assert np.isfinite(losses).all(), losses
        assert losses.min() < losses[0], losses


def iteration_cost(problem: Problem, runs: int, rival: Callable[[], object] | None = None) -> dict[str, Any]:
    """Milliseconds of an iteration: of the wall clock (median and least) and of the processor, and by part;
    the most memory that the process held.

    Parts are timed in iterations of their own, the device waited for after each: on a GPU they add up to more
    than an iteration, whose parts overlap.

    Args:
        problem: what to refine.
        runs: iterations timed; half as many as these and at most two go before them.
        rival: an iteration of the same task by other means. Both take turns, so that a machine that has
            other work disturbs both; its milliseconds are the entry ``rival``.
    """
    warm_up = min(_WARM_UP, (runs + 1) // 2)
    forget_peak()
    step = make_step(problem, warm_up + 2 * runs)
    for _ in range(warm_up):
        step.step()
    memory = peak_gb()
    ours, theirs = [], []
    if rival:
        for _ in range(warm_up):
            rival()
    for _ in range(runs):
        ours.append(_timed(problem, step.step))
        if rival:
            theirs.append(_timed(problem, rival))
    parts: dict[str, list[float]] = {name: [] for name, _ in step.parts}
    for _ in range(runs):
        for name, part in step.parts:
            parts[name].append(_timed(problem, part)[0])
    cost = _summary(ours)
    seconds = cost["ms"] * ITERATIONS / 1e3
    return {
        **cost,
        "seconds_per_200": round(seconds, 2),
        "seconds_per_200_and_photo": round(seconds / problem.truth.batch, 3),
        "memory_gb": round(memory, 2),
        "parts_ms": {name: round(min(times), 2) for name, times in parts.items()},
        **({"rival": _summary(theirs)} if rival else {}),
    }


def _summary(times: list[tuple[float, float]]) -> dict[str, float]:
    wall, processor = zip(*times, strict=True)
    return {
        "ms": round(float(np.median(wall)), 2),
        "least_ms": round(min(wall), 2),
        "processor_ms": round(min(processor), 2),
    }


def _timed(problem: Problem, call: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and processor milliseconds until the device has finished."""
    problem.device.finish()
    wall, processor = time.perf_counter(), time.process_time()
    with problem.device.queue():
        call()
    problem.device.finish()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)


def convergence(problem: Problem, iterations: int) -> list[dict[str, Any]]:
    """Errors before and after refining the first photo: of latents by the terms of eq. 2, and of camera and
    light.
    """
    true = problem.truth
    host = problem.device.host
    start = problem.start()
    rows = []
    terms: dict[str, dict[str, float]] = {"all terms": {}, "without latent": {"latent_weight": 0.0}}
    if problem.networks.identity is not None:
        terms |= {
            "identity and latent": {"perceptual_weight": 0.0},
            "perceptual and latent": {"identity_weight": 0.0},
        }
    before = problem.errors(host(start.w_plus[0]), host(true.head_to_camera[0]), host(true.sh_light[0]))
    for name, weights in terms.items():
        found = refine(make_step(problem, iterations, **weights))[0]
        best = found.best
        after = problem.errors(best.w_plus, best.head_to_camera, best.sh_light)
        rows.append(_convergence_row(f"latents: {name}", iterations, found.losses, before, after))
    disturbed = problem.disturbed()
    before = problem.errors(
        host(true.w_plus[0]), host(disturbed.head_to_camera[0]), host(disturbed.sh_light[0])
    )
    options = RefinementOptions(
        iterations=iterations,
        learning_rate=1e-6,
        identity_weight=0.0,
        optimize_camera=True,
        optimize_light=True,
    )
    found = refine(RefinementStep(problem.networks, problem.surface, disturbed, options, problem.device))[0]
    after = problem.errors(found.best.w_plus, found.best.head_to_camera, found.best.sh_light)
    rows.append(_convergence_row("camera and light", iterations, found.losses, before, after))
    return rows


def _convergence_row(name: str, iterations: int, losses: Any, before: Any, after: Any) -> dict[str, Any]:
    return {
        "refined": name,
        "iterations": iterations,
        "loss": [round(float(losses[0, 0]), 5), round(float(losses[:, 0].min()), 5)],
        "before": {key: round(value, 4) for key, value in asdict(before).items()},
        "after": {key: round(value, 4) for key, value in asdict(after).items()},
    }
