"""The client against a Triton that is not there, and against one that fails in known ways.

The server here is a real gRPC server that speaks Triton's protocol and answers as the test says; the real
Triton is in ``tests/server``.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from prometheus_client import CollectorRegistry

from facewright_client import (
    AsyncClient,
    Avatar,
    CancelledError,
    Client,
    ClientMetrics,
    Connection,
    DeadlineExceededError,
    NoFaceError,
    OverloadedError,
    PhotoTooLargeError,
    RetryPolicy,
    ServerUnavailableError,
    contract,
)
from facewright_client._errors import error_from_answer
from tests.support.scripted_triton import Scripted, scripted_server, wire_error

QUICK = RetryPolicy(attempts=4, first_pause_s=0.01, longest_pause_s=0.02)


@pytest.fixture
def scripted() -> Iterator[tuple[Scripted, str]]:
    """The server's script and its address."""
    with scripted_server() as served:
        yield served


def _create(
    url: str, asynchronous: bool, connection: Connection, photo: object = b"photo", **options: object
) -> Avatar:
    if not asynchronous:
        with Client(url, connection) as client:
            return client.create(photo, **options)  # type: ignore[arg-type]

    async def call() -> Avatar:
        async with AsyncClient(url, connection) as client:
            return await client.create(photo, **options)  # type: ignore[arg-type]

    return asyncio.run(call())


both_clients = pytest.mark.parametrize("asynchronous", [False, True], ids=["Client", "AsyncClient"])


@both_clients
def test_a_request_and_its_answer(scripted: tuple[Scripted, str], asynchronous: bool) -> None:
    script, url = scripted
    avatar = _create(url, asynchronous, Connection(), preview=True, delight=0.25, lods=1, visemes=False)
    (request,) = script.requests
    assert request.model_name == "avatar_twin"
    assert request.raw_input_contents == [b"photo"]
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in request.inputs] == [
        ("PHOTO", "UINT8", [1, 5])
    ]
    assert request.parameters["delight"].string_param == "0.25"
    assert request.parameters["lods"].int64_param == 1
    assert request.parameters["visemes"].bool_param is False
    assert avatar.glb == b"glTF\x02"
    assert avatar.preview == b"\x89PNG"
    assert avatar.warnings == ["blurred"]
    assert avatar.expression.shape == (52,)


@both_clients
def test_no_preview_is_asked_for_by_default(scripted: tuple[Scripted, str], asynchronous: bool) -> None:
    script, url = scripted
    assert _create(url, asynchronous, Connection()).preview is None
    assert "PREVIEW" not in {output.name for output in script.requests[0].outputs}


@both_clients
def test_overload_and_restarts_are_retried(scripted: tuple[Scripted, str], asynchronous: bool) -> None:
    script, url = scripted
    script.failures = [
        (grpc.StatusCode.UNAVAILABLE, wire_error("OVERLOADED")),
        (grpc.StatusCode.INTERNAL, "Stub process 'fit_head_0_0' is not healthy."),
        (grpc.StatusCode.UNAVAILABLE, "connection reset"),
    ]
    registry = CollectorRegistry()
    connection = Connection(retries=QUICK, metrics=ClientMetrics(registry))
    assert _create(url, asynchronous, connection).glb
    assert len(script.requests) == 4
    count = registry.get_sample_value
    pipeline = {"pipeline": "avatar_twin"}
    assert count("facewright_client_seconds_count", {**pipeline, "outcome": "ok"}) == 1
    assert count("facewright_client_retries_total", {**pipeline, "code": "OVERLOADED"}) == 1
    assert count("facewright_client_retries_total", {**pipeline, "code": "UNAVAILABLE"}) == 2


@both_clients
def test_retries_end(scripted: tuple[Scripted, str], asynchronous: bool) -> None:
    script, url = scripted
    script.failures = [(grpc.StatusCode.UNAVAILABLE, wire_error("OVERLOADED"))] * 9
    with pytest.raises(OverloadedError):
        _create(url, asynchronous, Connection(retries=QUICK))
    assert len(script.requests) == 4


