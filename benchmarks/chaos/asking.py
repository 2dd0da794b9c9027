"""Asking for avatars in bytes, so that the load generator takes little of the cores that it shares, and how
each request ended.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import grpc.aio
import numpy as np
from tritonclient.grpc import service_pb2

from facewright.pipelines.registry import pipeline

PHOTO: Final = (Path(__file__).parents[2] / "tests" / "data" / "astronaut.jpg").read_bytes()
INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
UNBOUNDED: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
)
_REFUSALS: Final = ("OVERLOADED", "UNAVAILABLE")
#: More streams than a connection may have were not looked at (RFC 9113, section 8.7).
_REFUSED_STREAM: Final = "RST_STREAM with error code 7"
#: Said of a request that had been let in: it was lost.
_LOST: Final = "what worked on this request ended"


class Outcome(NamedTuple):
    """How a request ended.

    Attributes:
        sent_s, ended_s: `time.monotonic`.
        code: of the error; "" where an avatar came.
        message: the error's.
        return_s: seconds after which a refused caller is asked to come back.
    """

    sent_s: float
    ended_s: float
    code: str = ""
    message: str = ""
    return_s: float = 0.0

    @property
    def took_s(self) -> float:
        """From sending to the end."""
        return self.ended_s - self.sent_s

    @property
    def refused(self) -> bool:
        """Whether it was not let in, so that nothing was lost."""
        if _REFUSED_STREAM in self.message:
            return True
        return self.code in _REFUSALS and not self.message.startswith(_LOST)

    @property
    def lost(self) -> bool:
        """Whether it was let in and not answered."""
        return bool(self.code) and not self.refused


def avatar_request(
    photo: bytes = PHOTO, model: str = "avatar_twin", straight: bool = False, **options: int
) -> bytes:
    """A serialised ``ModelInferRequest`` for GLB and report; one that goes ``straight`` to Triton asks for
    what the door would add (`Pipeline.also_wanted`)."""
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="PHOTO", datatype="UINT8", shape=[1, len(photo)])
    request.raw_input_contents.append(photo)
    wanted = ("GLB", "REPORT")
    for name in (*wanted, *(pipeline(model).also_wanted(wanted) if straight else ())):
        request.outputs.add(name=name)
    for name, value in options.items():
        request.parameters[name].int64_param = value
    serialised: bytes = request.SerializeToString()
    return serialised


class Asker:
    """One connection. To be entered on the event loop.

    Args:
        url: host and port, or ``unix:`` and a path.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    async def ask(self, request: bytes, timeout_s: float = 300.0) -> Outcome:
        """Send a serialised request, and wait for its end."""
        sent = time.monotonic()
        try:
            await self._infer(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            return _failed(error, sent)
        return Outcome(sent, time.monotonic())

    async def __aenter__(self) -> Asker:
        self._channel = grpc.aio.insecure_channel(self._url, UNBOUNDED)
        self._infer = self._channel.unary_unary(INFER)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()


class Clients:
    """Clients, each with its connection, that ask for one avatar after the other, and come back when they are
    told to; in the background, while it is entered.

    Args:
        url: whom they ask.
        request: serialised.
        count: how many.
    """

    def __init__(self, url: str, request: bytes, count: int) -> None:
        self._url, self._request, self._count = url, request, count
        self._over = False
        self.outcomes: list[Outcome] = []

    async def _client(self) -> None:
        async with Asker(self._url) as asker:
            while not self._over:
                outcome = await asker.ask(self._request)
                self.outcomes.append(outcome)
                if outcome.code:
                    until = time.monotonic() + max(outcome.return_s, 0.1)
                    while not self._over and time.monotonic() < until:
                        await asyncio.sleep(0.05)

    async def __aenter__(self) -> Clients:
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)


def codes(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many ended in which way."""
    return dict(Counter(outcome.code or "answered" for outcome in outcomes))


def losses(outcomes: Iterable[Outcome]) -> list[str]:
    """What those that were lost were told, each once."""
    return sorted({f"{outcome.code}: {outcome.message}"[:200] for outcome in outcomes if outcome.lost})


def percentile_ms(outcomes: Iterable[Outcome], percent: float) -> float | None:
    """Milliseconds from sending to the end; None where there are none."""
    took = [outcome.took_s for outcome in outcomes]
    return round(1e3 * float(np.percentile(took, percent)), 1) if took else None


def longest_silence_s(outcomes: Iterable[Outcome], since_s: float) -> tuple[float, float]:
    """The longest time between two answers from a moment on, seconds, and after how many seconds it ended."""
    answers = sorted(
        outcome.ended_s for outcome in outcomes if not outcome.code and outcome.ended_s >= since_s
    )
    moments = [since_s, *answers]
    gaps = [(after - before, after - since_s) for before, after in zip(moments, answers, strict=False)]
    return max(gaps, default=(float("inf"), float("inf")))


def _failed(error: grpc.aio.AioRpcError, sent: float) -> Outcome:
    details = error.details() or ""
    trailing: Any = error.trailing_metadata() or ()
    pushback = dict(trailing).get("grpc-retry-pushback-ms", "0")
    try:
        form = json.loads(details)
        code, message = str(form["code"]), str(form["message"])
    except (ValueError, TypeError, KeyError):  # gRPC's own words
        code, message = f"gRPC {error.code().name}", details
    return Outcome(sent, time.monotonic(), code, message, int(pushback) / 1e3)
