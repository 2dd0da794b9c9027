"""The gateway's life: one event loop in a thread of its own, and both doors on it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from facewright.gateway.admission import Admission, AdmissionSettings
from facewright.gateway.call import Caller
from facewright.gateway.house import TritonHouse
from facewright.gateway.kserve import Doorway, GrpcDoor
from facewright.gateway.marks import Instance, Marks
from facewright.gateway.marks_socket import MarksSocket
from facewright.gateway.triton import Triton
from facewright.pipelines.stages import Pipeline

_T = TypeVar("_T")
_LOG: Final = logging.getLogger("facewright.gateway")


class CannotListenError(Exception):
    """A door cannot be opened at its address; the message says why.

    Args:
        option: of the command line that chooses it.
        message: why.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


@dataclass(frozen=True)
class GatewaySettings:
    """Where the doors are and who is let in.

    Args:
        host: address to listen on.
        grpc_port, http_port: of the doors.
        admission: bounds of waiting and memory.
    """

    host: str
    grpc_port: int
    http_port: int
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)


class Gateway:
    """The front door. Its methods are for other threads; they hand over to the event loop.

    Args:
        settings: addresses and bounds.
        served: the public pipelines by name.
        marks_path: of the socket to be, on which stages tell what they are at.
    """

    def __init__(self, settings: GatewaySettings, served: Mapping[str, Pipeline], marks_path: Path) -> None:
        self._settings, self._served, self.marks_path = settings, served, marks_path
        self._loop = asyncio.new_event_loop()
        self._tritons: dict[Path, Triton] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="facewright-gateway", daemon=True)

    def open(self) -> None:
        """Listen. Readiness is said after `use` only.

        Raises:
            CannotListenError: something else listens there, or the address is none of this machine.
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

    def use(self, socket: Path) -> None:
        """Send calls to the Triton behind ``socket`` from now on."""
        self._wait_for(self._use(socket))

    def forget(self, socket: Path, back_in_s: float) -> None:
        """Send nothing to it any more: it finishes what it has, and calls wait for the next.

        Args:
            socket: of the Triton.
            back_in_s: seconds after which the next is likely to be there: nobody is let in who would wait too
                long for it.
        """
        self._wait_for(self._forget(socket, back_in_s))

    def release(self, socket: Path) -> None:
        """Close the connection to a Triton that has ended."""
        self._wait_for(self._release(socket))

    def drain(self, patience_s: float) -> bool:
        """Let nobody in any more, and wait for those who are; returns whether all have been answered."""
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
        self._house = TritonHouse(self._admission)
        self._marks = Marks(self._house.began)
        doorway = Doorway(self._house, self._served, _by_address)
        self._grpc = GrpcDoor(doorway)
        try:
            self._grpc.listen(f"{settings.host}:{settings.grpc_port}")
        except RuntimeError as error:
            raise CannotListenError("grpc-port", str(error)) from None
        self._marks_socket = MarksSocket(self.marks_path, self._marks)
        await self._grpc.start()

    async def _use(self, socket: Path) -> None:
        self._tritons[socket] = triton = Triton(socket)
        self._house.use(triton)
        self._admission.hold_until(None)
        await self._grpc.say_ready(True)

    async def _forget(self, socket: Path, back_in_s: float) -> None:
        triton = self._tritons.get(socket)  # none where it never was ready
        if triton is not None and self._house.forget(triton):
            self._admission.hold_until(time.monotonic() + back_in_s)
            await self._grpc.say_ready(False)

    async def _release(self, socket: Path) -> None:
        triton = self._tritons.pop(socket, None)
        if triton is not None:
            self._house.forget(triton)
            await triton.close()

    async def _drain(self, patience_s: float) -> bool:
        await self._grpc.say_ready(False)
        self._admission.draining()
        try:
            async with asyncio.timeout(patience_s):
                await self._admission.empty()
        except TimeoutError:
            return False
        return True

    async def _close(self) -> None:
        await self._grpc.stop(0.5)
        for socket in tuple(self._tritons):
            await self._release(socket)
        self._marks_socket.close()

    def _wait_for(self, work: Coroutine[Any, Any, _T]) -> _T:
        done: Future[_T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _by_address(_headers: Mapping[str, str], peer: str) -> Caller:
    """Who calls where no key is asked for: ``ipv4:127.0.0.1:4711`` without the port."""
    return Caller(peer.rpartition(":")[0] or peer)
