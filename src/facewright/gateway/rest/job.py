"""Some work that goes on whoever listens, and what is told of it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, Protocol

from starlette.responses import Response

from facewright.core.errors import FacewrightError
from facewright.gateway.faults import internal_error, log_fault
from facewright.gateway.rest.errors import wire_members
from facewright_client.contract import ErrorCode

#: Is told what becomes of some work: the event's name and its members.
Told = Callable[[str, Mapping[str, Any]], None]


class Result(Protocol):
    """What work gives, and the forms in which it is answered."""

    @property
    def event(self) -> str:
        """Its name among server-sent events."""

    @property
    def size(self) -> int:
        """Bytes that it holds."""

    @property
    def forms(self) -> tuple[str, ...]:
        """Media types; the first is what a client gets that takes anything."""

    def json_line(self) -> list[bytes]:
        """One line of JSON, in pieces."""

    def response(self, form: str) -> Response:
        """The answer in one of its forms."""


Work = Callable[[Told], Coroutine[Any, Any, Result]]


class Key(NamedTuple):
    """An idempotency key, and the digest of the request that it stands for."""

    text: str
    digest: bytes


class Job:
    """Some work, from its beginning until it is dropped. Made by `Jobs.start`.

    Attributes:
        id: 144 random bits: nobody guesses it.
        caller: whose it is, by name.
        key: that it was asked for under; None: none.
        told: what was told of it, but of events of progress only the last.
        result: what it gave; None: nothing yet, or it failed.
        collected: whether its end was told to its caller.
    """

    def __init__(self, caller: str, work: Work, key: Key | None) -> None:
        self.id = secrets.token_urlsafe(18)
        self.caller, self.key = caller, key
        self.told: list[tuple[str, Mapping[str, Any]]] = []
        self.result: Result | None = None
        self.collected = False
        self._listeners: list[Told] = []
        self._failure = FacewrightError(
            ErrorCode.CANCELLED, "the job was deleted", "send the request again"
        )  # unless it ends of itself
        self.task = asyncio.create_task(self._do(work))

    @property
    def failure(self) -> FacewrightError | None:
        """Why it failed, for whoever raises it; None: it did not, or it runs."""
        return self._failure.afresh() if self.task.done() and self.result is None else None

    def members(self) -> dict[str, Any]:
        """What is to be known of it, for JSON."""
        failure, here = self.failure, f"/v1/jobs/{self.id}"
        began = [event["stage"] for name, event in self.told if name == "began"]
        progress = [event for name, event in self.told if name == "progress"]
        running = "running" if self.told else "waiting"
        members: dict[str, Any] = {
            "id": self.id,
            "state": running if not self.task.done() else "failed" if failure else "done",
            "stage": began[-1] if began else None,
            "links": {"self": here, "result": f"{here}/result"},
        }
        if progress:
            members["progress"] = progress[-1]
        if failure is not None:
            members["error"] = wire_members(failure)
        return members

    async def ended_within(self, seconds: float) -> bool:
        """Wait for its end for so long; whether it has come."""
        await asyncio.wait({self.task}, timeout=seconds)
        return self.task.done()

    async def followed(self, told: Told) -> Result:
        """Its result, and what is told of it until then. Whoever stops following does not end it.

        Raises:
            FacewrightError: it failed, or was deleted.
        """
        for name, event in self.told:
            told(name, event)
        self._listeners.append(told)
        try:
            await asyncio.wait({self.task})
        finally:
            self._listeners.remove(told)
        if self.result is None:
            raise self._failure.afresh()
        return self.result

    async def _do(self, work: Work) -> None:
        """The work. Of a failure no more is kept than is told of it."""
        try:
            self.result = await work(self._tell)
        except FacewrightError as error:
            self._failure = error.afresh()
        except Exception as error:
            log_fault(f"job {self.id}", error)
            self._failure = internal_error("the job's id")

    def _tell(self, name: str, event: Mapping[str, Any]) -> None:
        if name == "progress" and self.told and self.told[-1][0] == name:
            self.told.pop()
        self.told.append((name, event))
        for listener in self._listeners:
            listener(name, event)
