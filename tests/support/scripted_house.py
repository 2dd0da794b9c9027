"""A house that answers calls as a test says, without Triton."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

from tritonclient.grpc import service_pb2

from facewright.core.errors import FacewrightError
from facewright.gateway.call import Call
from facewright_client import contract
from tests.support.scripted_answers import avatar_of

GLB = b"glTF\x02\x00\x00\x00" + bytes(range(256)) * 40
PREVIEW = b"\x89PNG\r\n\x1a\n" + bytes(100)
REPORT = {
    "warnings": ['the photo is "dark"', "half of it is über-exposed"],
    "milliseconds": {
        "find_face.decode": 12.0,
        "find_face.detect": 8.5,
        "package_avatar.since_accepted": 99.0,
    },
}
FILES = {"GLB": GLB, "REPORT": json.dumps(REPORT, indent=1).encode(), "PREVIEW": PREVIEW}


class ScriptedHouse:
    """Answers with an avatar, after the failures that are due.

    Attributes:
        failures: raised one after the other, in place of avatars.
        calls: that came, and `requests`, what they carried.
        stages: that are told to begin before the answer.
        held: set where calls are to wait until they are cancelled.
        inside: set when a call has come; `cancelled`, when one was given up. Both are for other threads.
    """

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.calls: list[Call] = []
        self.requests: list[Any] = []
        self.stages: tuple[str, ...] = ()
        self.held = False
        self.inside = threading.Event()
        self.cancelled = threading.Event()

    async def answer(self, call: Call) -> bytes:
        """As of `House`."""
        request = service_pb2.ModelInferRequest.FromString(call.request)
        self.calls.append(call)
        self.requests.append(request)
        self.inside.set()
        for stage in self.stages:
            call.began(stage)
            await asyncio.sleep(0)
        if self.held:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if self.failures:
            raise self.failures.pop(0)
        return bytes(avatar_of(request, FILES).SerializeToString())

    def answers(self, call: Call) -> AsyncIterator[bytes]:
        """None streams."""
        raise FacewrightError(contract.ErrorCode.INTERNAL, "no stream", "none")
