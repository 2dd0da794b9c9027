"""`Client` and `AsyncClient` over REST, against the REST door: the same answers and errors as over gRPC."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facewright.core.errors import FacewrightError
from facewright.gateway.rest import RestSettings
from facewright_client import (
    AsyncClient,
    BadOptionError,
    BadRequestError,
    CancelledError,
    Client,
    Connection,
    DeadlineExceededError,
    FacewrightClientError,
    RefinementProgress,
    RetryPolicy,
    ServerUnavailableError,
    Tls,
    UnauthenticatedError,
    WrongServerError,
)
from facewright_client._errors import error_from_answer
from facewright_client.contract import ErrorCode
from tests.client.test_both_clients import START
from tests.gateway.rest_door import PATIENCE_S, Door, open_door
from tests.support.certificates import make_certificate
from tests.support.scripted_house import CODE, GLB, PREVIEW, REPORT

_Use = Callable[[Any], Any]


@pytest.fixture(scope="module")
def settings() -> RestSettings:
    return RestSettings()


@pytest.fixture(scope="module")
def opened(settings: RestSettings) -> Iterator[Door]:
    with open_door(settings) as door:
        yield door


@pytest.fixture
def door(opened: Door) -> Iterator[Door]:
    house = opened.house
    for kept in (house.calls, house.requests, house.failures):
        kept.clear()
    house.inside.clear()
    house.cancelled.clear()
    house.stages = ()
    yield opened
    house.held = False


@pytest.fixture(params=[False, True], ids=["Client", "AsyncClient"])
def call(request: pytest.FixtureRequest, door: Door) -> Callable[[_Use], Any]:
    """What is made of each client in turn."""

    def called(use: _Use, url: str = _url(door), connection: Connection | None = None) -> Any:
        if not request.param:
            with Client(url, connection) as client:
                return use(client)

        async def awaited() -> Any:
            async with AsyncClient(url, connection) as client:
                return await use(client)

        return asyncio.run(awaited())

    return called


def _url(door: Door) -> str:
    return f"http://127.0.0.1:{door.port}"


def test_an_avatar_has_everything(door: Door, call: Callable[[_Use], Any]) -> None:
    avatar = call(lambda client: client.create(b"photo", preview=True, code=True, lods=2, priority=999))
    assert (avatar.glb, avatar.preview, avatar.code, avatar.report) == (GLB, PREVIEW, CODE, REPORT)
    np.testing.assert_array_equal(avatar.identity, np.arange(160, dtype=np.float32) / 7)
    assert (avatar.neutral_vertices.shape, avatar.neutral_vertices.dtype) == ((4, 3), np.float32)
    (asked,) = door.house.requests
    assert asked.raw_input_contents == [b"photo"]
    assert asked.parameters["lods"].int64_param == 2
    assert door.house.calls[0].priority == 255, "the last that REST has"


def test_stages_are_told_and_whoever_has_seen_enough_leaves(door: Door, call: Callable[[_Use], Any]) -> None:
    door.house.stages = ("find_face", "fit_head")
    seen: list[str] = []
    assert call(lambda client: client.create(b"photo", progress=seen.append)).glb == GLB
    assert seen == ["find_face", "fit_head"]
    door.house.held = True

    def enough(_stage: str) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        call(lambda client: client.create(b"photo", progress=enough))
    assert door.house.cancelled.wait(PATIENCE_S)


def test_several_photos_are_measured_alone_and_merged(door: Door, call: Callable[[_Use], Any]) -> None:
    avatar = call(lambda client: client.create([b"front", CODE, b"left"], code=True, texture_size=512))
    assert (avatar.glb, avatar.code) == (GLB, CODE * 3)
    *photos, merged = door.house.requests
    assert sorted(request.raw_input_contents[0] for request in photos) == [b"front", b"left"]
    assert all([output.name for output in request.outputs] == ["CODE"] for request in photos)
    assert (merged.model_name, merged.raw_input_contents) == ("merge_avatars", [CODE * 3])


@pytest.mark.parametrize("progress", [None, lambda _stage: None], ids=["answer", "events"])
@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_is_as_over_grpc(
    door: Door, code: ErrorCode, progress: Callable[[str], None] | None
) -> None:
    door.house.stages = ("find_face",)
    failure = FacewrightError(code, "what", "mend", "fit_head", retry_after_s=2.5)
    expected = error_from_answer("INTERNAL", failure.to_json())
    door.house.failures.append(failure)
    connection = Connection(retries=RetryPolicy(attempts=1))
    with Client(_url(door), connection) as client, pytest.raises(FacewrightClientError) as caught:
        client.create(b"photo", progress=progress)
    error = caught.value
    assert (type(error), error.message, error.stage) == (type(expected), "what", "fit_head")
    if not isinstance(error, UnauthenticatedError):  # whose hint is of the client's own, over gRPC, too
        assert (error.hint, error.retry_after_s) == ("mend", 2.5)


def test_a_full_server_is_asked_again(door: Door, call: Callable[[_Use], Any]) -> None:
    door.house.failures.append(FacewrightError(ErrorCode.OVERLOADED, "full", "later", retry_after_s=0.01))
    assert call(lambda client: client.create(b"photo")).glb == GLB
    assert len(door.house.calls) == 2


def test_options_that_are_of_rest_alone_are_none(door: Door, call: Callable[[_Use], Any]) -> None:
    with pytest.raises(BadOptionError, match="unknown option together"):
        call(lambda client: client.create(b"photo", together=True))
    with pytest.raises(BadOptionError, match="pictures, which come over gRPC alone"):
        call(lambda client: client.refine(START, preview_every=2))
    with pytest.raises(BadOptionError, match="lods"):
        call(lambda client: client.create(b"photo", lods=99))
    assert not door.house.calls


def test_what_a_server_says_of_itself(call: Callable[[_Use], Any]) -> None:
    assert call(lambda client: client.pipelines()) == [
        "avatar_twin",
        "avatar_normalized",
        "avatar_rerenderable",
    ]
    assert call(lambda client: client.ready()) is True
    assert call(lambda client: client.ready("avatar_mine")) is False
    with pytest.raises(BadRequestError, match="not told over REST"):
        call(lambda client: client.statistics())
    with pytest.raises(BadRequestError, match="'avatar_mine' is not served here"):
        call(lambda client: client.create(b"photo", "avatar_mine"))


def test_a_refinement_is_a_job_that_is_forgotten_after(
    door: Door, settings: RestSettings, call: Callable[[_Use], Any]
) -> None:
    door.house.held = True
    seen: list[RefinementProgress] = []

    def told(progress: RefinementProgress) -> None:
        seen.append(progress)
        door.house.held = False

    refined = call(lambda client: client.refine(START, told, iterations=2))
    assert (refined.w_plus.shape, refined.losses.shape) == ((14, 512), (2, 4))
    assert refined.info["iterations"] == 2
    assert (seen[-1].iteration, seen[-1].losses) == (2, {"total": 0.5})
    (asked,) = door.house.requests
    assert (asked.model_name, asked.parameters["iterations"].int64_param) == ("refine_latent_progress", 2)
    assert 'facewright_jobs{state="kept"} 0.0' in "\n".join(settings.jobs.metrics())
    assert call(lambda client: client.refine(START)).w_plus.dtype == np.float32


def test_whoever_leaves_a_refinement_ends_it(door: Door, call: Callable[[_Use], Any]) -> None:
    door.house.held = True

    def enough(_progress: RefinementProgress) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        call(lambda client: client.refine(START, enough))
    assert door.house.cancelled.wait(PATIENCE_S)
    door.house.cancelled.clear()
    door.house.inside.clear()
    allowed_s: list[float] = []

    def use(client: Any) -> Any:
        allowed_s.append(0.5 * (1 + len(allowed_s)))
        return client.refine(START, timeout_s=allowed_s[-1])

    while not door.house.inside.is_set():  # until one comes as far as the house
        with pytest.raises(DeadlineExceededError):
            call(use)
    assert door.house.cancelled.wait(PATIENCE_S)


def test_a_task_that_is_cancelled_ends_its_refinement_even_before_it_is_told_of_a_job(door: Door) -> None:
    async def leave() -> None:
        async with AsyncClient(_url(door)) as client:
            task = asyncio.create_task(client.refine(START))
            assert await asyncio.to_thread(door.house.inside.wait, PATIENCE_S)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    door.house.held = True
    asyncio.run(leave())
    assert door.house.cancelled.wait(PATIENCE_S)


def test_a_line_that_breaks_costs_a_refinement_nothing(door: Door, call: Any) -> None:
    door.house.held = True
    with _relay(door.port) as (port, cut):

        def told(_progress: RefinementProgress) -> None:
            if cut:
                cut.pop()()
            else:
                door.house.held = False

        refined = call(lambda client: client.refine(START, told), f"http://127.0.0.1:{port}")
    assert refined.info["iterations"] == 2
    assert len(door.house.calls) == 1, "the second send found the job of the first"


def test_a_submission_and_its_end(door: Door) -> None:
    with Client(_url(door)) as client:
        assert client.submit(b"photo").result(PATIENCE_S).glb == GLB
        door.house.held = True
        door.house.inside.clear()
        pending = client.submit(b"photo")
        assert door.house.inside.wait(PATIENCE_S)
        pending.cancel()
        with pytest.raises(CancelledError):
            pending.result(PATIENCE_S)
        assert door.house.cancelled.wait(PATIENCE_S)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["Client", "AsyncClient"])
def test_a_client_that_is_closed_during_a_request(door: Door, asynchronous: bool) -> None:
    door.house.held = True

    async def awaited() -> None:
        client = AsyncClient(_url(door))
        task = asyncio.create_task(client.create(b"photo"))
        assert await asyncio.to_thread(door.house.inside.wait, PATIENCE_S)
        await client.close()
        await task

    def blocking() -> None:
        client = Client(_url(door))
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.create, b"photo")
            assert door.house.inside.wait(PATIENCE_S)
            client.close()
            answer.result()

    with pytest.raises(CancelledError, match="the client was closed during the request"):
        asyncio.run(awaited()) if asynchronous else blocking()
    assert door.house.cancelled.wait(PATIENCE_S)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
            WrongServerError,
            "answers 404 Not Found, ",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", WrongServerError, "not as a Facewright server"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", ServerUnavailableError, "answers 502"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", ServerUnavailableError, "broke before the answer"),
        (b"", ServerUnavailableError, "broke before the answer was there"),
        (b"\0\0\x06\x04\0\0\0\0\0\0\x03\x7f\xff\xff\xff\n", WrongServerError, "does not speak HTTP (give"),
    ],
    ids=["no avatars there", "something else", "balancer", "half an answer", "hangs up", "gRPC"],
)
def test_who_else_answers(answer: bytes, kind: type[FacewrightClientError], words: str, call: Any) -> None:
    def serve(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(answer)

    with _serving(serve) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        connection = Connection(retries=RetryPolicy(attempts=1))
        with pytest.raises(kind) as caught:
            call(lambda client: client.create(b"photo"), url, connection)
    assert words in str(caught.value)
    assert url in str(caught.value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
def test_an_encrypted_server(tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "127.0.0.1")
    other = make_certificate(tmp_path, "gpu.example")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made.certificate, made.key)

    def told(url: str, connection: Connection) -> str:
        with Client(url, connection) as client, pytest.raises(WrongServerError) as caught:
            client.create(b"photo")
        return str(caught.value)

    with open_door(tls=tls) as door:
        url = f"https://127.0.0.1:{door.port}"
        with Client(url, Connection(tls=Tls(made.certificate), key="abc")) as client:
            assert client.create(b"photo").glb == GLB
        assert "answers encrypted requests only (write https://)" in told(_url(door), Connection())
        assert "did not sign" in told(url, Connection())
        assert "did not sign" in told(url, Connection(tls=Tls(other.certificate)))
        assert "not issued for gpu" in told(url, Connection(tls=Tls(made.certificate, server_name="gpu")))
    with open_door() as door:
        url = f"https://127.0.0.1:{door.port}"
        assert "does not answer encrypted requests (write http://" in told(url, Connection())


def test_what_contradicts_an_address() -> None:
    for url, connection, words in (
        ("http://gpu:8000", Connection(key="abc"), "in plain text"),
        ("http://gpu:8000", Connection(tls=Tls()), "write https://"),
        ("https://gpu:8000", Connection(lb_policy="round_robin"), "put a balancer in front"),
    ):
        for kind in (Client, AsyncClient):
            with pytest.raises(ValueError, match=words):
                kind(url, connection)
    Client("http://localhost:8000", Connection(key="abc"))
    Client("https://gpu", Connection(key="abc"))


def test_nobody_is_there(call: Any) -> None:
    connection = Connection(retries=RetryPolicy(attempts=1))
    with pytest.raises(ServerUnavailableError, match=r"nothing listens at http://127\.0\.0\.1:1"):
        call(lambda client: client.create(b"photo"), "http://127.0.0.1:1", connection)
    assert call(lambda client: client.ready(), "http://127.0.0.1:1") is False


def test_other_machines_are_reached_through_the_proxy(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        heard.append(connection.recv(1 << 16))
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        _pass_on(connection, socket.create_connection(("127.0.0.1", door.port)))
        connection, _ = listening.accept()
        heard.append(connection.recv(1 << 16))
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        connection.close()

    for name in ("grpc_proxy", "https_proxy", "no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with _serving(serve) as listening:
        monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{listening.getsockname()[1]}")
        with Client("http://gpu.example:8000", Connection(retries=RetryPolicy(attempts=1))) as client:
            assert client.create(b"photo").glb == GLB
            with pytest.raises(ServerUnavailableError, match=r"403 Forbidden \(\$http_proxy names"):
                client.create(b"photo")
    assert heard[0].startswith(b"CONNECT gpu.example:8000")
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0" in heard[0]


@contextmanager
def _relay(to: int) -> Iterator[tuple[int, list[Callable[[], None]]]]:
    """A port that passes on to another, and what cuts all of its connections, once."""
    open_now: list[socket.socket] = []
    passing: list[threading.Thread] = []

    def cut() -> None:
        for connection in open_now:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def serve(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(("127.0.0.1", to))
                open_now.extend((near, far))
                passing.append(threading.Thread(target=_pass_on, args=(near, far)))
                passing[-1].start()

    with _serving(serve) as listening:
        yield listening.getsockname()[1], [cut]
        cut()
    for thread in passing:
        thread.join()


@contextmanager
def _serving(serve: Callable[[socket.socket], None]) -> Iterator[socket.socket]:
    """A port that something else answers, in a thread, until the test is over."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        yield listening
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def _pass_on(near: socket.socket, far: socket.socket) -> None:
    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    with near, far:
        back = threading.Thread(target=copy, args=(far, near))
        back.start()
        copy(near, far)
        back.join()
