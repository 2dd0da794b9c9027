"""One request as a stage sees it, wherever it comes from, and what becomes of the stage's answer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from facewright.core.errors import FacewrightError
from facewright.core.options import OptionValue
from facewright.pipelines.request import Request
from facewright.pipelines.section import Section, sections_from_json, sections_to_json, waited_ms
from facewright.pipelines.stages import (
    EARLIER_SECTIONS,
    PROTOCOL_PARAMETERS,
    REQUEST,
    SECTIONS,
    Network,
    Pipeline,
    Stage,
    reports,
)
from facewright_client.contract import MAX_PHOTO_BYTES, PHOTO, ErrorCode, Tensor

#: What a stage computes: arrays without a batch dimension, files, and under SECTIONS its part of the report.
Outputs = Mapping[Tensor, NDArray[Any] | bytes | Section]
#: The same as it leaves the stage.
Answer = dict[Tensor, NDArray[Any] | bytes]


#: Of REQUEST and of EARLIER_SECTIONS; a whole report of ``avatar_twin`` has 10 kB.
MOST_JSON_BYTES: Final = 256 << 10


_DTYPES: Final = {"TYPE_FP32": "float32", "TYPE_UINT8": "uint8", "TYPE_INT32": "int32", "TYPE_INT64": "int64"}


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
        arrived_unix_s: when the stage took it, seconds since 1970.
    """

    pipeline: Pipeline
    request: Request
    earlier: tuple[Section, ...] = ()
    arrived_unix_s: float = field(default_factory=time.time)

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

    def completed(self, section: Section, stage: str) -> Section:
        """A stage's section with its name, and with the time that networks just before it took."""
        waited = waited_ms(self.earlier, self.networks_before, self.arrived_unix_s)
        spent = {**waited, **section.milliseconds}
        return replace(section, stage=stage, milliseconds=spent, ended_unix_s=time.time())


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

    def option(self, name: str, absent: Any = None) -> Any:
        """One of the pipeline's options, validated; its default where the caller said nothing.

        Args:
            name: which.
            absent: what it is in a pipeline that does not have it.

        Raises:
            FacewrightError: INTERNAL when the pipeline has no such option, and ``absent`` is None.
        """
        options = self.place.request.options
        if name not in options and absent is not None:
            return absent
        if name not in options:
            raise FacewrightError(
                ErrorCode.INTERNAL,
                f"the stage reads the option {name!r}, which {self.place.pipeline.name} does not have",
                f"name it in the stage's options; there are {', '.join(options)}",
            )
        return options[name]

    def still_wanted(self) -> None:
        """For stages to call between their steps: work that nobody waits for ends here.

        Raises:
            FacewrightError: CANCELLED when the client has left, DEADLINE_EXCEEDED after its deadline.
        """
        if self.cancelled():
            raise FacewrightError(ErrorCode.CANCELLED, "the client has left", "nothing to do")
        if self._place:
            self._place.request.check_time()

    def is_read(self, tensor: Tensor) -> bool:
        """Whether another step of the pipeline, or its caller, takes a tensor: one that nobody does may be
        left out of the outputs.
        """
        row = self.place.pipeline
        return tensor in row.gives or any(tensor in step.takes for step in row.steps)

    def given(self, tensor: Tensor) -> bool:
        """Whether an optional tensor was sent."""
        return self._sender.tensor(tensor.name) is not None

    def array(self, tensor: Tensor) -> NDArray[Any]:
        """A tensor without its batch dimension, in the memory where it is.

        Raises:
            FacewrightError: BAD_OPTION when it was not sent, or holds several photos; INTERNAL when an
                earlier step's numbers are not finite (looked at in the host's memory only: nobody waits for a
                GPU here).
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
        between_steps = self._place is not None and tensor not in self._place.pipeline.takes
        if between_steps and isinstance(array, np.ndarray) and not _finite(array):
            raise FacewrightError(
                ErrorCode.INTERNAL,
                f"{tensor.name} holds numbers that are not finite",
                "the step before has a defect, or its network's weights are damaged",
            )
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
        return {name: value for name, value in parameters.items() if name not in PROTOCOL_PARAMETERS}


def continued(sender: Sender, stage: Stage, pipelines: Mapping[str, Pipeline]) -> StageRequest:
    """A request that a pipeline's first stage has opened.

    Args:
        sender: of the request.
        stage: that is to answer it.
        pipelines: those that there are, by name.

    Raises:
        FacewrightError: BAD_OPTION when REQUEST or EARLIER_SECTIONS are not what the stages before write;
            DEADLINE_EXCEEDED when it comes too late.
    """
    bare = StageRequest(sender)
    request = Request.from_json(_bounded(bare, REQUEST), pipelines)
    row = pipelines[request.pipeline]
    if stage.name not in {step.name for step in row.steps}:
        raise FacewrightError(
            ErrorCode.BAD_OPTION, f"{row.name} has no step {stage.name}", "call the pipeline itself"
        )
    request.check_time()
    return StageRequest(sender, Place(row, request, sections_from_json(_bounded(bare, EARLIER_SECTIONS))))


def _finite(array: NDArray[Any]) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _bounded(request: StageRequest, tensor: Tensor) -> bytes:
    """JSON of at most `MOST_JSON_BYTES`: a parser is not to be kept busy by whoever calls a stage itself."""
    content = request.array(tensor)
    if content.nbytes > MOST_JSON_BYTES:
        raise FacewrightError(
            ErrorCode.BAD_OPTION,
            f"{tensor.name} has {content.nbytes} bytes",
            f"the stages before write at most {MOST_JSON_BYTES}",
        )
    return content.tobytes()


def finished(stage: Stage, request: StageRequest, outputs: Outputs) -> Answer:
    """A stage's outputs as they leave it: its section behind those of the stages before, and, where it opens
    requests, what travels on.

    Args:
        stage: the model's row.
        request: that it answered.
        outputs: what it computed; arrays are passed on as they are.

    Raises:
        FacewrightError: INTERNAL when the outputs are not those of the row, or the section is no JSON.
    """
    _require_outputs(stage, request, outputs)
    answer = {tensor: value for tensor, value in outputs.items() if not isinstance(value, Section)}
    section = outputs.get(SECTIONS, Section())
    if not isinstance(section, Section):
        raise _faulty(stage, f"a {type(section).__name__} as its section", "give a Section under SECTIONS")
    place = request.place
    own = place.completed(section, stage.name)
    try:
        answer[SECTIONS] = sections_to_json([*place.earlier, own]).encode()
    except (ValueError, TypeError) as error:
        raise _faulty(stage, f"a section that is no JSON ({error})", "round, and call float()") from error
    if stage.opens:
        answer[place.pipeline.request_output] = place.request.to_json().encode()
    return answer


def _require_outputs(stage: Stage, request: StageRequest, outputs: Outputs) -> None:
    """Refuse what the stages after could not take, here, where its cause is."""
    if not isinstance(outputs, Mapping):
        raise _faulty(
            stage, f"a {type(outputs).__name__}", "compute returns a mapping of Tensor to array or bytes"
        )
    known = {tensor.name: tensor for tensor in stage.gives}
    strange = [tensor.name for tensor in outputs if tensor.name not in known and tensor != SECTIONS]
    # A stream leaves out in its last answer what it sent before.
    absent = known.keys() - {tensor.name for tensor in outputs} if not stage.streams else set()
    missing = sorted(name for name in absent if request.is_read(known[name]))
    if strange or missing:
        what = f"no {', '.join(missing)}" if missing else ", ".join(strange)
        raise _faulty(stage, what, f"its row says that it gives {', '.join(known)}")
    for tensor, value in outputs.items():
        if isinstance(value, (bytes, Section)) or tensor.name not in known:
            continue
        fits = len(value.shape) == len(tensor.shape) and all(
            want in (-1, have) for want, have in zip(tensor.shape, value.shape, strict=True)
        )
        if str(value.dtype) != _DTYPES.get(tensor.dtype, str(value.dtype)) or not fits:
            wanted = f"{_DTYPES.get(tensor.dtype, tensor.dtype)} {list(tensor.shape)}"
            raise _faulty(stage, f"{tensor.name} as {value.dtype} {list(value.shape)}", f"it is {wanted}")


def _faulty(stage: Stage, what: str, hint: str) -> FacewrightError:
    return FacewrightError(ErrorCode.INTERNAL, f"{stage.name} gave {what}", hint, stage.name)


def as_sent(value: NDArray[Any] | bytes) -> NDArray[Any]:
    """An array, or a file's bytes, as a tensor ``[1, ...]`` that may be lent on."""
    # DLPack cannot lend what is read-only, as bytes are.
    array = np.frombuffer(bytearray(value), np.uint8) if isinstance(value, bytes) else value
    return array[None]


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
