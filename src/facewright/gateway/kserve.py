"""The gRPC door: KServe v2 as any generated client speaks it, reflection and health.

Requests and answers pass as the bytes that they are. Of Triton's own extensions those that change a server
(logging, tracing, shared memory, loading of models) cannot be reached, and neither can single stages.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tritonclient.grpc import service_pb2

from facewright.core.errors import FacewrightError
from facewright.gateway import message
from facewright.gateway.addresses import grpc_peer_host, grpc_peer_name
from facewright.gateway.bounded_reading import BoundedReading, refuse
from facewright.gateway.call import BeginTrace, Call, Caller, untraced
from facewright.gateway.callers import by_name
from facewright.gateway.faults import internal_error, log_fault
from facewright.gateway.grpc_server import GrpcServer
from facewright.gateway.house import TritonHouse
from facewright.gateway.parameters import DoorParameters, door_parameters
from facewright.gateway.reading_turns import ReadingTurns
from facewright.gateway.streams import stream_of, stream_with_stages
from facewright.gateway.tensors import check_tensors
from facewright.gateway.triton import SERVICE
from facewright.gateway.typed_contents import check_typed_contents
from facewright.pipelines.stages import Pipeline
from facewright_client.contract import MAX_PHOTO_BYTES, ErrorCode

#: The largest encoded photo, and room for everything beside it.
LARGEST_REQUEST: Final = 33 * 2**20
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", LARGEST_REQUEST),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # two servers on one port would take turns
    ("grpc.max_concurrent_streams", 100),
    ("grpc.max_metadata_size", 16384),
    ("grpc.absolute_max_metadata_size", 16384),
    # What is not being read is not taken, whatever the line could carry.
    ("grpc.http2.bdp_probe", 0),
    # A few kilobytes may unpack to gigabytes: nothing packed is taken.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    # A caller that is gone is noticed, and one that knocks all the time is not let in (gRFC A8, A9).
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 5),
    # Who asks nothing for a while connects anew with its next call. So does who goes on asking: behind a
    # balancer connections find the servers that came meanwhile. What is in flight then is answered on the old
    # one; a stream that is open for longer ends.
    ("grpc.max_connection_idle_ms", 60_000),
    ("grpc.max_connection_age_ms", 300_000),
    ("grpc.max_connection_age_grace_ms", 600_000),
    # Strangers' connections must not take what files, the other door and the next Triton need.
    ("grpc.max_allowed_incoming_connections", 1000),
    ("grpc.server_handshake_timeout_ms", 10_000),
)
#: What a caller may have in flight on one stream; more wait unread.
_MOST_PER_STREAM: Final = 16
_ABOUT_ITSELF_S: Final = 5.0
#: Questions about itself that the server answers at a time, and bytes of the largest.
_ASKED_AT_ONCE: Final = 8
_LARGEST_QUESTION: Final = 1024

Authenticate = Callable[[Mapping[str, str], str], Caller]


@dataclass(frozen=True)
class Doorway:
    """What both doors let through.

    Attributes:
        house: what answers.
        served: the public pipelines by name.
        authenticate: who calls, by headers (small letters) and address.
        begin_trace: makes calls' traces.

    """

    house: TritonHouse
    served: Mapping[str, Pipeline]
    authenticate: Authenticate
    begin_trace: BeginTrace = untraced


class GrpcDoor:
    """The gRPC server. To be made, started and stopped on the event loop.

    Args:
        doorway: what is let through.
        reading_bytes: how much of messages it may hold before they are whole.
    """

    def __init__(self, doorway: Doorway, reading_bytes: int = 256 * 2**20) -> None:
        reading = BoundedReading(max(reading_bytes // MAX_PHOTO_BYTES, 2))
        self._server = GrpcServer((reading,), _OPTIONS)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        self._server.add_service(SERVICE, _KServe(doorway, reading).handlers)
        self._names = ("", SERVICE, *doorway.served)

    def listen(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen on ``host:port``; returns the port.

        Raises:
            RuntimeError: nothing can listen there.
        """
        if credentials is None:
            return int(self._server.add_insecure_port(address))
        return int(self._server.add_secure_port(address, credentials))

    async def start(self) -> None:
        """Answer."""
        await self.say_ready(False)
        await self._server.start()

    async def say_ready(self, ready: bool) -> None:
        """What ``grpc.health.v1`` says, of each pipeline and of the whole."""
        status = health_pb2.HealthCheckResponse
        for name in self._names:
            await self._health.set(name, status.SERVING if ready else status.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Let what is in flight end within ``grace_s``, then end it."""
        await self._server.stop(grace_s)


class _KServe:
    """KServe's service in bytes."""

    def __init__(self, doorway: Doorway, reading: BoundedReading) -> None:
        self._door, self._reading = doorway, reading
        self._asking = ReadingTurns(_ASKED_AT_ONCE, _ABOUT_ITSELF_S)
        unary, streams = grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        #: The caller's message is read by the handlers, so that nothing is read before one has begun.
        self.handlers: Final = {
            "ModelInfer": unary(self._infer),
            "ModelStreamInfer": streams(self._stream),
            "ServerLive": unary(self._about(self._live)),
            "ServerReady": unary(self._about(self._ready)),
            "ServerMetadata": unary(
                self._about(self._passed("ServerMetadata", service_pb2.ServerMetadataRequest))
            ),
            "ModelReady": unary(self._about(self._of_public("ModelReady", service_pb2.ModelReadyRequest))),
            "ModelMetadata": unary(
                self._about(self._of_public("ModelMetadata", service_pb2.ModelMetadataRequest))
            ),
            "ModelConfig": unary(self._about(self._of_public("ModelConfig", service_pb2.ModelConfigRequest))),
            "RepositoryIndex": unary(self._about(self._index)),
            # Figures of stages are for whoever operates the server, and tell nothing of requests.
            "ModelStatistics": unary(
                self._about(self._passed("ModelStatistics", service_pb2.ModelStatisticsRequest))
            ),
        }

    async def _infer(self, _requests: object, context: Any) -> bytes:
        try:
            caller = self._caller(context)
            request = await self._reading.photo(context, caller.name)
            head = message.head_of(request)
            asked = door_parameters(head.request.parameters)
            if asked.progress:
                raise FacewrightError(
                    ErrorCode.BAD_REQUEST, "progress is told on streams", "call ModelStreamInfer"
                )
            call = self._call(request, head, asked, caller, context)
            answer = _wanted(await self._door.house.answer(call), call)
        except Exception as error:  # gRPC would tell a fault's words, which may quote what was sent
            await refuse(context, _told(error))
        return message.with_id(answer, head.request.id) if head.request.id else answer

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> None:
        try:
            caller = self._caller(context)
        except FacewrightError as error:
            await refuse(context, error)
            return
        address = grpc_peer_name(context.peer())
        room = asyncio.Semaphore(_MOST_PER_STREAM)
        writing = asyncio.Lock()

        async def answered(request: bytes) -> None:
            identity = ""
            try:
                head = message.head_of(request)
                identity = head.request.id
                asked = door_parameters(head.request.parameters)
                call = self._call(request, head, asked, caller, context)
                stream = stream_with_stages if asked.progress else stream_of
                pipeline = self._door.served[call.pipeline]
                async with aclosing(stream(self._door.house, pipeline, call)) as answers:
                    async for answer in answers:
                        answer = _wanted(answer, call)
                        with self._reading.unread(answer, address):
                            async with writing:
                                await context.write(message.streamed(message.with_id(answer, identity)))
            except Exception as error:  # the others of this stream go on
                told = _told(error)
                told.stage = told.stage or "gateway"
                async with writing:
                    await context.write(message.streamed_error(told.to_json(), identity))
            finally:
                room.release()

        try:
            async with asyncio.TaskGroup() as answering:
                async for request in requests:
                    await room.acquire()
                    answering.create_task(answered(request))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None  # gRPC knows its own, of a caller that left, by their kind

    def _call(
        self, request: bytes, head: message.Head, asked: DoorParameters, caller: Caller, context: Any
    ) -> Call:
        """A request as the house takes it: under an id of the house's own, for callers' need not differ."""
        name = head.request.model_name
        if name not in self._door.served:
            raise _not_served(name, self._door.served)
        check_tensors(head, self._door.served[name])
        if any(head.typed):
            check_typed_contents(request, head.request.inputs)
        wanted = frozenset(output.name for output in head.request.outputs)
        also = self._door.served[name].also_wanted(wanted) if wanted else ()
        house_id = uuid.uuid4().hex
        limits_s = [left for left in (context.time_remaining(), asked.timeout_s) if left is not None]
        return Call(
            pipeline=name,
            request=message.with_id(message.with_wanted(request, also), house_id),
            request_id=house_id,
            caller=caller,
            deadline=time.monotonic() + min(limits_s) if limits_s else None,
            trace=self._door.begin_trace(name, _metadata(context)),
            priority=max(asked.priority, caller.best_priority),
            wanted=wanted if also else None,
        )

    def _caller(self, context: Any) -> Caller:
        return self._door.authenticate(_metadata(context), grpc_peer_host(context.peer()))

    def _about(
        self, answer: Callable[[bytes], Awaitable[bytes]]
    ) -> Callable[[object, Any], Awaitable[bytes]]:
        """A method about the server itself: none of them waits in line."""

        async def answered(_requests: object, context: Any) -> bytes:
            try:
                caller = self._caller(context)
                question = await self._reading.question(context, caller.name)
                if len(question) > _LARGEST_QUESTION:
                    raise FacewrightError(
                        ErrorCode.BAD_REQUEST,
                        f"the question has {len(question)} bytes, and may have {_LARGEST_QUESTION}",
                        "send a name and a version",
                    )
                async with self._asking.turn(caller.name):
                    return await answer(question)
            except Exception as error:
                await refuse(context, _told(error))

        return answered

    async def _live(self, _question: bytes) -> bytes:
        answer: bytes = service_pb2.ServerLiveResponse(live=True).SerializeToString()
        return answer

    async def _ready(self, _question: bytes) -> bytes:
        ready = self._door.house.triton is not None
        answer: bytes = service_pb2.ServerReadyResponse(ready=ready).SerializeToString()
        return answer

    async def _index(self, _question: bytes) -> bytes:
        """Triton's own would list single stages."""
        state = "UNAVAILABLE" if self._door.house.triton is None else "READY"
        index = service_pb2.RepositoryIndexResponse()
        for name in self._door.served:
            index.models.add(name=name, version="1", state=state)
        answer: bytes = index.SerializeToString()
        return answer

    def _passed(self, method: str, kind: Any) -> Callable[[bytes], Awaitable[bytes]]:
        async def answer(question: bytes) -> bytes:
            _parsed(question, kind)
            return await self._door.house.ask(method, question, _ABOUT_ITSELF_S)

        return answer

    def _of_public(self, method: str, kind: Any) -> Callable[[bytes], Awaitable[bytes]]:
        passed = self._passed(method, kind)

        async def answer(question: bytes) -> bytes:
            name = _parsed(question, kind).name
            if name not in self._door.served:
                raise _not_served(name, self._door.served)
            return await passed(question)

        return answer


def _wanted(answer: bytes, call: Call) -> bytes:
    """What the caller wants of an answer."""
    return answer if call.wanted is None else message.only_outputs(answer, call.wanted)


def _told(error: Exception) -> FacewrightError:
    """What a caller is told of a failure."""
    if isinstance(error, FacewrightError):
        return error
    name = uuid.uuid4().hex
    log_fault(f"request {name}", error)
    return internal_error(f"request {name}")


def _parsed(question: bytes, kind: Any) -> Any:
    try:
        return kind.FromString(question)
    except DecodeError:
        raise FacewrightError(
            ErrorCode.BAD_REQUEST, f"this is no {kind.__name__}", "send one of KServe v2"
        ) from None


def _metadata(context: Any) -> dict[str, str]:
    """That is text."""
    return by_name(pair for pair in context.invocation_metadata() or () if isinstance(pair[1], str))


def _not_served(name: str, served: Mapping[str, Pipeline]) -> FacewrightError:
    return FacewrightError(
        ErrorCode.BAD_REQUEST,
        f"Request for unknown model: {name[:64]!r} is not served",
        f"there are {', '.join(served)}",
    )
