"""What the house is asked for each kind of work, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from facewright.core.errors import FacewrightError
from facewright.gateway.call import Call, House
from facewright.gateway.rest.answers import Avatar, Avatars, Code
from facewright.gateway.rest.asked import TIMEOUT_HEADER
from facewright.gateway.rest.job import Told
from facewright.gateway.rest.refinements import Refined, progress_of
from facewright.gateway.streams import stream_of
from facewright.pipelines.stages import Pipeline
from facewright_client import contract
from facewright_client._errors import TIME_HINT
from facewright_client.contract import ErrorCode

_CURL_HINT: Final = "curl -d drops line ends and names no file without @: use --data-binary @me.jpg"


async def avatar(house: House, call: Call, by_curl_d: bool, told: Told) -> Avatar:
    """Of one photo.

    Args:
        by_curl_d: whether the photo may have come by ``curl -d``.
        told: of stages that begin.

    Raises:
        FacewrightError: as `House.answer`, in words of REST.
    """
    try:
        return Avatar.of(await house.answer(_telling(call, told)), call.wanted)
    except FacewrightError as error:
        if by_curl_d and error.code is ErrorCode.BAD_PHOTO:
            error.hint = f"{_CURL_HINT}; else {error.hint}"
        raise _in_words_of_rest(error) from None


async def code(house: House, call: Call, told: Told) -> Code:
    """Of one photo; errors as `avatar`."""
    try:
        return Code.of(await house.answer(_telling(call, told)))
    except FacewrightError as error:
        raise _in_words_of_rest(error) from None


async def avatars(house: House, calls: Sequence[Call], _told: Told) -> Avatars:
    """Of each photo its avatar or its error."""

    async def outcome(call: Call) -> Avatar | FacewrightError:
        try:
            return await avatar(house, call, False, lambda _name, _event: None)
        except FacewrightError as error:
            return error.afresh()

    async with asyncio.TaskGroup() as making:
        tasks = [making.create_task(outcome(call)) for call in calls]
    return Avatars([task.result() for task in tasks])


async def together(
    house: House, calls: Sequence[Call], merge: Callable[[bytes], Call], with_code: bool, told: Told
) -> Avatar:
    """One avatar of several photos of one person.

    Args:
        calls: for the code of each photo.
        merge: the call for an avatar of codes, one after the other.
        with_code: whether they are part of the answer.
        told: of stages that begin, of each photo and of their merging.

    Raises:
        FacewrightError: as `avatar`; of a photo's it says which.
    """

    async def code_of(number: int, call: Call) -> bytes:
        try:
            return (await code(house, call, told)).content
        except FacewrightError as error:
            error.message = f"photo {number}: {error.message}"
            raise

    try:
        async with asyncio.TaskGroup() as making:
            tasks = [making.create_task(code_of(number, call)) for number, call in enumerate(calls, 1)]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    codes = b"".join(task.result() for task in tasks)
    made = await avatar(house, merge(codes), False, told)
    return replace(made, contents={**made.contents, contract.CODE.name: codes}) if with_code else made


async def refined(house: House, pipeline: Pipeline, call: Call, told: Told) -> Refined:
    """Latents; how far they are is told on the way where the pipeline tells it.

    Raises:
        FacewrightError: as `avatar`.
    """
    last = b""
    try:
        async with aclosing(stream_of(house, pipeline, _telling(call, told))) as answers:
            async for answer in answers:
                if (progress := progress_of(answer)) is not None:
                    told("progress", progress)
                last = answer
    except FacewrightError as error:
        raise _in_words_of_rest(error) from None
    return Refined.of(last)


def _telling(call: Call, told: Told) -> Call:
    return replace(call, began=lambda stage: told("began", {"stage": stage}))


def _in_words_of_rest(error: FacewrightError) -> FacewrightError:
    if error.hint == TIME_HINT:  # of the clients of gRPC
        error.hint = f"allow more time: {TIMEOUT_HEADER}"
    return error
