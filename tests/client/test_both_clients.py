"""`Client` and `AsyncClient`: the same methods, the same answers, the same counts."""

from __future__ import annotations

import asyncio
import inspect
import io
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from facewright_client import (
    AsyncClient,
    AsyncPendingAvatar,
    BadOptionError,
    BadPhotoError,
    BadRequestError,
    CancelledError,
    Client,
    ClientClosedError,
    ClientMetrics,
    Connection,
    DeadlineExceededError,
    InternalServerError,
    NoFaceError,
    PendingAvatar,
    RefinementProgress,
    RefinementStart,
    RetryPolicy,
)
from tests.support.scripted_triton import Scripted, scripted_server, wire_error

START = RefinementStart(
    face_crop=np.zeros((1024, 1024, 3), np.uint8),
    face_mask=np.zeros((256, 256), np.uint8),
    intrinsics=np.eye(3, dtype=np.float32),
    head_to_camera=np.eye(3, 4, dtype=np.float32),
    sh_light=np.zeros((9, 3), np.float32),
    w_plus=np.zeros((14, 512), np.float32),
)


@pytest.fixture
def scripted() -> Iterator[tuple[Scripted, str]]:
    """The server's script and its address."""
    with scripted_server() as served:
        yield served


class Caller:
    """One of the two clients, called in the same words; counts what it counts.

    Args:
        url: the server.
        asynchronous: which client.
    """

    def __init__(self, url: str, asynchronous: bool) -> None:
        self._url = url
        self._asynchronous = asynchronous
        self._registry = CollectorRegistry()
        retries = RetryPolicy(attempts=2, first_pause_s=0.01)
        self._connection = Connection(retries=retries, metrics=ClientMetrics(self._registry))

    def __call__(self, use: Callable[[Any], Any]) -> Any:
        """What ``use`` makes of a client; an awaitable is awaited."""
        if not self._asynchronous:
            with Client(self._url, self._connection) as client:
                return use(client)

        async def call() -> Any:
            async with AsyncClient(self._url, self._connection) as client:
                return await _settled(use(client))

        return asyncio.run(call())

    def counted(self) -> dict[str, int]:
        """Requests by outcome."""
        counts: Counter[str] = Counter()
        for metric in self._registry.collect():
            for sample in metric.samples:
                if sample.name == "facewright_client_seconds_count":
                    counts[sample.labels["outcome"]] += int(sample.value)
        return dict(counts)


async def _settled(value: Any) -> Any:
    while isinstance(value, Awaitable):
        value = await value
    return value


@pytest.fixture(params=[False, True], ids=["Client", "AsyncClient"])
def caller(request: pytest.FixtureRequest, scripted: tuple[Scripted, str]) -> Caller:
    """Each client in turn."""
    return Caller(scripted[1], request.param)


def _public(kind: type) -> dict[str, inspect.Signature]:
    names = [name for name in vars(kind) if not name.startswith("_")]
    return {name: inspect.signature(getattr(kind, name)) for name in names}


@pytest.mark.parametrize(
    ("blocking", "asynchronous"), [(Client, AsyncClient), (PendingAvatar, AsyncPendingAvatar)]
)
def test_what_one_has_the_other_has(blocking: type, asynchronous: type) -> None:
    own = {"sent", "answered"}  # tritonclient's callbacks
    blocking_methods = {name: _ for name, _ in _public(blocking).items() if name not in own}
    asynchronous_methods = _public(asynchronous)
    assert blocking_methods.keys() == asynchronous_methods.keys()
    for name, signature in blocking_methods.items():
        assert signature.parameters == asynchronous_methods[name].parameters, name
        answer = signature.return_annotation
        expected = {"PendingAvatar": "AsyncPendingAvatar"}.get(answer, answer)
        assert asynchronous_methods[name].return_annotation == expected, name
    awaited = {name for name in asynchronous_methods if inspect.iscoroutinefunction(vars(asynchronous)[name])}
    assert asynchronous_methods.keys() - awaited <= {"done", "cancel"}
    assert inspect.signature(Client).parameters == inspect.signature(AsyncClient).parameters


