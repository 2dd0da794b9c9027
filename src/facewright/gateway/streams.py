"""The answers of one request of a stream: those of its pipeline, and before them, where they are asked for,
the stages as they begin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from facewright.gateway import message
from facewright.gateway.call import Call, House
from facewright.pipelines.stages import Pipeline


async def stream_of(house: House, pipeline: Pipeline, call: Call) -> AsyncGenerator[bytes]:
    """Serialised ``ModelInferResponse``, the last one with ``triton_final_response``.

    Raises:
        FacewrightError: as `House.answer`.
    """
    if any(step.streams for step in pipeline.steps):
        async for answer in house.answers(call):
            yield answer
    else:
        yield message.final(await house.answer(call))


async def stream_with_stages(house: House, pipeline: Pipeline, call: Call) -> AsyncGenerator[bytes]:
    """The same, and an answer without outputs for each stage that begins, which names it.

    Raises:
        FacewrightError: as `House.answer`.
    """
    told: asyncio.Queue[bytes | None] = asyncio.Queue()
    call = replace(call, began=lambda stage: told.put_nowait(message.stage_begins(stage)))

    async def answer() -> None:
        try:
            async with aclosing(stream_of(house, pipeline, call)) as answers:
                async for one in answers:
                    told.put_nowait(one)
        finally:
            told.put_nowait(None)

    answering = asyncio.create_task(answer())
    try:
        while (one := await told.get()) is not None:
            yield one
        await answering
    finally:
        answering.cancel()
