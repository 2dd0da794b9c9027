"""How a client connects: with an API key, to several servers, and for how long."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facewright_client import (
    AsyncClient,
    Client,
    Connection,
    RetryPolicy,
    Tls,
    UnauthenticatedError,
)
from facewright_client._api_key import key_from
from tests.support.scripted_triton import scripted_server

KEY = "fw_" + "k" * 43


def _created(
    url: str, connection: Connection, asynchronous: bool, enough: Callable[[], bool] = lambda: True
) -> None:
    """Avatars by one client until there are enough, and at most 2000."""
    if not asynchronous:
        with Client(url, connection) as client:
            for _ in range(2000):
                client.create(b"photo")
                if enough():
                    return

    async def call() -> None:
        async with AsyncClient(url, connection) as client:
            for _ in range(2000):
                await client.create(b"photo")
                if enough():
                    return

    asyncio.run(call())


both_clients = pytest.mark.parametrize("asynchronous", [False, True], ids=["Client", "AsyncClient"])


@both_clients
def test_a_key_is_shown_and_never_told(asynchronous: bool) -> None:
    connection = Connection(key=KEY)
    assert KEY not in repr(connection)
    with scripted_server() as (script, url):
        script.key = KEY
        _created(url, connection, asynchronous)
        with pytest.raises(UnauthenticatedError, match=r"Connection\(key=…\)") as told:
            _created(url, Connection(key=KEY[::-1]), asynchronous)
    assert KEY[::-1] not in repr(told.value)


@pytest.mark.parametrize("key", ["", f"{KEY}\n", f" {KEY}", "two words", "schlüssel", 'fw_"x"', b"bytes"])
def test_what_is_no_key_is_refused_without_being_told(key: Any) -> None:
    with pytest.raises(ValueError, match="API key") as told:
        Connection(key=key)
    assert not key or str(key).strip() not in str(told.value)


@pytest.mark.parametrize(
    "url",
    [
        "gpu.example:8001",
        "dns:///gpu.example:8001",
        "10.0.0.1:8001",
        "ipv4:127.0.0.1:8001,10.0.0.1:8001",
    ],
)
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_key_is_not_sent_over_a_network_in_plain_text(client: Callable[..., object], url: str) -> None:
    with pytest.raises(ValueError, match=r"in plain text.*--tls-authority.*key_in_clear=True") as told:
        client(url, Connection(key=KEY))
    assert KEY not in str(told.value)
    client(url, Connection(key=KEY, key_in_clear=True))
    client(url, Connection(key=KEY, tls=Tls()))
    client(url, Connection())


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8001",
        "[::1]:8001",
        "unix:/run/facewright.sock",
        "unix-abstract:facewright",
        "ipv4:127.0.0.1:1,127.0.0.2:2",
        "ipv6:[::1]:1,[::1]:2",
    ],
)
def test_within_this_machine_a_key_may_be_plain_and_no_proxy_is_asked(url: str) -> None:
    options = Connection(key=KEY).triton_arguments(url)["channel_args"]
    assert ("grpc.enable_http_proxy", 0) in options  # type: ignore[operator]


def test_a_key_is_read_from_a_file_or_else_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    monkeypatch.delenv("FACEWRIGHT_KEY", raising=False)
    assert key_from(None) is None
    for nothing in ("", " \n"):
        monkeypatch.setenv("FACEWRIGHT_KEY", nothing)
        assert key_from(None) is None
    monkeypatch.setenv("FACEWRIGHT_KEY", f"{KEY[::-1]} ")
    assert key_from(None) == KEY[::-1]
    assert key_from(file) == KEY
    for wrong in (b"", b"studio = { sha256 = 1 }", b"\xff\xfe\0key", b"a" * 3000 + b" " + b"b" * 3000):
        file.write_bytes(wrong)
        with pytest.raises(ValueError, match=f"{file} holds no API key") as told:
            key_from(file)
        assert len(str(told.value)) < 300
    with pytest.raises(FileNotFoundError):
        key_from(tmp_path / "nowhere")


@both_clients
def test_work_is_shared_among_servers_and_goes_on_without_one(asynchronous: bool) -> None:
    connection = Connection(timeout_s=20.0, lb_policy="round_robin", retries=RetryPolicy(first_pause_s=0.01))
    with scripted_server() as (first, one):
        with scripted_server() as (second, other):
            asked = first.requests, second.requests
            url = f"ipv4:{one},{other}"
            _created(url, Connection(), asynchronous, lambda: sum(map(len, asked)) == 4)
            assert sorted(map(len, asked)) == [0, 4], "pick_first asks one"
            # The first requests go to whichever is connected first.
            _created(url, connection, asynchronous, lambda: min(map(len, asked)) >= 6)
            assert min(map(len, asked)) >= 6
        before = len(first.requests)
        _created(url, connection, asynchronous, lambda: len(first.requests) == before + 4)
        assert len(first.requests) == before + 4


def test_a_policy_that_is_none() -> None:
    with pytest.raises(ValueError, match="lb_policy is 'least_request'; give one of pick_first, round_robin"):
        Connection(lb_policy="least_request")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: Client("gpu:8001", 60), r"connection is 60; give Connection\(timeout_s=60\)"),
        (lambda: Client("localhost", 18501), "one address, such as .localhost:18501"),
        (lambda: Client("gpu:8001", KEY), r"connection is of type str; give Connection\(key=…\)"),
        (lambda: AsyncClient("gpu:8001", {}), r"connection is of type dict; give a Connection\(…\)"),
        (lambda: Connection(tls=True), r"tls is True; give Tls\(\), or None"),
        (lambda: Connection(tls="ca.pem"), r"tls is 'ca.pem'; give Tls\(Path\('ca.pem'\)\)"),
        (lambda: Connection(retries=3), r"retries is 3; give RetryPolicy\(attempts=3\)"),
        (lambda: Connection(retries=None), r"retries is None; give RetryPolicy\("),
        (lambda: Client("gpu:8001", timeout_s=5), r"give Connection\(timeout_s=…\)"),
        (lambda: Client("gpu:8001", key=KEY), r"is a setting of the connection; give Connection\(key=…\)"),
        (lambda: AsyncClient("gpu:8001", retries=3), r"give Connection\(retries=…\)"),
        (lambda: Client("gpu", port=8001), "there is no port; give host and port as one address"),
        (lambda: Client("gpu:8001", verbose=True), "there is no verbose; Connection has timeout_s, retries"),
        (lambda: Connection(timeout_s="5"), "timeout_s is of type str; give seconds, such as 60.0"),
        (lambda: Connection(KEY), "timeout_s is of type str; give seconds"),
        (lambda: Connection(timeout_s=True), "timeout_s is of type bool; give seconds"),
        (lambda: Connection(timeout_s=math.nan), "timeout_s is nan; give a positive, finite number"),
        (lambda: Connection(timeout_s=-1), "timeout_s is -1; give a positive, finite number"),
        (lambda: Connection(timeout_s=math.inf), "timeout_s is inf; give a positive, finite number"),
        (lambda: Connection(key_in_clear=KEY), "key_in_clear is of type str; give True or False"),
        (lambda: Connection(metrics=True), r"metrics is True; give ClientMetrics\(\), or None"),
        (lambda: Connection(on_retry="log"), "on_retry is 'log'; give a function"),
        (lambda: Tls("ca.pem"), r"authority is 'ca.pem'; give Path\('ca.pem'\)"),
        (lambda: Tls(server_name=7), "server_name is 7; give a name"),
        (lambda: RetryPolicy(attempts=-1), "attempts is -1; give 1 or more"),
        (lambda: RetryPolicy(attempts=1.5), "attempts is 1.5; give a whole number"),
        (lambda: RetryPolicy(first_pause_s=-1.0), "first_pause_s is -1.0; give seconds, 0 or more"),
        (lambda: RetryPolicy(longest_pause_s="4"), "longest_pause_s is '4'; give seconds"),
    ],
)
def test_settings_that_are_none_are_refused_where_they_are_made(
    made: Callable[[], object], words: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=words) as told:
        made()
    assert KEY not in str(told.value)