@both_clients
def test_a_bad_photo_is_not_sent_again(scripted: tuple[Scripted, str], asynchronous: bool) -> None:
    script, url = scripted
    script.failures = [(grpc.StatusCode.INVALID_ARGUMENT, wire_error("NO_FACE"))]
    with pytest.raises(NoFaceError):
        _create(url, asynchronous, Connection(retries=QUICK))
    assert len(script.requests) == 1


@both_clients
def test_the_time_limit_counts_all_retries(scripted: tuple[Scripted, str], asynchronous: bool) -> None:
    script, url = scripted
    script.release.clear()
    script.failures = [(grpc.StatusCode.UNAVAILABLE, "connection reset")] * 9
    tries = 0
    while not script.arrived.is_set():  # until one comes as far as the server
        tries += 1
        with pytest.raises(DeadlineExceededError):
            _create(url, asynchronous, Connection(timeout_s=0.3 * tries, retries=QUICK))
    assert len(script.requests) == 1, "a limit for each send would have sent it again"
    assert not script.release.is_set(), "the client did not wait for the server"


@both_clients
def test_nobody_there(asynchronous: bool) -> None:
    with pytest.raises(ServerUnavailableError, match="facewright serve"):
        _create("127.0.0.1:1", asynchronous, Connection(timeout_s=2.0, retries=QUICK))


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan"), float("inf")])
@both_clients
def test_a_time_limit_that_makes_no_sense(
    scripted: tuple[Scripted, str], asynchronous: bool, timeout_s: float
) -> None:
    script, url = scripted
    with pytest.raises(ValueError, match="timeout_s"):
        _create(url, asynchronous, Connection(), timeout_s=timeout_s)
    assert not script.requests


@both_clients
def test_too_many_bytes_are_not_sent(
    scripted: tuple[Scripted, str], asynchronous: bool, tmp_path: Path
) -> None:
    script, url = scripted
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(contract.MAX_PHOTO_BYTES + 1)
    for photo in (path, bytes(contract.MAX_PHOTO_BYTES + 1)):
        with pytest.raises(PhotoTooLargeError, match="32 MiB"):
            _create(url, asynchronous, Connection(), photo=photo)
    assert not script.requests


def test_a_cancelled_task_cancels_the_request(scripted: tuple[Scripted, str]) -> None:
    script, url = scripted
    script.release.clear()
    registry = CollectorRegistry()

    async def leave() -> None:
        async with AsyncClient(url, Connection(metrics=ClientMetrics(registry))) as client:
            task = asyncio.create_task(client.create(b"photo"))
            assert await asyncio.to_thread(script.arrived.wait, 30)
            assert not script.cancelled.is_set()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # The connection is still open: only the call's own cancellation can end it.
            assert await asyncio.to_thread(script.cancelled.wait, 30)

    asyncio.run(leave())
    labels = {"pipeline": "avatar_twin", "outcome": "CANCELLED"}
    assert registry.get_sample_value("facewright_client_seconds_count", labels) == 1


def test_a_cancelled_submission_cancels_the_request(scripted: tuple[Scripted, str]) -> None:
    script, url = scripted
    script.release.clear()
    registry = CollectorRegistry()
    with Client(url, Connection(metrics=ClientMetrics(registry))) as client:
        pending = client.submit(b"photo")
        assert script.arrived.wait(30)
        assert not script.cancelled.is_set()
        pending.cancel()
        with pytest.raises(CancelledError):
            pending.result(30)
        assert script.cancelled.wait(30)
    labels = {"pipeline": "avatar_twin", "outcome": "CANCELLED"}
    assert registry.get_sample_value("facewright_client_seconds_count", labels) == 1