def test_refinement_without_progress(caller: Caller) -> None:
    refined = caller(lambda client: client.refine(START, iterations=2))
    assert refined.w_plus.shape == (14, 512)
    assert caller.counted() == {"ok": 1}


def test_refinement_with_progress(scripted: tuple[Scripted, str], caller: Caller) -> None:
    seen: list[RefinementProgress] = []
    refined = caller(lambda client: client.refine(START, seen.append, iterations=2))
    assert refined.losses.shape == (2, 4)
    assert [progress.iteration for progress in seen] == [1, 2]
    assert seen[1].losses == {"total": 0.5}
    (request,) = scripted[0].requests
    assert request.model_name == "refine_latent_progress"
    assert request.parameters["iterations"].int64_param == 2
    assert caller.counted() == {"ok": 1}


def test_a_stream_that_is_refused(scripted: tuple[Scripted, str], caller: Caller) -> None:
    scripted[0].failures = [(grpc.StatusCode.OK, wire_error("BAD_OPTION"))]
    with pytest.raises(BadOptionError):
        caller(lambda client: client.refine(START, lambda _progress: None))
    scripted[0].failures = [(grpc.StatusCode.OK, "unexpected shape for input 'W_PLUS'")]
    with pytest.raises(BadRequestError, match="unexpected shape"):
        caller(lambda client: client.refine(START, lambda _progress: None))
    assert caller.counted() == {"BAD_OPTION": 1, "BAD_REQUEST": 1}


class _EnoughError(Exception):
    pass


def test_whoever_has_seen_enough_stops_the_stream(scripted: tuple[Scripted, str], caller: Caller) -> None:
    script, _ = scripted
    script.release.clear()

    def enough(_progress: RefinementProgress) -> None:
        raise _EnoughError

    with pytest.raises(_EnoughError):
        caller(lambda client: client.refine(START, enough))
    assert script.cancelled.wait(30)
    assert caller.counted() == {"CANCELLED": 1}


def test_a_stream_that_falls_silent(scripted: tuple[Scripted, str], caller: Caller) -> None:
    script, _ = scripted
    script.release.clear()
    allowed_s: list[float] = []

    def use(client: Any) -> Any:
        allowed_s.append(0.3 * (1 + len(allowed_s)))
        return client.refine(START, lambda _progress: None, timeout_s=allowed_s[-1])

    while not script.arrived.is_set():  # until one comes as far as the server
        with pytest.raises(DeadlineExceededError):
            caller(use)
    assert script.cancelled.wait(30)
    assert caller.counted() == {"DEADLINE_EXCEEDED": len(allowed_s)}


def test_a_submission(caller: Caller) -> None:
    async def asynchronous(client: AsyncClient) -> bytes:
        pending = await client.submit(b"photo")
        glb = (await pending.result(30)).glb
        assert pending.done()
        return glb

    def use(client: Any) -> Any:
        return asynchronous(client) if isinstance(client, AsyncClient) else client.submit(b"p").result(30).glb

    assert caller(use) == b"glTF\x02"
    assert caller.counted() == {"ok": 1}


def test_a_submission_that_fails(scripted: tuple[Scripted, str], caller: Caller) -> None:
    scripted[0].failures = [(grpc.StatusCode.INVALID_ARGUMENT, wire_error("NO_FACE"))]

    async def asynchronous(client: AsyncClient) -> None:
        await (await client.submit(b"photo")).result(30)

    with pytest.raises(NoFaceError):
        caller(lambda c: asynchronous(c) if isinstance(c, AsyncClient) else c.submit(b"photo").result(30))
    assert caller.counted() == {"NO_FACE": 1}


def test_an_asynchronous_submission_waits_and_is_cancelled(scripted: tuple[Scripted, str]) -> None:
    script, url = scripted
    script.release.clear()
    caller = Caller(url, asynchronous=True)

    async def use(client: AsyncClient) -> None:
        pending = await client.submit(b"photo")
        with pytest.raises(TimeoutError):
            await pending.result(0.1)
        assert not pending.done()
        assert await asyncio.to_thread(script.arrived.wait, 30)
        pending.cancel()
        with pytest.raises(CancelledError):
            await pending.result(30)
        assert await asyncio.to_thread(script.cancelled.wait, 30)

    caller(use)
    assert caller.counted() == {"CANCELLED": 1}


