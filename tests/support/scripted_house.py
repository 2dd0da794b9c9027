"""A house that answers calls as a test says, without Triton."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from facewright.gateway.call import Call
from facewright_client import contract
from tests.support.scripted_answers import add_output, avatar_of, refinement_of

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
_INFO = {"ended": "iterations", "iterations": 2, "first_loss": 2.0, "best_loss": 1.0, "ms_per_iteration": 9.0}
REFINEMENT_INFO = json.dumps(_INFO).encode()
CODE = b"FWCODE\r\n of somebody"
FILES = {
    "GLB": GLB,
    "REPORT": json.dumps(REPORT, indent=1).encode(),
    "PREVIEW": PREVIEW,
    "CODE": CODE,
}


def refinement_start() -> bytes:
    """An ``.npz`` that a refinement may start from."""
    kinds = {"TYPE_UINT8": np.uint8, "TYPE_FP32": np.float32}
    arrays = {one.name.lower(): np.ones(one.shape, kinds[one.dtype]) for one in contract.REFINEMENT_INPUTS}
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


class ScriptedHouse:
    """Answers with an avatar, after the failures that are due.

    Attributes:
        failures: raised one after the other, in place of avatars.
        calls: that came, and `requests`, what they carried.
        stages: that are told to begin before the answer.
        held: set where calls are to wait until they are cancelled, or it is unset.
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
                while self.held:
                    await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if self.failures:
            raise self.failures.pop(0)
        if request.model_name.startswith("refine_latent"):
            return bytes(refinement_of(request, REFINEMENT_INFO).SerializeToString())
        return bytes(avatar_of(request, FILES).SerializeToString())

    async def answers(self, call: Call) -> AsyncIterator[bytes]:
        """As of `House`: two iterations, and the refinement."""
        request = service_pb2.ModelInferRequest.FromString(call.request)
        for iteration in (1, 2):
            answer = service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
            progress = {"iteration": iteration, "iterations": 2, "losses": {"total": 1 / iteration}}
            add_output(answer, contract.REFINEMENT_PROGRESS, json.dumps(progress).encode())
            yield bytes(answer.SerializeToString())
        yield await self.answer(call)
