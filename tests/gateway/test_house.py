"""What was lost is sent again, what ends its stage twice is not; who has left is not computed for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from facewright.adapter.marks import Mark
from facewright.core.errors import FacewrightError
from facewright.gateway import house as house_module
from facewright.gateway.admission import Admission, AdmissionSettings
from facewright.gateway.call import Call, Caller
from facewright.gateway.callers import Callers
from facewright.gateway.house import TritonHouse
from facewright.gateway.marks import Marks
from facewright.gateway.message import with_id
from facewright.gateway.triton import Triton
from facewright_client.contract import ErrorCode
from tests.support.triton_behind import RefusedError, TritonBehind, glb_of

_GONE = RefusedError(grpc.StatusCode.UNAVAILABLE, "Socket closed")


def call(photo: bytes = b"a photo", identity: str = "house-1", within_s: float | None = 20.0) -> Call:
    """For an avatar."""
    request = service_pb2.ModelInferRequest(model_name="avatar_twin", raw_input_contents=[photo])
    deadline = None if within_s is None else time.monotonic() + within_s
    sent = with_id(request.SerializeToString(), identity)
    return Call("avatar_twin", sent, identity, Caller("somebody"), deadline)


def glb(answer: bytes) -> bytes:
    """The first output."""
    content: bytes = service_pb2.ModelInferResponse.FromString(answer).raw_output_contents[0]
    return content


def first_times(times: int, failure: Exception) -> Callable[[Any], Coroutine[Any, Any, Any]]:
    """An answer that fails so often first."""
    asked = 0

    async def answer(request: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked <= times:
            raise failure
        return await glb_of(request)

    return answer


@pytest.fixture(autouse=True)
def _short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house_module, "_LOOKED_AFTER_S", 0.05)


def _house(marks: Marks | None = None) -> TritonHouse:
    return TritonHouse(Admission(AdmissionSettings(), {"avatar_twin": 0.1}), Callers(), marks or Marks())


def test_what_a_dying_triton_had_is_answered_by_the_next(tmp_path: Path) -> None:
    """Four are in its hands when it dies, and one comes while there is none."""

    async def never(_request: Any) -> Any:
        await asyncio.sleep(60)

    async def scene() -> tuple[list[bytes], int]:
        house = _house()
        async with TritonBehind(tmp_path / "first", never) as dying:
            first = Triton(dying.socket)
            house.use(first)
            asked = [asyncio.create_task(house.answer(call(b"%d" % n, f"house-{n}"))) for n in range(4)]
            while len(dying.seen) < 4:
                await asyncio.sleep(0.01)
        house.forget(first)
        asked.append(asyncio.create_task(house.answer(call(b"4", "house-4"))))
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in asked)
        async with TritonBehind(tmp_path / "second") as second:
            house.use(Triton(second.socket))
            return [glb(answer) for answer in await asyncio.gather(*asked)], house.replayed

    assert asyncio.run(scene()) == ([b"0", b"1", b"2", b"3", b"4"], 4)


@pytest.mark.parametrize(
    "words", ["Stub process 'bake_texture_0_0' is not healthy.", "Server is stopping, scheduler stopped"]
)
def test_tritons_words_for_a_dead_stage_are_a_loss(tmp_path: Path, words: str) -> None:
    async def scene() -> tuple[bytes, int]:
        house = _house()
        answer = first_times(2, RefusedError(grpc.StatusCode.INTERNAL, words))
        async with TritonBehind(tmp_path / "triton", answer) as triton:
            house.use(Triton(triton.socket))
            return glb(await house.answer(call())), house.replayed

    assert asyncio.run(scene()) == (b"a photo", 1), "one call, however often it was sent"


def test_what_is_lost_three_times_is_given_up(tmp_path: Path) -> None:
    async def scene() -> int:
        house = _house()
        async with TritonBehind(tmp_path / "triton", first_times(9, _GONE)) as triton:
            house.use(Triton(triton.socket))
            with pytest.raises(FacewrightError, match="ended 3 times") as given_up:
                await house.answer(call())
            assert given_up.value.code is ErrorCode.UNAVAILABLE
            return len(triton.seen)

    assert asyncio.run(scene()) == 3


def test_who_ends_its_stage_twice_is_remembered_and_nobody_else(tmp_path: Path) -> None:
    async def scene() -> int:
        house = _house()

        async def deadly(request: Any) -> Any:
            if request.raw_input_contents[0] == b"deadly":
                house.blame(frozenset((request.id,)))
            raise _GONE

        async with TritonBehind(tmp_path / "triton", deadly) as triton:
            house.use(Triton(triton.socket))
            for identity, asked in (("house-1", 2), ("house-2", 2)):
                with pytest.raises(FacewrightError, match="ended what worked on it, twice") as refused:
                    await house.answer(call(b"deadly", identity))
                assert refused.value.code is ErrorCode.INTERNAL
                assert len(triton.seen) == asked  # the second time it is not even tried
            with pytest.raises(FacewrightError, match="ended 3 times"):
                await house.answer(call(b"harmless", "house-3"))
            return len(triton.seen)

    assert asyncio.run(scene()) == 5


@pytest.mark.parametrize(
    ("status", "words", "code"),
    [
        (
            grpc.StatusCode.INVALID_ARGUMENT,
            'in ensemble x, {"code": "NO_FACE", "stage": "find_face", "message": "m", "hint": "h"}',
            ErrorCode.NO_FACE,
        ),
        (grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape for input 'PHOTO'", ErrorCode.BAD_REQUEST),
        (grpc.StatusCode.INTERNAL, "something else", ErrorCode.INTERNAL),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "late", ErrorCode.DEADLINE_EXCEEDED),
        (grpc.StatusCode.UNIMPLEMENTED, "no such method", ErrorCode.BAD_REQUEST),
    ],
)
def test_a_refusal_is_no_loss(tmp_path: Path, status: grpc.StatusCode, words: str, code: ErrorCode) -> None:
    async def scene() -> int:
        house = _house()
        async with TritonBehind(tmp_path / "triton", first_times(9, RefusedError(status, words))) as triton:
            house.use(Triton(triton.socket))
            with pytest.raises(FacewrightError) as refused:
                await house.answer(call())
            assert refused.value.code is code
            return len(triton.seen)

    assert asyncio.run(scene()) == 1


def test_nobody_waits_longer_than_it_wants_for_a_triton() -> None:
    with pytest.raises(FacewrightError, match="restarting") as late:
        asyncio.run(_house().answer(call(within_s=0.05)))
    assert late.value.code is ErrorCode.DEADLINE_EXCEEDED


def test_who_leaves_is_not_computed_for(tmp_path: Path) -> None:
    """Its stages are told so, and of nobody else."""

    async def never(request: Any) -> Any:
        if request.id != "house-0":
            await asyncio.sleep(60)
        return await glb_of(request)

    async def scene() -> None:
        left: list[str] = []
        house = _house(Marks(left=left.append))
        async with TritonBehind(tmp_path / "triton", never) as triton:
            house.use(Triton(triton.socket))
            await house.answer(call(identity="house-0"))
            triton.seen.clear()
            asking = asyncio.create_task(house.answer(call()))
            while not triton.seen:
                await asyncio.sleep(0.01)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            async with asyncio.timeout(10):
                while not triton.cancelled:
                    await asyncio.sleep(0.01)
            with pytest.raises(FacewrightError):
                await house.answer(call(identity="house-2", within_s=0.1))
            assert left == ["house-1", "house-2"]

    asyncio.run(scene())


def test_a_stream_is_handed_on_and_begins_anew_while_nothing_was_heard(tmp_path: Path) -> None:
    async def scene() -> tuple[list[bytes], str]:
        house = _house()
        async with TritonBehind(tmp_path / "triton") as triton:
            house.use(Triton(triton.socket))
            heard = [glb(answer) async for answer in house.answers(call())]
        async with TritonBehind(
            tmp_path / "next", first_times(1, RefusedError(_GONE.status, "{}"))
        ) as triton:
            house.use(Triton(triton.socket))
            try:
                async for _ in house.answers(call()):
                    pass
            except FacewrightError as error:
                return heard, str(error.code)
            return heard, "answered"

    assert asyncio.run(scene()) == ([b"a photo"] * 3, ErrorCode.BAD_REQUEST)


def test_what_stages_told_before_their_answer_is_heard_with_it(tmp_path: Path) -> None:
    """A quick last stage tells that it begins less than a look at the socket before its answer."""
    told: list[str] = []

    async def scene() -> None:
        marks = Marks(lambda identity, stage: house.began(identity, stage))
        marks.connected(7)

        def hear() -> None:
            marks.said(7, Mark("package_avatar", "package_avatar_0_0", 1, ("house-1",)).encoded())

        house = TritonHouse(Admission(AdmissionSettings(), {"avatar_twin": 0.1}), Callers(), marks, hear)
        async with TritonBehind(tmp_path / "triton") as behind:
            triton = Triton(behind.socket)
            house.use(triton)
            await house.answer(replace(call(), began=told.append))
            await triton.close()

    asyncio.run(scene())
    assert told == ["package_avatar"]