def test_a_submission_that_is_cancelled_at_once(caller: Caller, scripted: tuple[Scripted, str]) -> None:
    """Before anything of it has run."""
    scripted[0].release.clear()  # or the answer may be faster

    async def asynchronous(client: AsyncClient) -> None:
        pending = await client.submit(b"photo")
        pending.cancel()
        await pending.result(30)

    def blocking(client: Client) -> None:
        pending = client.submit(b"photo")
        pending.cancel()
        pending.result(30)

    with pytest.raises(CancelledError):
        caller(lambda client: (asynchronous if isinstance(client, AsyncClient) else blocking)(client))
    assert caller.counted() == {"CANCELLED": 1}


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.create(b"photo"),
        lambda client: client.submit(b"photo"),
        lambda client: client.refine(START),
        lambda client: client.refine(START, lambda _progress: None),
        lambda client: client.ready(),
        lambda client: client.pipelines(),
        lambda client: client.statistics(),
    ],
    ids=["create", "submit", "refine", "refine with progress", "ready", "pipelines", "statistics"],
)
def test_a_client_that_is_closed(caller: Caller, use: Callable[[Any], Any]) -> None:
    async def asynchronous(client: AsyncClient) -> None:
        await client.close()
        await use(client)

    def blocking(client: Client) -> None:
        client.close()
        use(client)

    with pytest.raises(ClientClosedError, match=r"the client is closed \(open a new one\)"):
        caller(lambda client: (asynchronous if isinstance(client, AsyncClient) else blocking)(client))
    assert caller.counted() == {}, "nothing was sent"


@pytest.mark.parametrize("asynchronous", [False, True], ids=["Client", "AsyncClient"])
def test_a_client_that_is_closed_during_a_request(asynchronous: bool, scripted: tuple[Scripted, str]) -> None:
    script, url = scripted
    script.release.clear()

    async def awaited() -> None:
        client = AsyncClient(url)
        task = asyncio.create_task(client.create(b"photo", timeout_s=30.0))
        assert await asyncio.to_thread(script.arrived.wait, 30)
        await client.close()
        await task

    def blocking() -> None:
        client = Client(url)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.create, b"photo", timeout_s=30.0)
            assert script.arrived.wait(30)
            client.close()
            answer.result()

    with pytest.raises(CancelledError):
        asyncio.run(awaited()) if asynchronous else blocking()


def test_an_asynchronous_client_of_no_event_loop(scripted: tuple[Scripted, str]) -> None:
    """Made where none runs any more, and used in two, one after the other."""

    async def nothing() -> None:
        pass

    asyncio.run(nothing())
    client = AsyncClient(scripted[1])
    for _ in range(2):
        assert asyncio.run(client.create(b"photo")).glb
    asyncio.run(client.close())


@pytest.mark.parametrize(
    ("photo", "mend"),
    [
        (io.BytesIO(b"photo"), "not BytesIO; give what its read() returns"),
        (
            np.zeros((4, 4, 3), np.uint8),
            "not ndarray of shape (4, 4, 3); save pixels as such a file",
        ),
        (np.zeros(4, np.float32), "not ndarray of shape (4,); save pixels"),
        (Image.new("RGB", (4, 4)), "not Image; save it as such a file"),
        (None, "not NoneType"),
    ],
    ids=["file", "pixels", "numbers", "PIL", "None"],
)
def test_what_is_no_photo(caller: Caller, scripted: tuple[Scripted, str], photo: object, mend: str) -> None:
    for use in (lambda client: client.create(photo), lambda client: client.submit(photo)):
        with pytest.raises(
            TypeError, match=f"a photo is the bytes of a .* file, or its path, {re.escape(mend)}"
        ):
            caller(use)
    assert not scripted[0].requests


@pytest.mark.parametrize("buffer", [bytearray, memoryview, lambda content: np.frombuffer(content, np.uint8)])
def test_bytes_by_other_names(
    caller: Caller, scripted: tuple[Scripted, str], buffer: Callable[[bytes], Any]
) -> None:
    assert caller(lambda client: client.create(buffer(b"photo"))).glb
    (request,) = scripted[0].requests
    assert request.raw_input_contents == [b"photo"]


