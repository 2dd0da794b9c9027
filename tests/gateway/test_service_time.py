"""Service times are learnt, follow a machine that changes, and do not believe one outlier."""

from __future__ import annotations

import pytest

from facewright.gateway.service_time import ServiceTime


def learnt(*seconds: float, first_guess_s: float = 0.3) -> ServiceTime:
    service = ServiceTime(first_guess_s)
    for one in seconds:
        service.observe(one, one)
    return service


def test_a_wrong_first_guess_is_soon_forgotten() -> None:
    assert learnt(*[0.3] * 10, first_guess_s=3.0).mean_s < 0.6
    assert learnt(*[0.3] * 20, first_guess_s=0.01).mean_s > 0.2


@pytest.mark.parametrize("outlier", [30.0, 3e9, 0.0, -1.0])
def test_one_outlier_moves_the_mean_by_a_fifth_at_most(outlier: float) -> None:
    before = learnt(*[0.3] * 20)
    after = learnt(*[0.3] * 20, outlier)
    assert after.mean_s == pytest.approx(before.mean_s, rel=0.2 + 1e-9)


@pytest.mark.parametrize(("seconds", "requests"), [(3.0, 30), (0.03, 50)])
def test_a_machine_that_changes_tenfold_is_known_after_some_requests(seconds: float, requests: int) -> None:
    assert learnt(*[0.3] * 100, *[seconds] * requests).mean_s == pytest.approx(seconds, rel=0.1)


def test_of_a_mixture_the_mean_is_learnt_and_not_the_common_case() -> None:
    """Two of ten are long; the wait behind ten is what they take together."""
    service = learnt(*[0.1, 0.1, 0.1, 0.1, 0.4] * 40)
    assert service.mean_s == pytest.approx(0.16, rel=0.25)


def test_of_a_time_that_is_known_by_its_bounds_the_nearer_one_is_believed() -> None:
    service = learnt(*[0.3] * 20)
    before = service.mean_s
    service.observe(0.1, 0.4)
    assert service.mean_s == before
    for _ in range(60):
        service.observe(0.05, 0.2)
    assert service.mean_s == pytest.approx(0.2, rel=0.01)
    for _ in range(60):
        service.observe(0.25, 1.0)
    assert service.mean_s == pytest.approx(0.25, rel=0.01)


def test_a_mean_of_nothing_rises_again() -> None:
    assert learnt(*[0.0] * 200, *[0.3] * 60).mean_s == pytest.approx(0.3, rel=0.1)
