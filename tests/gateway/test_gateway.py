"""The gateway's life, with a Triton behind it of which the test says what it answers."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facewright.gateway.addresses import Proxies
from facewright.gateway.callers import Callers
from facewright.gateway.gateway import Gateway, GatewaySettings
from facewright.gateway.origins import PageRules
from facewright.pipelines.registry import pipelines
from tests.gateway.rest_door import PATIENCE_S, Reply, ask
from tests.support.scripted_answers import avatar_of
from tests.support.scripted_house import FILES, GLB
from tests.support.triton_behind import TritonBehind


class _Opened:
    """A gateway that is open, and a Triton that answers when it is let."""

    def __init__(self, folder: Path) -> None:
        self.let = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._triton = TritonBehind(folder / "triton", self._answer)
        self._run(self._triton.__aenter__())
        with socket.create_server(("127.0.0.1", 0)) as grpc, socket.create_server(("127.0.0.1", 0)) as rest:
            ports = grpc.getsockname()[1], rest.getsockname()[1]
        settings = GatewaySettings("127.0.0.1", *ports, PageRules(None), proxies=Proxies.of(["127.0.0.1"]))
        self.port = ports[1]
        self.stage_ended = threading.Event()
        self.gateway = Gateway(settings, pipelines(), Callers(), folder / "marks", self.stage_ended.set)
        self.gateway.open()
        self.gateway.use(folder / "triton", 1)

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None) -> Reply:
        return ask(self.port, method, path, b"photo" if method == "POST" else None, headers)

    def close(self) -> None:
        self.let.set()
        self.gateway.close()
        self._run(self._triton.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _answer(self, request: Any) -> Any:
        await asyncio.to_thread(self.let.wait)
        return avatar_of(request, FILES)

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[_Opened]:
    opened = _Opened(tmp_path)
    yield opened
    opened.close()


def test_the_end_of_a_stage_is_told_at_once(opened: _Opened) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stage:
        stage.connect(str(opened.gateway.marks_path))
        stage.send(b"1 bake_texture bake_texture_0_0 1 held")
        assert not opened.stage_ended.wait(0.2)
    assert opened.stage_ended.wait(PATIENCE_S)


def test_a_stop_finishes_jobs_and_lets_their_results_be_fetched(opened: _Opened) -> None:
    path = opened.ask("POST", "/v1/avatars", {"Prefer": "respond-async"}).headers["Location"]
    assert not opened.gateway.drain(0.05), "it runs"
    assert opened.ask("POST", "/v1/avatars", {"Prefer": "respond-async"}).status == 503
    opened.let.set()
    assert b"done" in opened.ask("GET", path, {"Prefer": "wait=60"}).body
    assert not opened.gateway.drain(0.05), "its result was not fetched"
    assert opened.ask("GET", f"{path}/result").body == GLB
    assert opened.gateway.drain(PATIENCE_S)


def test_callers_behind_a_proxy_are_told_apart_and_by_the_address_that_it_added(opened: _Opened) -> None:
    """A job is its caller's: whose it is says who calls."""
    ann, bob = {"X-Forwarded-For": "198.51.100.1, 192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
    path = opened.ask("POST", "/v1/avatars", {**ann, "Prefer": "respond-async"}).headers["Location"]
    assert opened.ask("GET", path, ann).status == 200
    assert opened.ask("GET", path, {"X-Forwarded-For": "203.0.113.5, 192.0.2.1"}).status == 200
    assert opened.ask("GET", path, bob).status == 404
    assert opened.ask("GET", path).status == 404


def test_jobs_are_among_the_figures(opened: _Opened) -> None:
    opened.ask("POST", "/v1/avatars", {"Prefer": "respond-async"})
    figures = opened.ask("GET", "/v1/metrics").body.decode()
    assert 'facewright_jobs{state="running"} 1.0' in figures