def test_no_bytes_at_all(caller: Caller) -> None:
    with pytest.raises(BadPhotoError, match="the photo is empty"):
        caller(lambda client: client.create(b""))


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (
            (grpc.StatusCode.UNAVAILABLE, "Socket closed"),
            "was restarting or not reachable; last: Socket closed (start a server",
        ),
        ((grpc.StatusCode.UNAVAILABLE, wire_error("OVERLOADED")), "was overloaded; last: m (h; or allow"),
    ],
    ids=["restarting", "overloaded"],
)
def test_the_time_is_over_after_failures(
    caller: Caller,
    scripted: tuple[Scripted, str],
    failure: tuple[grpc.StatusCode, str],
    words: str,
) -> None:
    script, url = scripted
    script.failures = [failure, (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")]
    with pytest.raises(DeadlineExceededError) as caught:
        caller(lambda client: client.create(b"photo"))
    assert f"no answer within the time allowed: the server at {url} {words}" in str(caught.value)
    assert caller.counted() == {"DEADLINE_EXCEEDED": 1}


def test_statistics_and_pipelines(caller: Caller) -> None:
    statistics = caller(lambda client: client.statistics())
    assert [model["name"] for model in statistics["model_stats"]] == ["avatar_twin", "find_face"]
    assert caller(lambda client: client.pipelines()) == ["avatar_twin"]
    assert caller(lambda client: client.ready()) is True
    assert caller(lambda client: client.ready("avatar_mine")) is False
    assert caller.counted() == {}


def test_an_answer_that_is_none_is_not_counted_as_cancelled(
    monkeypatch: pytest.MonkeyPatch, caller: Caller
) -> None:
    """Neither is anything that nobody thought of."""
    from facewright_client import _avatar, _wire

    monkeypatch.setattr(_wire, "_file", lambda _result, _tensor: b"no JSON")
    with pytest.raises(InternalServerError, match="no avatar"):
        caller(lambda client: client.create(b"photo"))
    monkeypatch.setattr(_wire, "avatar_from", lambda _result: _avatar.Avatar())  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        caller(lambda client: client.create(b"photo"))
    assert caller.counted() == {"INTERNAL": 2}


def test_a_stranger_leaves_by_ctrl_c(monkeypatch: pytest.MonkeyPatch, scripted: tuple[Scripted, str]) -> None:
    from facewright_client import _wire

    def interrupted(_result: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_wire, "avatar_from", interrupted)
    caller = Caller(scripted[1], asynchronous=False)
    with suppress(KeyboardInterrupt):
        caller(lambda client: client.create(b"photo"))
    assert caller.counted() == {"CANCELLED": 1}


@pytest.mark.parametrize(
    ("option", "value"),
    [("lods", None), ("lods", 2**63), ("lods", object()), ("priority", -1), ("triton_x", 1)],
)
def test_an_option_that_no_request_can_carry(
    scripted: tuple[Scripted, str], caller: Caller, option: str, value: object
) -> None:
    for use in (
        lambda client: client.create(b"photo", **{option: value}),
        lambda client: client.refine(START, lambda _progress: None, **{option: value}),
    ):
        with pytest.raises(BadOptionError, match=option):
            caller(use)
    assert not scripted[0].requests
    assert caller.counted() == {"BAD_OPTION": 2}


def test_priority_is_the_protocol_s_own(scripted: tuple[Scripted, str], caller: Caller) -> None:
    for use in (
        lambda client: client.create(b"photo", priority=3),
        lambda client: client.create(b"photo", priority=3, progress=lambda _stage: None),
        lambda client: client.refine(START, priority=3),
    ):
        caller(use)
    assert [sent.parameters["priority"].uint64_param for sent in scripted[0].requests] == [3, 3, 3]


def test_progress_that_cannot_be_called_is_refused_before_a_refinement_is_sent(
    scripted: tuple[Scripted, str], caller: Caller
) -> None:
    with pytest.raises(TypeError, match="progress is 5; give a function"):
        caller(lambda client: client.refine(START, progress=5))
    assert not scripted[0].requests


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"photo": ""}, BadPhotoError, "an empty name"),
        ({"photo": "/9j/4AAQ" * 9000}, BadPhotoError, "a text of 72000 letters.*base64"),
        ({"photo": "data:image/jpeg;base64,/9j/4AAQ"}, BadPhotoError, "a text of 31 letters.*base64"),
        ({"photo": "a\0b"}, BadPhotoError, r"no file can have the name 'a\\x00b'"),
        ({"lods": 2**70}, BadOptionError, "option lods is 1180591620717411303424, and too large"),
        ({"lods": 10**5000}, BadOptionError, "a number of 16610 bits, and too large"),
        ({"pipeline": ""}, BadOptionError, "pipeline is ''"),
        ({"pipeline": None}, BadOptionError, "pipeline is None"),
        ({"pipeline": "p/two.jpg"}, BadOptionError, "looks like a photo.*as a list"),
        ({"pipeline": "two.HEIC"}, BadOptionError, "looks like a photo.*as a list"),
        ({"pipeline": b"photo"}, BadOptionError, "looks like a photo.*as a list"),
        ({"priority": "1"}, BadOptionError, "priority is '1'.*a whole number"),
        ({"priority": 10**5000}, BadOptionError, "priority is a number of 16610 bits"),
        ({"progress": 5}, TypeError, "progress is 5; give a function"),
        ({"preview": "no"}, BadOptionError, "preview is 'no'"),
        ({"key": "fw_x"}, BadOptionError, r"key is a setting of the connection .*Connection\(key=…\)"),
        ({"timeout_s": "5"}, TypeError, "timeout_s is of type str; give seconds, such as 60.0"),
        ({"timeout": 5}, BadOptionError, "did you mean timeout_s"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_asked_is_named(
    caller: Caller, given: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        caller(lambda client: client.create(**({"photo": b"photo"} | given)))
    assert len(str(caught.value)) < 300, "a photo may not get into a log by its error"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("w_plus", np.zeros((18, 512), np.float32), r"w_plus has shape [18, 512] (it takes [14, 512])"),
        ("w_plus", np.zeros((14, 512)), "w_plus is float64 (convert it to float32)"),
        ("w_plus", [[0] * 512] * 14, "w_plus is int64 (convert it to float32)"),
        ("w_plus", [[0], [0, 1]], "w_plus is no array: "),
        (
            "face_mask",
            np.zeros((256, 256), np.float32),
            "face_mask is float32 (convert it to uint8: 0 to 255, what is 0 to 1 times 255)",
        ),
        ("face_crop", None, "face_crop is a NoneType, no array of numbers (give a NumPy array)"),
    ],
)
def test_a_start_that_is_none(
    caller: Caller, scripted: tuple[Scripted, str], name: str, value: object, words: str
) -> None:
    start = replace(START, **{name: value})
    for use in (
        lambda client: client.refine(start),
        lambda client: client.refine(start, lambda _progress: None),
    ):
        with pytest.raises(BadRequestError, match=re.escape(words)):
            caller(use)
    with pytest.raises(BadRequestError, match="the start is a dict"):
        caller(lambda client: client.refine({}))
    assert not scripted[0].requests


def test_a_pipeline_that_makes_something_else(caller: Caller, scripted: tuple[Scripted, str]) -> None:
    unexpected = "unexpected inference output 'EXPRESSION' for model 'refine_latent'"
    scripted[0].failures = [(grpc.StatusCode.INVALID_ARGUMENT, unexpected)]
    with pytest.raises(
        BadRequestError, match=r"^refine_latent gives no EXPRESSION: it does not make what"
    ) as caught:
        caller(lambda client: client.create(b"photo", pipeline="refine_latent"))
    assert caught.value.hint == "use a pipeline that makes avatars of photos: pipelines() lists them"


def test_numbers_of_numpy_are_numbers(caller: Caller, scripted: tuple[Scripted, str]) -> None:
    caller(lambda client: client.create(b"photo", face_index=np.int64(2), focal_px=np.float32(900)))
    sent = scripted[0].requests[-1].parameters
    assert sent["face_index"].int64_param == 2
    assert float(sent["focal_px"].string_param) == 900
