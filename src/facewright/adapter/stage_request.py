"""One request as a stage sees it, wherever it comes from, and what becomes of the stage's answer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from facewright.core.errors import FacewrightError
from facewright.core.options import OptionValue
from facewright.pipelines.request import Request
from facewright.pipelines.section import Section, sections_from_json, sections_to_json, waited_ms
from facewright.pipelines.stages import EARLIER_SECTIONS, REQUEST, SECTIONS, Network, Pipeline, Stage, reports
from facewright_client.contract import MAX_PHOTO_BYTES, PHOTO, ErrorCode, Tensor

#: What a stage computes: arrays without a batch dimension, files, and under SECTIONS its part of the report.
Outputs = Mapping[Tensor, NDArray[Any] | bytes | Section]
#: The same as it leaves the stage.
Answer = dict[Tensor, NDArray[Any] | bytes]

#: What Triton's own protocol puts among the request parameters.
_PROTOCOL_PARAMETERS: Final = frozenset(
    {"binary_data_output", "sequence_id", "sequence_start", "sequence_end", "priority", "timeout"}
    | {"triton_enable_empty_final_response", "triton_final_response", "headers"}
)


class Sender(Protocol):
    """Where a request comes from: Triton, or this process."""

    def tensor(self, name: str) -> NDArray[Any] | None:
        """A tensor with its batch dimension, where it is: NumPy, or CuPy on a GPU; None: not sent."""

    def parameters(self) -> str:
        """The request's parameters as JSON, or ""."""

    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""


@dataclass(frozen=True)
class Place:
    """Where in its pipeline a stage runs, known from the request: the same model serves several.

    Attributes:
        pipeline: that the request is for.
        request: what travels with it.
        earlier: sections of the stages before.
    """

    pipeline: Pipeline
    request: Request
    earlier: tuple[Section, ...] = ()

    @property
    def networks_before(self) -> list[str]:
        """Names of the networks between the last stage with a section and this one."""
        names: list[str] = []
        reporting = 0
        for step in self.pipeline.steps:
            if reports(step):
                if reporting == len(self.earlier):
                    return names
                reporting += 1
                names = []
            elif isinstance(step, Network):
                names.append(step.name)
        return []