def test_saving_is_all_or_nothing(
    scripted: tuple[Scripted, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    avatar = _create(scripted[1], False, Connection())
    target = tmp_path / "me.glb"
    assert avatar.save(target).read_bytes() == b"glTF\x02"
    assert [path.name for path in tmp_path.iterdir()] == ["me.glb"]

    whole = Path.write_bytes

    def full_disk(path: Path, content: bytes) -> int:
        whole(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    other = replace(avatar, glb=b"glTF\x02 but longer")
    for path in (target, tmp_path / "new.glb"):
        with pytest.raises(OSError, match="No space"):
            other.save(path)
    assert [path.name for path in tmp_path.iterdir()] == ["me.glb"]
    assert target.read_bytes() == b"glTF\x02"


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "circle"])
def test_saving_replaces_nothing_but_files(
    scripted: tuple[Scripted, str], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither does it through a link."""
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    avatar = _create(scripted[1], False, Connection())
    there = Path("there.glb")
    if kind == "folder":
        there.mkdir()
    elif kind == "pipe":
        os.mkfifo(there)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(there))
    else:
        there.symlink_to(there)
    Path("link.glb").symlink_to(there)
    before = there.lstat()
    for path in (there, Path("link.glb")):
        words = {"folder": "it is a folder", "circle": "leads back to itself"}.get(
            kind, "it is no file, but a pipe"
        )
        with pytest.raises(OSError, match=words) as caught:
            avatar.save(path)
        assert caught.value.filename == str(path)
    after = there.lstat()  # but for the time at which the link was read
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.glb", "there.glb"]


def test_saving_through_a_link(scripted: tuple[Scripted, str], tmp_path: Path) -> None:
    avatar = _create(scripted[1], False, Connection())
    (tmp_path / "far").mkdir()
    link = tmp_path / "me.glb"
    link.symlink_to("far/new.glb")
    assert avatar.save(link) == link
    assert link.is_symlink()
    assert (tmp_path / "far" / "new.glb").read_bytes() == avatar.glb
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["new.glb"]


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("", ValueError, "an empty name is no file's"),
        ("a\0b", ValueError, r"no file can have the name 'a\\x00b'"),
        ("\ud800", ValueError, "no file can have the name"),
        ("me.png", ValueError, "avatars are written as .glb; give 'me.glb'"),
        ("me.gbl", ValueError, "avatars are written as .glb; give 'me.glb'"),
        ("hero.v2", ValueError, "avatars are written as .glb; give 'hero.v2.glb'"),
        ("none/me.glb", FileNotFoundError, "No such file or directory: make the folder .*none first: [^>]*$"),
    ],
)
def test_names_that_no_avatar_has(
    scripted: tuple[Scripted, str],
    tmp_path: Path,
    name: str,
    error: type[Exception],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    avatar = _create(scripted[1], False, Connection())
    with pytest.raises(error, match=words):
        avatar.save(name)
    assert not list(tmp_path.iterdir())


def test_saving_the_same_file_from_many_threads(scripted: tuple[Scripted, str], tmp_path: Path) -> None:
    avatar = replace(_create(scripted[1], False, Connection()), glb=bytes(1_000_000))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: avatar.save(tmp_path / "me.glb"), range(40)))
    assert [path.name for path in tmp_path.iterdir()] == ["me.glb"]
    assert (tmp_path / "me.glb").read_bytes() == avatar.glb


def test_the_contract_costs_the_stages_nothing() -> None:
    """The server's stages import the contract: that must not load gRPC, nor even NumPy."""
    code = (
        "import sys, facewright_client.contract;"
        "assert not {'grpc', 'numpy', 'tritonclient'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_client_needs_no_server_package() -> None:
    code = (
        "import sys, facewright_client as f; [getattr(f, n) for n in f.__all__];"
        "assert not {'facewright', 'torch', 'scipy', 'prometheus_client'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("asked_for", "least_s", "most_s"), [("", 0.125, 0.375), (', "retry_after_s": 2.0', 2.0, 3.0)]
)
def test_nobody_comes_back_before_the_server_expects_it(
    asked_for: str, least_s: float, most_s: float
) -> None:
    message = wire_error("OVERLOADED").removesuffix("}") + asked_for + "}"
    error = error_from_answer("UNAVAILABLE", message)
    pauses = [RetryPolicy().pause_after(1, error) or 0.0 for _ in range(100)]
    assert least_s <= min(pauses) < max(pauses) <= most_s
