"""Load on a server: clients that wait for their answer (closed loop), and players who arrive when they like.

With Poisson arrivals the latency counts from the *scheduled* send time: a generator that waits for a slow
server before it sends again would hide the very queue that users stand in (MLPerf's server scenario).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

#: Sends one request and waits for the whole answer; raises on failure.
Request = Callable[[], Awaitable[object]]


@dataclass
class LoadResult:
    """What one scenario measured.

    Attributes:
        latencies_s: of the requests answered, in the order of their answers.
        wall_s: from the first (scheduled) send to the last answer.
        failures: exception names and how many of each.
        send_lag_s: how late the generator sent compared with the schedule, the longest (Poisson only).
    """

    latencies_s: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    send_lag_s: float = 0.0

    def as_row(self) -> dict[str, object]:
        """Milliseconds at p50, p95, p99 and the maximum, answers per second, failures."""
        row: dict[str, object] = {"answered": len(self.latencies_s), "failed": dict(self.failures)}
        if self.latencies_s:
            p50, p95, p99 = np.percentile(self.latencies_s, [50, 95, 99])
            row |= {
                "p50_ms": round(1e3 * float(p50), 1),
                "p95_ms": round(1e3 * float(p95), 1),
                "p99_ms": round(1e3 * float(p99), 1),
                "max_ms": round(1e3 * max(self.latencies_s), 1),
                "per_second": round(len(self.latencies_s) / self.wall_s, 2),
            }
        return row


async def closed_loop(request: Request, clients: int, requests: int) -> LoadResult:
    """``clients`` send ``requests`` in all, each its next one as soon as it has an answer.

    Raises:
        ValueError: fewer requests than clients.
    """
    if not 1 <= clients <= requests:
        raise ValueError(f"need at least one request for each of {clients} clients, got {requests}")
    result = LoadResult()
    left = requests

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await _timed(request, time.perf_counter(), result)

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    result.wall_s = time.perf_counter() - start
    return result


async def poisson_arrivals(request: Request, per_second: float, requests: int, seed: int = 0) -> LoadResult:
    """``requests`` arrive at random, ``per_second`` on average, whether or not earlier ones were answered.

    Raises:
        ValueError: a rate or count that is not positive.
    """
    if not (per_second > 0 and requests > 0):
        raise ValueError(f"rate and count must be positive, got {per_second} and {requests}")
    gaps = np.random.default_rng(seed).exponential(1 / per_second, requests)
    result = LoadResult()
    start = time.perf_counter() + 0.05
    tasks = []
    for due in start + np.cumsum(gaps):
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        result.send_lag_s = max(result.send_lag_s, time.perf_counter() - float(due))
        tasks.append(asyncio.create_task(_timed(request, float(due), result)))
    await asyncio.gather(*tasks)
    result.wall_s = time.perf_counter() - start
    return result


async def _timed(request: Request, since: float, result: LoadResult) -> None:
    try:
        await request()
    except Exception as error:
        result.failures[getattr(error, "code", None) or type(error).__name__] += 1
        return
    result.latencies_s.append(time.perf_counter() - since)
