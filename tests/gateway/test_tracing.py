"""Traces: one for each call, from its caller's, with what it waited for and which stages had it."""

from __future__ import annotations

import asyncio
import os
import queue
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tritonclient.grpc import service_pb2

from facewright.adapter.marks import Mark
from facewright.core.errors import FacewrightError
from facewright.gateway.admission import Admission, AdmissionSettings
from facewright.gateway.call import Call, Caller
from facewright.gateway.callers import Callers
from facewright.gateway.house import TritonHouse
from facewright.gateway.kserve import Doorway, GrpcDoor
from facewright.gateway.marks import Marks
from facewright.gateway.rest import RestSettings
from facewright.gateway.tracing import Tracing
from facewright.gateway.triton import SERVICE, Triton
from facewright.pipelines.registry import pipelines
from tests.gateway.rest_door import open_door
from tests.support.triton_behind import RefusedError, TritonBehind, glb_of

_PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_TRACE, _SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7


class _Traced:
    """A house whose spans are kept, and a stage that sends marks."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(provider)
        self.marks = Marks(
            lambda identity, stage: self.house.began(identity, stage),
            finished=lambda identity, stage: self.house.finished(identity, stage),
        )
        expected = dict.fromkeys(pipelines(), 0.1)
        self.house = TritonHouse(Admission(AdmissionSettings(), expected), Callers(), self.marks)
        self._numbers = 0

    def mark(self, stage: str, *request_ids: str) -> None:
        pid = sum(stage.encode())
        if not any(instance.pid == pid for instance in self.marks.instances()):
            self.marks.connected(pid)
        self._numbers += bool(request_ids)
        self.marks.said(pid, Mark(stage, f"{stage}_0_0", self._numbers, request_ids).encoded())

    async def work(self, request: Any) -> Any:
        """Two stages, one after the other; the last one's end comes later than the answer."""
        self.mark("find_face", request.id)
        await asyncio.sleep(0)
        self.mark("find_face")
        self.mark("fit_head", request.id)
        return await glb_of(request)

    def spans(self) -> dict[str, Any]:
        """By name."""
        return {span.name: span for span in self.exporter.get_finished_spans()}


def _call(traced: _Traced, identity: str = "one") -> Call:
    request = service_pb2.ModelInferRequest(model_name="avatar_twin", raw_input_contents=[b"photo"])
    request.id = identity
    trace = traced.tracing.begin("avatar_twin", {"traceparent": _PARENT})
    return Call("avatar_twin", request.SerializeToString(), identity, Caller("ann"), trace=trace)


def test_a_call_is_traced_from_its_callers_span_to_the_last_stage(tmp_path: Path) -> None:
    async def scenario() -> dict[str, Any]:
        traced = _Traced()
        async with TritonBehind(tmp_path / "triton", traced.work):
            triton = Triton(tmp_path / "triton")
            traced.house.use(triton)
            await traced.house.answer(_call(traced))
            await triton.close()
        return traced.spans()

    spans = asyncio.run(scenario())
    assert list(spans) == ["wait", "find_face", "fit_head", "send", "avatar_twin"]
    call = spans["avatar_twin"]
    assert (call.context.trace_id, call.parent.span_id) == (_TRACE, _SPAN)
    assert {span.context.trace_id for span in spans.values()} == {_TRACE}
    parents = {name: span.parent.span_id for name, span in spans.items()}
    assert parents["wait"] == parents["send"] == call.context.span_id
    assert parents["find_face"] == parents["fit_head"] == spans["send"].context.span_id
    assert spans["find_face"].end_time <= spans["fit_head"].start_time
    assert spans["wait"].end_time <= spans["send"].start_time


