"""Overload in virtual time: what is answered, how fast, and what those who are refused hear."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from facewright.core.errors import FacewrightError
from facewright.gateway.admission import Admission, AdmissionSettings
from facewright.gateway.call import Call, Caller
from tests.support.virtual_time import run_in_virtual_time

SETTINGS = AdmissionSettings()
SERVICE_S = 0.64  # with four inside on two cores; alone it takes half
CAPACITY = SETTINGS.at_once / SERVICE_S  # calls a second
SECONDS = 60.0


@dataclass
class Load:
    """What came of the calls: seconds from coming to the answer, and to a refusal."""

    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    within: int = 0

    @property
    def goodput(self) -> float:
        """Answered before the time was over, of what could have been."""
        return self.within / (CAPACITY * SECONDS)


class TwoCores:
    """Cores that are shared by whoever is inside: with more than two, each takes longer."""

    def __init__(self, seed: int, slower: Callable[[float], float] = lambda _now: 1.0) -> None:
        self.now = asyncio.get_running_loop().time
        self.admission = Admission(SETTINGS, {"avatar": 1.0}, self.now)
        self.random = random.Random(seed)
        self.slower = slower
        self._inside = 0

    async def call(self, load: Load, caller: str, number: int, deadline: float | None = None) -> float | None:
        """One call; gives the seconds after which to come back."""
        came = self.now()
        try:
            async with self.admission.admitted(
                Call("avatar", bytes(10), f"{number}", Caller(caller), deadline)
            ) as waited_s:
                load.waited.append(waited_s)
                self._inside += 1
                work_s = SERVICE_S / 2 * self.random.uniform(0.7, 1.3) * self.slower(self.now())
                try:
                    for _ in range(8):
                        await asyncio.sleep(work_s / 8 * max(self._inside / 2, 1))
                finally:
                    self._inside -= 1
            load.answered.append(self.now() - came)
            load.within += self.now() < SECONDS
            return None
        except FacewrightError as error:
            load.refused.append(self.now() - came)
            return error.retry_after_s or 0


async def open_loop(house: TwoCores, times: float, load: Load, caller: Callable[[int], str]) -> None:
    """Poisson arrivals, which do not wait for anything."""
    calls, number, until = [], 0, house.now() + SECONDS
    while house.now() < until:
        await asyncio.sleep(house.random.expovariate(times * CAPACITY))
        calls.append(asyncio.create_task(house.call(load, caller(number), number)))
        number += 1
    await asyncio.gather(*calls)


@pytest.mark.parametrize(("times", "callers"), [(1.0, 5), (5.0, 1), (5.0, 20), (20.0, 1)])
def test_at_many_times_the_load_as_much_is_answered_as_can_be(times: float, callers: int) -> None:
    async def scenario() -> Load:
        load = Load()
        await open_loop(TwoCores(1), times, load, lambda number: f"caller {number % callers}")
        return load

    load = run_in_virtual_time(scenario())
    assert load.goodput >= 0.9
    assert max(load.answered) <= SETTINGS.longest_wait_s + 2 * SERVICE_S
    at_once = [seconds for seconds in load.refused if seconds == 0]
    assert len(at_once) >= 0.97 * len(load.refused) - 2


def wandering(seed: int) -> Callable[[float], float]:
    """How much slower a machine is that others use, too: by a half, more or less, for seconds each."""
    chance, now, factors = random.Random(seed), 0.0, []
    for _ in range(round(4 * (SECONDS + 60))):
        now = 0.88 * now + math.sqrt(1 - 0.88**2) * chance.gauss(0, 0.4)
        factors.append(math.exp(now))
    return lambda now: factors[int(4 * now)]


@pytest.mark.parametrize("callers", [1, 20])
def test_on_a_machine_whose_speed_wanders_who_is_let_wait_is_answered(callers: int) -> None:
    """Of a hundred who are refused ninety-nine are told at once: so p99 of refusals is at once."""

    async def scenario(seed: int) -> Load:
        load = Load()
        house = TwoCores(seed, wandering(seed))
        await open_loop(house, 5.0, load, lambda number: f"caller {number % callers}")
        return load

    loads = [run_in_virtual_time(scenario(seed)) for seed in range(3)]
    refused = [seconds for load in loads for seconds in load.refused]
    assert sum(seconds > 0 for seconds in refused) < 0.01 * len(refused)


def test_after_an_overload_a_lone_request_is_answered_at_once() -> None:
    async def scenario() -> tuple[float, Load]:
        house, load = TwoCores(2), Load()
        flood = asyncio.create_task(open_loop(house, 5.0, load, lambda _number: "flood"))
        await asyncio.sleep(SECONDS + SETTINGS.longest_wait_s + 2 * SERVICE_S)
        lone = Load()
        assert await house.call(lone, "lone", -1, house.now() + 0.5) is None
        await flood
        return lone.answered[0], load

    seconds, _ = run_in_virtual_time(scenario())
    assert seconds <= 1.3 * SERVICE_S / 2 + 1e-9


def test_two_hundred_clients_that_come_back_when_told_to_keep_the_house_busy_and_leave_few_out() -> None:
    async def scenario() -> tuple[Load, list[int]]:
        house, load = TwoCores(3), Load()
        served = [0] * 200

        async def client(number: int) -> None:
            await asyncio.sleep(house.random.uniform(0, 0.1))
            while house.now() < SECONDS:
                pause_s = await house.call(load, f"client {number}", number)
                served[number] += pause_s is None
                await asyncio.sleep(pause_s or 0)

        await asyncio.gather(*map(client, range(200)))
        return load, served

    load, served = run_in_virtual_time(scenario())
    assert load.goodput >= 0.9
    assert max(load.answered) <= SETTINGS.longest_wait_s + 2 * SERVICE_S
    assert len(load.refused) < 10 * len(load.answered)
    # Capacity is for two calls each, and who was answered asks again at once.
    assert sum(count > 0 for count in served) > 140


def test_beside_a_flooder_another_caller_waits_for_one_turn_and_is_never_refused() -> None:
    async def scenario() -> Load:
        house, lone = TwoCores(4), Load()
        flood = asyncio.create_task(open_loop(house, 5.0, Load(), lambda _number: "flooder"))
        await asyncio.sleep(5)
        for number in range(30):
            await house.call(lone, "lone", -1 - number)
            await asyncio.sleep(house.random.uniform(0, 2))
        await flood
        return lone

    lone = run_in_virtual_time(scenario())
    assert lone.refused == []
    assert max(lone.waited) <= SERVICE_S


def test_a_machine_that_becomes_slower_and_faster_is_followed() -> None:
    """Three times as slow for twenty seconds: less is answered, and still nobody waits for nothing."""

    async def scenario() -> Load:
        house, load = TwoCores(5, lambda now: 3.0 if 20 <= now < 40 else 1.0), Load()
        await open_loop(house, 5.0, load, lambda number: f"caller {number % 5}")
        return load

    load = run_in_virtual_time(scenario())
    assert load.goodput >= 0.9 * (20 + 20 / 3 + 20) / 60
    at_once = [seconds for seconds in load.refused if seconds == 0]
    assert len(at_once) >= 0.95 * len(load.refused)
