"""Jobs: what is kept, for whom and for how long. In a time of its own."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import dataclass
from functools import partial

import pytest
from starlette.responses import Response

from facewright.core.errors import FacewrightError
from facewright.gateway.call import Call, Caller
from facewright.gateway.rest.errors import RequestError
from facewright.gateway.rest.job import Job, Key, Told, Work
from facewright.gateway.rest.jobs import Jobs, JobSettings
from facewright.gateway.rest.making import avatars
from facewright_client.contract import ErrorCode
from tests.support.scripted_house import ScriptedHouse
from tests.support.virtual_time import run_in_virtual_time


@dataclass(frozen=True)
class _Made:
    size: int = 0
    event: str = "made"
    forms: tuple[str, ...] = ("application/json",)

    def json_line(self) -> list[bytes]:
        return [b"{}"]

    def response(self, _form: str) -> Response:
        return Response()


def _work(seconds: float = 1.0, size: int = 0, error: Exception | None = None) -> Work:
    async def work(told: Told) -> _Made:
        told("began", {"stage": "find_face"})
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return _Made(size)

    return work


def _status(jobs: Jobs, caller: str, identity: str) -> int:
    try:
        jobs.of(caller, identity)
    except RequestError as error:
        return error.status
    return 200


def test_a_job_is_its_callers_alone_and_kept_for_its_time() -> None:
    async def scenario() -> None:
        jobs = Jobs(JobSettings(kept_s=600))
        job = jobs.start("ann", _work())
        assert _status(jobs, "ann", job.id) == 200
        assert _status(jobs, "bob", job.id) == 404
        await asyncio.sleep(600)
        assert job.result == _Made()
        assert _status(jobs, "ann", job.id) == 200
        await asyncio.sleep(2)
        assert (_status(jobs, "ann", job.id), _status(jobs, "bob", job.id)) == (410, 404)
        assert _status(jobs, "ann", "another") == 404

    run_in_virtual_time(scenario())


def test_states_are_told() -> None:
    async def scenario() -> None:
        jobs = Jobs()
        job = jobs.start("ann", _work())
        assert (job.members()["state"], job.members()["stage"]) == ("waiting", None)
        assert not await job.ended_within(0.5)
        assert (job.members()["state"], job.members()["stage"]) == ("running", "find_face")
        assert await job.ended_within(1.0)
        assert job.members()["state"] == "done"
        failing = jobs.start("ann", _work(error=FacewrightError(ErrorCode.NO_FACE, "none", "show one")))
        await failing.ended_within(2.0)
        assert failing.members()["state"] == "failed"
        assert failing.members()["error"]["code"] == "NO_FACE"

    run_in_virtual_time(scenario())


def test_a_key_stands_for_what_runs_and_what_is_kept_and_for_no_other_request() -> None:
    async def scenario() -> None:
        jobs, key = Jobs(), Key("k", b"1")
        assert jobs.begun_under("ann", key) is None
        job = jobs.start("ann", _work(), key)
        assert jobs.begun_under("ann", key) is job
        assert jobs.begun_under("bob", key) is None
        await asyncio.sleep(2)
        assert jobs.begun_under("ann", key) is job
        with pytest.raises(RequestError, match="another request") as refused:
            jobs.begun_under("ann", Key("k", b"2"))
        assert refused.value.status == 422
        await asyncio.sleep(600)
        assert jobs.begun_under("ann", Key("k", b"2")) is None

    run_in_virtual_time(scenario())


@pytest.mark.parametrize(("code", "kept"), [(ErrorCode.NO_FACE, True), (ErrorCode.OVERLOADED, False)])
def test_a_key_keeps_failures_that_would_come_again(code: ErrorCode, kept: bool) -> None:
    async def scenario() -> None:
        jobs = Jobs()
        job = jobs.start("ann", _work(error=FacewrightError(code, "what", "mend")), Key("k", b"1"))
        await asyncio.sleep(2)
        assert jobs.begun_under("ann", Key("k", b"1")) is (job if kept else None)
        await jobs.close()

    run_in_virtual_time(scenario())


def test_whoever_holds_most_loses_what_was_finished_first() -> None:
    async def scenario() -> None:
        jobs = Jobs(JobSettings(kept_bytes=100_000))
        small = jobs.start("bob", _work(1.0, 20_000))
        large = [jobs.start("ann", _work(seconds, 30_000)) for seconds in (4.0, 3.0, 2.0)]
        await asyncio.sleep(5)
        assert _status(jobs, "bob", small.id) == 200
        assert [_status(jobs, "ann", job.id) for job in large] == [200, 200, 410]

    run_in_virtual_time(scenario())


def test_a_caller_has_so_many_jobs() -> None:
    async def scenario() -> None:
        jobs = Jobs(JobSettings(most_per_caller=2))
        first, second = (jobs.start("ann", _work(seconds)) for seconds in (2.0, 1.0))
        with pytest.raises(FacewrightError, match="2 jobs of this caller run") as refused:
            jobs.start("ann", _work())
        assert refused.value.code is ErrorCode.OVERLOADED
        jobs.start("bob", _work())
        await asyncio.sleep(3)
        jobs.start("ann", _work())
        assert [_status(jobs, "ann", job.id) for job in (first, second)] == [200, 410]
        await jobs.close()

    run_in_virtual_time(scenario())


def test_who_follows_a_job_hears_all_of_it_and_does_not_end_it() -> None:
    async def scenario() -> None:
        jobs = Jobs()
        job = jobs.start("ann", _work())
        leaving = asyncio.create_task(job.followed(lambda _name, _event: None))
        await asyncio.sleep(0.5)
        leaving.cancel()
        heard: list[str] = []
        assert await job.followed(lambda _name, event: heard.append(event["stage"])) == _Made()
        assert heard == ["find_face"]

    run_in_virtual_time(scenario())


def test_a_deleted_job_is_stopped_and_its_followers_are_told() -> None:
    async def scenario() -> None:
        jobs = Jobs()
        job = jobs.start("ann", _work(), Key("k", b"1"))
        following = asyncio.create_task(job.followed(lambda _name, _event: None))
        await asyncio.sleep(0.5)
        jobs.delete(job)
        with pytest.raises(FacewrightError, match="CANCELLED"):
            await following
        assert (job.task.cancelled(), _status(jobs, "ann", job.id)) == (True, 410)
        assert jobs.begun_under("ann", Key("k", b"2")) is None

    run_in_virtual_time(scenario())


def test_refusals_do_not_push_out_what_is_known_of_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facewright.gateway.rest.jobs._MOST_GONE", 1)

    async def scenario() -> None:
        jobs = Jobs()
        job = jobs.start("ann", _work())
        jobs.delete(job)
        refused = jobs.start("ann", _work(0.0))
        jobs.discard(refused)
        await refused.ended_within(1.0)
        assert (_status(jobs, "ann", job.id), _status(jobs, "ann", refused.id)) == (410, 404)

    run_in_virtual_time(scenario())


def test_a_stop_waits_until_every_end_was_told() -> None:
    async def scenario() -> None:
        jobs = Jobs(JobSettings(kept_s=60))
        await jobs.all_collected()
        job, forgotten = jobs.start("ann", _work()), jobs.start("ann", _work(2.0))
        stopping = asyncio.create_task(jobs.all_collected())
        await asyncio.sleep(3)
        jobs.collect(job)
        await asyncio.sleep(1)
        assert not stopping.done()
        jobs.delete(forgotten)
        await stopping
        jobs.start("ann", _work(1.0))
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        await jobs.all_collected()
        assert loop.time() - began_at == pytest.approx(61.0)

    run_in_virtual_time(scenario())


@pytest.mark.parametrize("error", [FacewrightError(ErrorCode.NO_FACE, "none", "mend"), ValueError()])
def test_a_failure_keeps_nothing_of_its_request(error: Exception) -> None:
    """Frames of a traceback would: photos, for as long as results are kept, and more with every telling."""

    class Photo:
        pass

    async def scenario() -> None:
        photo = Photo()
        kept = weakref.ref(photo)

        async def work(photo: Photo, _told: Told) -> _Made:
            assert photo
            raise error

        jobs = Jobs()
        job = jobs.start("ann", partial(work, photo))
        del photo
        for _ in range(2):
            with pytest.raises(FacewrightError):
                await job.followed(lambda _name, _event: None)
        error.__traceback__ = None
        gc.collect()
        assert kept() is None
        assert job.failure is not None
        assert job.failure.__traceback__ is None
        await jobs.close()

    run_in_virtual_time(scenario())


def test_what_failed_among_several_keeps_nothing_of_its_request() -> None:
    async def scenario() -> None:
        house = ScriptedHouse()
        house.failures.append(FacewrightError(ErrorCode.NO_FACE, "none", "mend"))
        call = Call("avatar_twin", b"", "", Caller("ann"))
        made = await avatars(house, [call], lambda _name, _event: None)
        (failure,) = made.outcomes
        assert isinstance(failure, FacewrightError)
        assert (failure.code, failure.__traceback__) == (ErrorCode.NO_FACE, None)

    run_in_virtual_time(scenario())


def test_a_fault_says_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> Job:
        jobs = Jobs()
        job = jobs.start("ann", _work(error=ZeroDivisionError("a secret")))
        await asyncio.sleep(2)
        return job

    job = run_in_virtual_time(scenario())
    assert job.members()["error"]["code"] == "INTERNAL"
    assert job.id in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text + str(job.members())