def test_what_is_sent_again_is_a_second_send(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        traced = _Traced()
        asked = 0

        async def dies_first(request: Any) -> Any:
            nonlocal asked
            asked += 1
            traced.mark("find_face", request.id)
            if asked == 1:
                raise RefusedError(grpc.StatusCode.UNAVAILABLE, "Stub process 'a' is not healthy.")
            return await glb_of(request)

        async with TritonBehind(tmp_path / "triton", dies_first):
            triton = Triton(tmp_path / "triton")
            traced.house.use(triton)
            await traced.house.answer(_call(traced))
            await triton.close()
        return [span.name for span in traced.exporter.get_finished_spans()]

    assert asyncio.run(scenario()) == ["wait", "find_face", "send", "find_face", "send", "avatar_twin"]


def test_a_failure_is_told_by_its_code_alone(tmp_path: Path) -> None:
    async def refuses(_request: Any) -> Any:
        raise RefusedError(
            grpc.StatusCode.INTERNAL, '{"code": "NO_FACE", "stage": "a", "message": "of Ann", "hint": ""}'
        )

    async def scenario() -> Any:
        traced = _Traced()
        async with TritonBehind(tmp_path / "triton", refuses):
            triton = Triton(tmp_path / "triton")
            traced.house.use(triton)
            with pytest.raises(FacewrightError):
                await traced.house.answer(_call(traced))
            await triton.close()
        return traced.spans()["avatar_twin"]

    span = asyncio.run(scenario())
    assert span.attributes["error.type"] == span.status.description == "NO_FACE"
    assert not span.status.is_ok
    assert "Ann" not in span.to_json()


def test_both_doors_take_the_callers_traceparent(tmp_path: Path) -> None:
    async def over_grpc() -> Any:
        traced = _Traced()
        async with TritonBehind(tmp_path / "triton", traced.work):
            triton = Triton(tmp_path / "triton")
            traced.house.use(triton)
            doorway = Doorway(traced.house, pipelines(), lambda _h, peer: Caller(peer), traced.tracing.begin)
            door = GrpcDoor(doorway)
            port = door.listen("127.0.0.1:0")
            await door.start()
            request = service_pb2.ModelInferRequest(model_name="avatar_twin", raw_input_contents=[b"photo"])
            request.inputs.add(name="PHOTO", datatype="UINT8", shape=[1, 5])
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
                await infer(request.SerializeToString(), metadata=(("traceparent", _PARENT),))
            await door.stop(0)
            await triton.close()
        return traced.spans()["avatar_twin"]

    assert asyncio.run(over_grpc()).parent.span_id == _SPAN
    begun: list[tuple[str, str | None]] = []
    traced = _Traced()

    def begin(pipeline: str, headers: Any) -> Any:
        begun.append((pipeline, headers.get("traceparent")))
        return traced.tracing.begin(pipeline, headers)

    with open_door(RestSettings(begin_trace=begin)) as door:
        door.create(traceparent=_PARENT)
        assert door.house.calls[0].trace is not None
    assert begun == [("avatar_twin", _PARENT)]


def test_a_trace_of_nobody_begins_anew() -> None:
    async def scenario() -> Any:
        traced = _Traced()
        async with traced.tracing.begin("avatar_twin", {"traceparent": "nonsense"}):
            pass
        return traced.spans()["avatar_twin"]

    assert asyncio.run(scenario()).parent is None


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_traced_unless_it_is_asked_for(environment: dict[str, str]) -> None:
    assert Tracing.from_environment(environment) is None


def test_nothing_of_it_is_imported_unless_it_is_asked_for() -> None:
    program = (
        "import sys, facewright.server; sys.exit(any(n.startswith('opentelemetry') for n in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_another_protocol_and_a_missing_package_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    with pytest.raises(FacewrightError, match="traces are to go by grpc"):
        Tracing.from_environment({**environment, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(
        FacewrightError, match=r"is set, and opentelemetry.*is not installed.*facewright\[traces"
    ):
        Tracing.from_environment(environment)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many"),
    ],
)
def test_a_variable_that_means_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv(name, value)
    with pytest.raises(FacewrightError, match="OTEL_"):
        Tracing.from_environment(os.environ)


def test_no_log_quotes_what_a_stranger_says_of_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    tracing = Tracing(TracerProvider())
    for state in ("a secret", "k=1,k=1", "a" * 9000, ",".join(f"k{number}=1" for number in range(40))):
        tracing.begin("avatar_twin", {"traceparent": _PARENT, "tracestate": state})
    tracing.begin("avatar_twin", {"traceparent": "a secret"})
    assert not caplog.records


def test_spans_reach_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    received: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # of the standard library
            del format, args

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        tracing = Tracing.from_environment(os.environ)
        assert tracing is not None

        async def scenario(tracing: Tracing) -> None:
            async with tracing.begin("avatar_twin", {"traceparent": _PARENT}):
                pass

        asyncio.run(scenario(tracing))
        tracing.close()
        path, message = received.get(timeout=60)
        server.shutdown()
        serving.join()
    assert path == "/v1/traces"
    told = ExportTraceServiceRequest.FromString(message).resource_spans[0]
    resource = {one.key: one.value.string_value for one in told.resource.attributes}
    assert resource["service.name"] == "facewright"
    spans = {span.name: span for span in told.scope_spans[0].spans}
    assert spans["avatar_twin"].trace_id.hex() == f"{_TRACE:032x}"
