"""Arrivals, answers, failures, cancellations, reservations and outages in any order: what always holds."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from itertools import pairwise

import pytest

from facewright.core.errors import FacewrightError
from facewright.gateway.admission import Admission, AdmissionSettings
from facewright.gateway.call import Call, Caller
from facewright_client.contract import ErrorCode
from tests.support.virtual_time import run_in_virtual_time

SETTINGS = AdmissionSettings(at_once=3, slow_at_once=2, photo_budget_bytes=4000)
SERVED = {"avatar": 0.3, "merge": 0.6, "refine": 8.0}
CALLERS = (Caller("a"), Caller("b"), Caller("c", most_at_once=3), Caller("d", best_priority=1))


class RandomHouse:
    """One admission under random callers, checked at each step."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = asyncio.get_running_loop().time
        self.admission = Admission(SETTINGS, SERVED, self.now)
        self.inside: dict[bool, int] = {True: 0, False: 0}  # by whether the pipeline is slow
        self.entered: dict[tuple[str, int, bool], list[int]] = defaultdict(list)
        self.outcomes: dict[str, int] = defaultdict(int)
        self.refused: list[tuple[FacewrightError, float, float]] = []  # after how long, and the longest wait

    async def visit(self, number: int) -> None:
        """One call, whatever happens to it."""
        call, came = self.some_call(number), self.now()
        slow = call.pipeline == "refine"
        bound_s = SETTINGS.slow_longest_wait_s if slow else SETTINGS.longest_wait_s
        try:
            if self.random.random() < 0.3:
                with self.admission.reserve(call, len(call.request)) as room:
                    await asyncio.sleep(self.random.uniform(0, 0.2))
                    room.resize(max(room.size - 5, 0))
                    came = self.now()
                    await self.answer(call, number, slow)
            else:
                await self.answer(call, number, slow)
            self.outcomes["answered"] += 1
        except FacewrightError as error:
            self.outcomes[error.code] += 1
            if error.code != ErrorCode.INTERNAL:
                self.refused.append((error, self.now() - came, bound_s))
        except asyncio.CancelledError:
            self.outcomes["left"] += 1
            raise

    def some_call(self, number: int) -> Call:
        deadline = self.now() + self.random.uniform(0, 4) if self.random.random() < 0.3 else None
        return Call(
            self.random.choices(list(SERVED), [8, 3, 1])[0],
            bytes(self.random.randrange(600)),
            f"request {number}",
            self.random.choice(CALLERS),
            deadline,
            self.random.choice((0, 0, 0, 1, 2)),
        )

    async def answer(self, call: Call, number: int, slow: bool) -> None:
        async with self.admission.admitted(call) as waited_s:
            bound = SETTINGS.slow_at_once if slow else SETTINGS.at_once
            assert waited_s <= (SETTINGS.slow_longest_wait_s if slow else SETTINGS.longest_wait_s) + 1e-6
            self.inside[slow] += 1
            self.entered[call.caller.name, max(call.priority, call.caller.best_priority), slow].append(number)
            try:
                assert self.inside[slow] <= bound
                await asyncio.sleep(SERVED[call.pipeline] * self.random.lognormvariate(0, 0.5))
                if self.random.random() < 0.1:
                    raise FacewrightError(ErrorCode.INTERNAL, "it failed", "none")
            finally:
                self.inside[slow] -= 1

    async def live(self, calls: int) -> None:
        """So many calls come; some leave, and now and then Triton is away."""
        visits = []
        for number in range(calls):
            visit = asyncio.create_task(self.visit(number))
            visits.append(visit)
            if self.random.random() < 0.15:
                asyncio.get_running_loop().call_later(self.random.expovariate(2), visit.cancel)
            if self.random.random() < 0.02:
                self.admission.hold_until(self.now() + self.random.uniform(0, 3))
            if self.random.random() < 0.02:
                self.admission.hold_until(None)
            if self.random.random() < 0.6:
                await asyncio.sleep(self.random.expovariate(8))
            if self.random.random() < 0.01:
                await asyncio.sleep(5)
            self.check()
        outcomes = await asyncio.gather(*visits, return_exceptions=True)
        assert [one for one in outcomes if isinstance(one, Exception)] == []
        for error, after_s, bound_s in self.refused:
            assert after_s <= bound_s + 1e-6
            if error.code == ErrorCode.OVERLOADED:
                assert error.retry_after_s is not None
                assert error.retry_after_s > 0

    def check(self) -> None:
        figures = self.admission.figures()
        assert figures.inside["avatar"] + figures.inside["merge"] <= SETTINGS.at_once
        assert figures.inside["refine"] <= SETTINGS.slow_at_once
        assert 0 <= figures.held_bytes <= SETTINGS.photo_budget_bytes
        assert all(wait_s >= 0 for wait_s in figures.wait_s.values())
        if figures.waiting["avatar"] + figures.waiting["merge"]:  # nobody waits for a slot that is free
            assert figures.inside["avatar"] + figures.inside["merge"] == SETTINGS.at_once


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_nothing_is_lost_left_behind_or_out_of_order(seed: int) -> None:
    async def scenario() -> None:
        house = RandomHouse(seed)
        await house.live(250)
        await house.admission.empty()
        figures = house.admission.figures()
        assert figures.held_bytes == 0
        assert not any([*figures.inside.values(), *figures.waiting.values()])
        assert sum(house.outcomes.values()) <= 250  # some left before they came
        assert house.outcomes["answered"] > 30
        assert {"left", ErrorCode.OVERLOADED, ErrorCode.INTERNAL} <= set(house.outcomes)
        for numbers in house.entered.values():
            assert len(numbers) == len(set(numbers))
        assert not house.admission._turn_came
        assert not house.admission._budget._by_caller

    run_in_virtual_time(scenario())


@pytest.mark.parametrize("seed", range(5))
def test_each_caller_is_served_in_its_order_and_none_for_ever_last(seed: int) -> None:
    """Four callers, one of which floods; nobody leaves."""

    async def scenario() -> None:
        order = random.Random(seed)
        admission = Admission(SETTINGS, SERVED, asyncio.get_running_loop().time)
        entered: dict[str, list[int]] = defaultdict(list)
        waits: dict[str, list[float]] = defaultdict(list)
        refused = set[str]()

        async def visit(name: str, number: int) -> None:
            try:
                async with admission.admitted(Call("avatar", b"", f"{number}", Caller(name))) as waited_s:
                    entered[name].append(number)
                    waits[name].append(waited_s)
                    await asyncio.sleep(0.3 * order.uniform(0.8, 1.2))
            except FacewrightError:
                refused.add(name)

        visits = []
        for number in range(1500):
            name = order.choices(["flooder", "a", "b", "c"], [37, 1, 1, 1])[0]
            visits.append(asyncio.create_task(visit(name, number)))
            await asyncio.sleep(order.expovariate(40))
        await asyncio.gather(*visits)
        assert refused == {"flooder"}
        for numbers in entered.values():
            assert all(earlier < later for earlier, later in pairwise(numbers))
        assert max(max(waits[name]) for name in "abc") < 1.0
        assert sum(len(numbers) for numbers in entered.values()) > 0.9 * 3 / 0.3 * 1500 / 40

    run_in_virtual_time(scenario())
