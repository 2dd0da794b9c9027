"""A Triton that a call was sent to: how what is in flight ends."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from facewright.gateway.call import Call, Caller
from facewright.gateway.triton import SERVICE, LostError, Triton

_CALL = Call("avatar_twin", b"", "", Caller("ann"))


@asynccontextmanager
async def _silent() -> AsyncIterator[tuple[Triton, asyncio.Event]]:
    """A Triton that never answers, and what tells that it was asked."""
    asked = asyncio.Event()

    async def infer(_request: bytes, _context: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    server = grpc.aio.server()
    methods = {"ModelInfer": grpc.unary_unary_rpc_method_handler(infer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "s")
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        triton = Triton(path)
        try:
            yield triton, asked
        finally:
            await triton.close()
            await server.stop(None)


def test_what_is_in_flight_when_its_connection_is_closed_is_lost() -> None:
    async def scenario() -> None:
        async with _silent() as (triton, asked):
            answering = asyncio.create_task(triton.answer(_CALL))
            await asked.wait()
            await triton.close()
            with pytest.raises(LostError):
                await answering

    asyncio.run(scenario())


def test_who_leaves_is_not_told_that_anything_was_lost() -> None:
    async def scenario() -> None:
        async with _silent() as (triton, asked):
            answering = asyncio.create_task(triton.answer(_CALL))
            await asked.wait()
            answering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await answering

    asyncio.run(scenario())


@pytest.mark.parametrize("allowed_s", [1e9, 2**63 / 1e6, 2**64 / 1e6])
def test_whoever_allows_a_long_time_is_worked_for(allowed_s: float) -> None:
    async def scenario() -> None:
        call = Call("avatar_twin", b"", "", Caller("ann"), deadline=time.monotonic() + allowed_s)
        async with _silent() as (triton, asked):
            answering = asyncio.create_task(triton.answer(call))
            await asyncio.wait({answering, asyncio.create_task(asked.wait())}, return_when="FIRST_COMPLETED")
            assert not answering.done()
            answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering

    asyncio.run(scenario())
