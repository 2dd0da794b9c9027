"""More than the server can do: five times its capacity from strangers who do not wait for each other, and two
hundred clients who do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.chaos.asking import Asker, Clients, Outcome, avatar_request, codes, losses, percentile_ms
from benchmarks.chaos.row import Effort, Finding
from benchmarks.serving.load import closed_loop, poisson_arrivals
from benchmarks.serving.served_process import served

#: What the server lets wait by default.
_LONGEST_WAIT_S: Final = 2.0
_TIMES_CAPACITY: Final = 5.0
_CROWD: Final = 200
_KEEPS_BUSY: Final = 4


def open_loop(effort: Effort) -> Finding:
    """Poisson arrivals at five times the capacity that was measured just before."""
    with served() as server:
        return asyncio.run(_open_loop(server.url, effort))


def crowd(effort: Effort) -> Finding:
    """Two hundred clients, each of whom asks again when it is answered, or when it was told to come back."""
    with served() as server:
        return asyncio.run(_crowd(server.url, effort))


async def _open_loop(url: str, effort: Effort) -> Finding:
    async with Asker(url) as asker:
        unloaded_s, capacity = await _unloaded(asker, effort)
        outcomes: list[Outcome] = []

        async def arrival() -> None:
            outcomes.append(await asker.ask(avatar_request()))

        rate, seconds = _TIMES_CAPACITY * capacity, effort.pick(60.0, 6.0)
        began = time.monotonic()
        load = await poisson_arrivals(arrival, rate, round(rate * seconds))
        lone = await asker.ask(avatar_request())
    figures = _figures(outcomes, began + seconds, seconds, unloaded_s, capacity)
    figures |= {"lone_after_ms": round(1e3 * lone.took_s, 1), "send_lag_ms": round(1e3 * load.send_lag_s, 1)}
    said = f"{_said(figures)}; the next lone request {figures['lone_after_ms']:.0f} ms"
    met = _met(figures) and not lone.code and lone.took_s <= 1.5 * unloaded_s
    return Finding(said, met, figures)


async def _crowd(url: str, effort: Effort) -> Finding:
    seconds = effort.pick(60.0, 8.0)
    async with Asker(url) as asker:
        unloaded_s, capacity = await _unloaded(asker, effort)
    began = time.monotonic()
    async with Clients(url, avatar_request(), _CROWD) as clients:
        await asyncio.sleep(seconds)
    figures = _figures(clients.outcomes, began + seconds, seconds, unloaded_s, capacity)
    return Finding(_said(figures), _met(figures), figures)


async def _unloaded(asker: Asker, effort: Effort) -> tuple[float, float]:
    """Seconds of a lone request, the median, and avatars per second of clients that keep all cores busy."""

    async def avatar() -> None:
        outcome = await asker.ask(avatar_request())
        if outcome.code:
            raise RuntimeError(f"{outcome.code}: {outcome.message}")

    await closed_loop(avatar, _KEEPS_BUSY, effort.pick(40, 8))  # warm
    lone = await closed_loop(avatar, 1, effort.pick(20, 4))
    busy = await closed_loop(avatar, _KEEPS_BUSY, effort.pick(120, 12))
    if lone.failures or busy.failures:
        raise RuntimeError(f"the server fails before it is attacked: {lone.failures + busy.failures}")
    return sorted(lone.latencies_s)[len(lone.latencies_s) // 2], len(busy.latencies_s) / busy.wall_s


def _figures(
    outcomes: Sequence[Outcome], until_s: float, seconds: float, unloaded_s: float, capacity: float
) -> dict[str, Any]:
    """What came of requests; answers count that came in the seconds until a moment of `time.monotonic`."""
    within_s = _LONGEST_WAIT_S + 2 * unloaded_s
    answered = [outcome for outcome in outcomes if not outcome.code and outcome.ended_s <= until_s]
    in_time = [outcome for outcome in answered if outcome.took_s <= within_s]
    return {
        "unloaded_ms": round(1e3 * unloaded_s, 1),
        "capacity_per_second": round(capacity, 2),
        "seconds": seconds,
        "within_ms": round(1e3 * within_s, 1),
        "outcomes": codes(outcomes),
        "lost": sum(outcome.lost for outcome in outcomes),
        "losses": losses(outcomes),
        "in_time": len(in_time),
        "goodput_share": round(len(in_time) / seconds / capacity, 3),
        "answered_p99_ms": percentile_ms(answered, 99),
        "refused_p50_ms": percentile_ms([outcome for outcome in outcomes if outcome.refused], 50),
        "refused_p99_ms": percentile_ms([outcome for outcome in outcomes if outcome.refused], 99),
    }


def _said(figures: dict[str, Any]) -> str:
    return (
        f"{100 * figures['goodput_share']:.0f} % of {figures['capacity_per_second']:.1f} a second answered "
        f"within {figures['within_ms']:.0f} ms; answers' p99 {figures['answered_p99_ms']} ms; refusals' p50 "
        f"{figures['refused_p50_ms']} ms, p99 {figures['refused_p99_ms']} ms; lost {figures['lost']}"
    )


def _met(figures: dict[str, Any]) -> bool:
    return (
        figures["goodput_share"] >= 0.9
        and (figures["refused_p99_ms"] or 0.0) <= 50.0
        and figures["lost"] == 0
    )
