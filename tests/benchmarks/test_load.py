"""The load generators: what they count, and that a slow server cannot hide its queue from them."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.serving.load import closed_loop, poisson_arrivals


class _OneAtATime:
    """A real queue: serves one request at a time, each for ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.lock = asyncio.Lock()
        self.waiting = 0
        self.most_waiting = 0

    async def __call__(self) -> None:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        async with self.lock:
            await asyncio.sleep(self.seconds)
        self.waiting -= 1


def test_closed_loop_keeps_each_client_waiting_for_its_answer() -> None:
    async def scenario() -> None:
        server = _OneAtATime(0.01)
        result = await closed_loop(server, clients=3, requests=12)
        assert server.most_waiting == 3
        assert len(result.latencies_s) == 12
        # Each waits for two others; a busy machine takes longer than this, never less.
        assert sorted(result.latencies_s)[6] > 0.02
        assert result.as_row()["per_second"] < 105

    asyncio.run(scenario())


def test_poisson_latency_counts_from_the_schedule() -> None:
    async def scenario() -> None:
        # 100 arrivals a second at a server that manages 50: the queue grows, and so must the latencies.
        result = await poisson_arrivals(_OneAtATime(0.02), per_second=100, requests=40, seed=1)
        assert len(result.latencies_s) == 40
        assert max(result.latencies_s) > 0.25
        assert result.wall_s > 0.75  # 40 answers of 20 ms, one after the other; a busy machine takes longer

    asyncio.run(scenario())


def test_poisson_arrivals_repeat_with_their_seed() -> None:
    async def arrivals(seed: int) -> float:
        async def at_once() -> None:
            return None

        return (await poisson_arrivals(at_once, per_second=200, requests=30, seed=seed)).wall_s

    first, again, other = (asyncio.run(arrivals(seed)) for seed in (1, 1, 2))
    assert first == pytest.approx(again, abs=0.02)
    assert abs(first - other) > 0.02


def test_failures_are_counted_by_code_and_not_timed() -> None:
    class CodedError(Exception):
        code = "OVERLOADED"

    async def scenario() -> None:
        calls = 0

        async def every_second_fails() -> None:
            nonlocal calls
            calls += 1
            if calls % 2:
                raise CodedError

        result = await closed_loop(every_second_fails, clients=1, requests=10)
        assert result.failures == {"OVERLOADED": 5}
        assert len(result.latencies_s) == 5

    asyncio.run(scenario())


@pytest.mark.parametrize(("clients", "requests"), [(0, 5), (4, 3)])
def test_closed_loop_refuses_idle_clients(clients: int, requests: int) -> None:
    async def nothing() -> None:
        return None

    with pytest.raises(ValueError, match="at least one request"):
        asyncio.run(closed_loop(nothing, clients, requests))
