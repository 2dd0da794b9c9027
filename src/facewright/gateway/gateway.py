"""The gateway's life: one event loop in a thread of its own, and both doors on it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from starlette.middleware import Middleware

from facewright.adapter.departures import DeparturePage
from facewright.gateway.addresses import Proxies, host_name
from facewright.gateway.admission import Admission, AdmissionSettings
from facewright.gateway.call import BeginTrace, Caller, untraced
from facewright.gateway.callers import Callers
from facewright.gateway.encryption import Encryption
from facewright.gateway.figures_page import door_text, house_text, triton_text
from facewright.gateway.followed_files import Reloadable, follow
from facewright.gateway.heap import give_back_memory, keep_memory
from facewright.gateway.house import TritonHouse
from facewright.gateway.kserve import Doorway, GrpcDoor
from facewright.gateway.marks import Instance, Marks
from facewright.gateway.marks_socket import MarksSocket
from facewright.gateway.origins import OwnPagesOnly, PageRules
from facewright.gateway.rest import Jobs, JobSettings, RestServer, RestSettings, rest_application
from facewright.gateway.tracing import Tracing
from facewright.gateway.triton import Triton
from facewright.pipelines.stages import Pipeline

_T = TypeVar("_T")
#: What is given to callers that are still answered when the doors close; they have been waited for before.
_GRACE_S = 1.0


def _nobody_looks() -> None:
    return


@dataclass(frozen=True)
class GatewaySettings:
    """Where the doors are and who is let in.

    Args:
        host: address to listen on.
        grpc_port, http_port: of the doors.
        pages: which web pages may call.
        admission: bounds of waiting and memory.
        encryption: TLS of both doors; None: none.
        jobs: how long their results are kept.
        tracing: makes the calls' traces; None: there are none.
        proxies: who is believed when he says for whom he calls.
    """

    host: str
    grpc_port: int
    http_port: int
    pages: PageRules
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    encryption: Encryption | None = None
    jobs: JobSettings = field(default_factory=JobSettings)
    tracing: Tracing | None = None
    proxies: Proxies = field(default_factory=Proxies)


class Gateway:
    """The front door. Its methods are for other threads; they hand over to the event loop.

    Args:
        settings: addresses and bounds.
        served: the public pipelines by name.
        callers: who may come.
        marks_path: of the socket to be, on which stages tell what they are at.
        stage_ended: called, on the event loop, as soon as the process of a stage has ended.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        served: Mapping[str, Pipeline],
        callers: Callers,
        marks_path: Path,
        stage_ended: Callable[[], None] = _nobody_looks,
    ) -> None:
        self._settings, self._served, self._callers = settings, served, callers
        self.marks_path = marks_path
        self._stage_ended = stage_ended
        self._loop = asyncio.new_event_loop()
        self._tritons: dict[Path, tuple[Triton, int]] = {}
        self._ready, self._used = False, 0
        self._thread = threading.Thread(target=self._loop.run_forever, name="facewright-gateway", daemon=True)

    def open(self) -> None:
        """Listen. Readiness is said after `use` only.

        Raises:
            OSError, RuntimeError: something else listens there, or the address is none of this machine.
            ValueError: a pipeline's option has a name that REST has for itself.
        """
        self._thread.start()
        try:
            self._wait_for(self._open())
        except BaseException:
            self._end_loop()
            raise

    def instances(self) -> list[Instance]:
        """What the stages of all Tritons have told."""
        return self._marks.instances()

    def blame(self, request_ids: frozenset[str]) -> None:
        """These were in the hands of what died or hangs."""
        self._loop.call_soon_threadsafe(self._house.blame, request_ids)

    def unhealthy_s(self) -> float:
        """For how long the Triton that is used has said of stages that they do not move; 0: it does not."""
        told = self._house.unhealthy
        return told[0] - told[1] if told else 0.0

    def use(self, socket_path: Path, metrics_port: int) -> None:
        """Send calls to the Triton behind a socket from now on.

        Args:
            socket_path: where it listens.
            metrics_port: of its metrics, on this machine.
        """
        self._wait_for(self._use(socket_path, metrics_port))

    def forget(self, socket_path: Path, back_in_s: float) -> None:
        """Send nothing to it any more: it finishes what it has, and calls wait for the next.

        Args:
            socket_path: of the Triton.
            back_in_s: seconds after which the next is likely to be there: nobody is let in who would wait too
                long for it.
        """
        self._wait_for(self._forget(socket_path, back_in_s))

    def calls(self, socket_path: Path) -> int:
        """How many calls the Triton behind a socket has in its hands."""
        known = self._tritons.get(socket_path)
        return 0 if known is None else known[0].calls

    def release(self, socket_path: Path) -> None:
        """Close the connection to a Triton that has ended."""
        self._wait_for(self._release(socket_path))

    def unready(self) -> None:
        """Say that other servers are to be asked; whoever comes all the same is answered."""
        self._wait_for(self._say_ready(False))

    def drain(self, patience_s: float) -> bool:
        """Let nobody in any more, and wait for those who are, and until the results of jobs are fetched;
        returns whether all have been answered."""
        return self._wait_for(self._drain(patience_s))

    def close(self) -> None:
        """End whatever is left, and the thread."""
        if self._thread.is_alive():
            self._wait_for(self._close())
            self._end_loop()

    async def _open(self) -> None:
        settings = self._settings
        expected = {name: sum(step.expected_s for step in row.steps) for name, row in self._served.items()}
        self._admission = Admission(settings.admission, expected)
        self._departures = DeparturePage(self.marks_path)
        self._marks = Marks(
            lambda identity, stage: self._house.began(identity, stage),
            lambda _instance: self._stage_ended(),
            finished=lambda identity, stage: self._house.finished(identity, stage),
            left=self._departures.write,
        )
        self._house = TritonHouse(
            self._admission, self._callers, self._marks, lambda: self._marks_socket.hear()
        )
        self._jobs = Jobs(settings.jobs)
        encryption = settings.encryption
        self._marks_socket = MarksSocket(self.marks_path, self._marks)
        try:
            self._grpc = GrpcDoor(
                Doorway(self._house, self._served, self._identified, self._begin_trace()),
                settings.admission.photo_budget_bytes,
            )
            self._grpc.listen(
                f"{settings.host}:{settings.grpc_port}", encryption.grpc_credentials() if encryption else None
            )
            self._rest = self._rest_server(encryption.http_context() if encryption else None)
        except BaseException:
            self._marks_socket.close()
            self._departures.close()
            raise
        followed: list[Reloadable] = [self._callers, *([encryption] if encryption else [])]
        keep_memory()
        self._chores = asyncio.gather(follow(*followed), give_back_memory())
        await self._grpc.start()
        await self._rest.start()

    def _rest_server(self, tls: ssl.SSLContext | None) -> RestServer:
        rest = RestSettings(
            authenticate=self._identified,
            ready=lambda: self._ready,
            metrics=self._metrics,
            middleware=[Middleware(OwnPagesOnly, self._settings.pages)],
            jobs=self._jobs,
            begin_trace=self._begin_trace(),
            grpc_port=self._settings.grpc_port or None,  # 0: the system chose one
        )
        application = rest_application(self._house, self._served, rest)
        listening = socket.create_server((self._settings.host, self._settings.http_port), backlog=1024)
        return RestServer(application, [listening], rest.limits, tls)

    def _begin_trace(self) -> BeginTrace:
        return self._settings.tracing.begin if self._settings.tracing else untraced

    def _identified(self, headers: Mapping[str, str], address: str) -> Caller:
        shown = [headers["authorization"]] if "authorization" in headers else []
        host = self._settings.proxies.caller(address, headers.get("x-forwarded-for", ""))
        return self._callers.identify(shown, host_name(host))

    async def _metrics(self) -> bytes:
        ports = [port for triton, port in self._tritons.values() if triton is self._house.triton]
        ours = [
            *house_text(self._ready, max(self._used - 1, 0)),
            *door_text(self._admission.figures(), self._house.replayed),
            *self._jobs.metrics(),
            *self._callers.metrics(),
        ]
        return "".join(ours).encode() + await triton_text(ports[0] if ports else None)

    async def _use(self, socket_path: Path, metrics_port: int) -> None:
        triton = Triton(socket_path)
        self._tritons[socket_path] = triton, metrics_port
        self._house.use(triton)
        self._used += 1
        self._admission.hold_until(None)
        await self._say_ready(True)

    async def _forget(self, socket_path: Path, back_in_s: float) -> None:
        known = self._tritons.get(socket_path)  # none where it never was ready
        if known is not None and self._house.forget(known[0]):
            self._admission.hold_until(time.monotonic() + back_in_s)
            await self._say_ready(False)

    async def _release(self, socket_path: Path) -> None:
        known = self._tritons.pop(socket_path, None)
        if known is not None:
            self._house.forget(known[0])
            await known[0].close()
        self._marks.forget([instance.pid for instance in self._marks.instances() if instance.ended])

    async def _say_ready(self, ready: bool) -> None:
        self._ready = ready
        await self._grpc.say_ready(ready)

    async def _drain(self, patience_s: float) -> bool:
        await self._say_ready(False)
        self._admission.draining()
        try:
            async with asyncio.timeout(patience_s):
                await self._admission.empty()
                await self._jobs.all_collected()
        except TimeoutError:
            return False
        return True

    async def _close(self) -> None:
        await asyncio.gather(self._grpc.stop(_GRACE_S), self._rest.stop(_GRACE_S))
        await self._jobs.close()
        if self._settings.tracing is not None:
            await asyncio.to_thread(self._settings.tracing.close)
        self._chores.cancel()
        with suppress(asyncio.CancelledError):
            await self._chores
        for socket_path in tuple(self._tritons):
            await self._release(socket_path)
        self._marks_socket.close()
        self._departures.close()

    def _wait_for(self, work: Coroutine[Any, Any, _T]) -> _T:
        done: Future[_T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