class StageRequest:
    """One request as a stage sees it. Arrays are views of the sender's memory: valid until the stage returns.

    Args:
        sender: Triton's request, or this process's.
        place: where in which pipeline; None where a client calls the stage by itself.
    """

    def __init__(self, sender: Sender, place: Place | None = None) -> None:
        self._sender = sender
        self._place = place

    @property
    def place(self) -> Place:
        """Where in which pipeline.

        Raises:
            FacewrightError: INTERNAL for a stage that is a pipeline by itself.
        """
        if self._place is None:
            raise FacewrightError(ErrorCode.INTERNAL, "this request is for no pipeline", "call a pipeline")
        return self._place

    def option(self, name: str) -> Any:
        """One of the pipeline's options, validated; its default where the caller said nothing."""
        return self.place.request.options[name]

    def still_wanted(self) -> None:
        """For stages to call between their steps: work that nobody waits for ends here.

        Raises:
            FacewrightError: CANCELLED when the client has left, DEADLINE_EXCEEDED after its deadline.
        """
        if self.cancelled():
            raise FacewrightError(ErrorCode.CANCELLED, "the client has left", "nothing to do")
        if self._place:
            self._place.request.check_time(0.0)

    def given(self, tensor: Tensor) -> bool:
        """Whether an optional tensor was sent."""
        return self._sender.tensor(tensor.name) is not None

    def array(self, tensor: Tensor) -> NDArray[Any]:
        """A tensor without its batch dimension, in the memory where it is.

        Raises:
            FacewrightError: BAD_OPTION when it was not sent, or holds several photos.
        """
        value = self._sender.tensor(tensor.name)
        if value is None:
            raise FacewrightError(ErrorCode.BAD_OPTION, f"{tensor.name} was not sent", "send it")
        # A stage whose requests Triton batches must not be sent several photos in one.
        if len(value) != 1:
            raise FacewrightError(
                ErrorCode.BAD_OPTION,
                f"{tensor.name} holds {len(value)} photos",
                "send one photo in a request",
            )
        array: NDArray[Any] = value[0]
        return array

    def cancelled(self) -> bool:
        """Whether the client has left."""
        return self._sender.cancelled()

    def content(self, tensor: Tensor) -> bytes:
        """The bytes of a file or of JSON."""
        return self.array(tensor).tobytes()

    def photo(self) -> bytes:
        """The bytes of the photo.

        Raises:
            FacewrightError: PHOTO_TOO_LARGE, before they are copied.
        """
        content = self.array(PHOTO)
        if content.size > MAX_PHOTO_BYTES:
            raise FacewrightError(
                ErrorCode.PHOTO_TOO_LARGE,
                f"the photo has {content.size} bytes",
                f"send at most {MAX_PHOTO_BYTES >> 20} MiB",
            )
        return content.tobytes()

    @property
    def parameters(self) -> dict[str, OptionValue]:
        """The request parameters that the client sent.

        Raises:
            FacewrightError: BAD_OPTION when they hold a number that JSON cannot carry (NaN, infinity).
        """
        try:
            parameters: dict[str, OptionValue] = json.loads(
                self._sender.parameters() or "{}", parse_constant=_refuse_constant
            )
        except ValueError as error:
            raise FacewrightError(
                ErrorCode.BAD_OPTION,
                f"a request parameter is not a finite number ({error})",
                "send finite numbers, strings or booleans",
            ) from error
        return {name: value for name, value in parameters.items() if name not in _PROTOCOL_PARAMETERS}


def continued(sender: Sender, pipelines: Mapping[str, Pipeline], longest_wait_s: float) -> StageRequest:
    """A request that a pipeline's first stage has opened.

    Args:
        sender: of the request.
        pipelines: those that there are, by name.
        longest_wait_s: age at which a request is given up; 0: never.

    Raises:
        FacewrightError: BAD_OPTION when REQUEST or EARLIER_SECTIONS are not what the stages before write;
            DEADLINE_EXCEEDED or OVERLOADED when it comes too late.
    """
    bare = StageRequest(sender)
    request = Request.from_json(bare.content(REQUEST), pipelines)
    request.check_time(longest_wait_s)
    earlier = sections_from_json(bare.content(EARLIER_SECTIONS))
    return StageRequest(sender, Place(pipelines[request.pipeline], request, earlier))


def finished(stage: Stage, request: StageRequest, outputs: Outputs) -> Answer:
    """A stage's outputs as they leave it: its section behind those of the stages before, and, where it opens
    requests, what travels on.

    Args:
        stage: the model's row.
        request: that it answered.
        outputs: what it computed; arrays are passed on as they are.

    Raises:
        ValueError: the section holds a number that is not finite.
    """
    answer = {tensor: value for tensor, value in outputs.items() if not isinstance(value, Section)}
    section = outputs.get(SECTIONS, Section())
    assert isinstance(section, Section)
    place = request.place
    spent = {**waited_ms(place.earlier, place.networks_before), **section.milliseconds}
    own = replace(section, stage=stage.name, milliseconds=spent, ended_unix_s=time.time())
    answer[SECTIONS] = sections_to_json([*place.earlier, own]).encode()
    if stage.opens:
        answer[place.pipeline.request_output] = place.request.to_json().encode()
    return answer


def as_sent(value: NDArray[Any] | bytes) -> NDArray[Any]:
    """An array, or a file's bytes, as a tensor ``[1, ...]`` that may be lent on."""
    # DLPack cannot lend what is read-only, as bytes are.
    array = np.frombuffer(bytearray(value), np.uint8) if isinstance(value, bytes) else value
    return array[None]


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
