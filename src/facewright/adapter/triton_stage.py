"""A stage in Triton's Python stub: requests to arrays and back, errors to their wire form, metrics.

Runs where ``triton_python_backend_utils`` exists, and nowhere else.
"""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from facewright.adapter.departures import Departures
from facewright.adapter.failure import error_response, failure_of
from facewright.adapter.marks import NAMELESS, ExecutionMarks
from facewright.adapter.served_provenance import served_provenance
from facewright.adapter.stage_metrics import StageMetrics
from facewright.adapter.stage_model import BatchModel, Machine, StageModel, StreamModel
from facewright.adapter.stage_request import (
    Answer,
    Outputs,
    Place,
    StageRequest,
    as_sent,
    continued,
    finished,
)
from facewright.core.errors import FacewrightError
from facewright.pipelines.registry import pipelines
from facewright.pipelines.request import Request
from facewright.pipelines.section import Section
from facewright.pipelines.stages import Pipeline
from facewright_client.contract import ErrorCode


class TritonSender:
    """One of Triton's requests.

    Args:
        request: Triton's object.
        marks: of the process that holds it.
        departures: whose callers have left, as the gateway knows.
    """

    def __init__(self, request: Any, marks: ExecutionMarks, departures: Departures) -> None:
        self._request, self._marks, self._departures = request, marks, departures

    def tensor(self, name: str) -> NDArray[Any] | None:
        """A tensor with its batch dimension, where it is: NumPy, or CuPy on a GPU; None: not sent."""
        value = pb_utils.get_input_tensor_by_name(self._request, name)
        if value is None:
            return None
        if value.is_cpu():
            # DLPack and not as_numpy(): Triton 2.51's stub was built for NumPy 1 and misreads NumPy 2's
            # strides.
            array: NDArray[Any] = np.from_dlpack(value)
            return array
        import cupy

        on_gpu: NDArray[Any] = cupy.from_dlpack(value)
        return on_gpu

    def parameters(self) -> str:
        """The request's parameters as JSON, or ""."""
        return str(self._request.parameters() or "")

    def cancelled(self) -> bool:
        """Whether the client has left; who asks is alive, and marked so.

        Between the steps of an ensemble Triton passes a departure on, and within one only the gateway knows.
        """
        self._marks.still_here()
        return self._departures.include(self._request.request_id()) or bool(self._request.is_cancelled())


_SET_CAPSULE_NAME: Final = ctypes.pythonapi.PyCapsule_SetName
_SET_CAPSULE_NAME.argtypes = [ctypes.py_object, ctypes.c_char_p]
_USED_CAPSULE: Final = ctypes.c_char_p(b"used_dltensor")  # the name must outlive the capsules


def lend(name: str, array: NDArray[Any]) -> Any:
    """A Triton tensor over an array's memory, batch included.

    By DLPack, as inputs are: the constructor that takes an array misreads NumPy 2's.
    """
    if isinstance(array, np.ndarray):
        array = np.require(array, requirements=["C", "W"])
    capsule = array.__dlpack__()
    tensor = pb_utils.Tensor.from_dlpack(name, capsule)
    # Triton marks the capsule as used by another name than DLPack's, at which NumPy would complain.
    _SET_CAPSULE_NAME(capsule, _USED_CAPSULE)
    return tensor


def machine_of(parameters: Mapping[str, Any]) -> Machine:
    """What a model's config says of the machine."""
    on_gpu = parameters.get("network_device", {}).get("string_value") == "cuda"
    plans = parameters.get("network_plans", {}).get("string_value") == "yes"
    return Machine("cuda" if on_gpu else "cpu", plans)


class TritonStage:
    """Answers Triton's requests by a model.

    Args:
        model: what computes; it is loaded here.
        arguments: what Triton passes to ``initialize``.
    """

    def __init__(self, model: StageModel, arguments: Mapping[str, str]) -> None:
        self._model, self._stage = model, model.stage
        config = json.loads(arguments["model_config"])
        self._pipelines = pipelines()
        #: By the name of the REQUEST output: a request is for the pipeline whose REQUEST is wanted of it.
        self._opens = {
            row.request_output.name: row
            for row in self._pipelines.values()
            if any(output["name"] == row.request_output.name for output in config["output"])
        }
        self._alone = not self._opens and self._stage.opens
        self._provenances = {row.name: served_provenance(row) for row in self._opens.values()}
        self._metrics = StageMetrics(self._stage.name, self._stage.expected_s)
        model.load(machine_of(config.get("parameters", {})))
        self._departures = Departures()
        self._marks = ExecutionMarks(self._stage.name, arguments.get("model_instance_name", NAMELESS))

    def execute(self, requests: Sequence[Any]) -> list[Any] | None:
        """Answer each request with what the model computes, or with the wire form of what it raises."""
        if isinstance(self._model, StreamModel):
            self._stream(requests, self._model)
            return None
        if isinstance(self._model, BatchModel):
            with self._marks.holding([request.request_id() for request in requests]):
                return self._batch(requests, self._model)
        return [self._answer(request, self._model.compute) for request in requests]

    def _batch(self, requests: Sequence[Any], model: BatchModel) -> list[Any]:
        started = time.perf_counter()
        responses: list[Any] = [None] * len(requests)
        accepted: list[tuple[int, StageRequest, Any]] = []
        for index, request in enumerate(requests):
            try:
                stage_request = self._accepted(request)
                accepted.append((index, stage_request, model.accept(stage_request)))
            except Exception as error:
                responses[index] = self._failed(error)
        try:
            answers: Sequence[Outputs | Exception] = model.compute_batch([value for *_, value in accepted])
        except Exception as error:
            answers = [error] * len(accepted)
        for (index, stage_request, _), answer in zip(accepted, answers, strict=True):
            try:
                if isinstance(answer, Exception):
                    raise answer
                responses[index] = _response(requests[index], self._finished(stage_request, answer))
            except Exception as error:
                responses[index] = self._failed(error)
            else:
                self._metrics.answered(time.perf_counter() - started)
        return responses

    def _stream(self, requests: Sequence[Any], model: StreamModel) -> None:
        for request in requests:
            sender = request.get_response_sender()

            def send(outputs: Outputs, request: Any = request, sender: Any = sender) -> None:
                sender.send(_response(request, _plain(outputs)))

            def answer(stage_request: StageRequest, send: Callable[[Outputs], None] = send) -> Outputs:
                return model.compute_stream(stage_request, send)

            last = self._answer(request, answer)
            sender.send(last, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _answer(self, request: Any, compute: Callable[[StageRequest], Outputs]) -> Any:
        started = time.perf_counter()
        with self._marks.holding([request.request_id()]):
            try:
                stage_request = self._accepted(request)
                response = _response(request, self._finished(stage_request, compute(stage_request)))
            except Exception as error:
                return self._failed(error)
        self._metrics.answered(time.perf_counter() - started)
        return response

    def _accepted(self, request: Any) -> StageRequest:
        """A request whose caller is still there, whose options are allowed and that is not too late."""
        sender = TritonSender(request, self._marks, self._departures)
        if sender.cancelled():
            message = f"the client left before {self._stage.name} began"
            raise FacewrightError(ErrorCode.CANCELLED, message, "nothing to do")
        if self._alone:
            return StageRequest(sender)
        if not self._stage.opens:
            return continued(sender, self._stage, self._pipelines)
        row = self._pipeline_of(request)
        parameters = StageRequest(sender).parameters
        return StageRequest(
            sender, Place(row, Request.accepted(row, parameters, self._provenances[row.name]))
        )

    def _pipeline_of(self, request: Any) -> Pipeline:
        wanted = [self._opens[name] for name in request.requested_output_names() if name in self._opens]
        if len(wanted) == 1:
            return wanted[0]
        if len(self._opens) == 1:
            return next(iter(self._opens.values()))
        raise FacewrightError(
            ErrorCode.BAD_OPTION,
            f"{self._stage.name} was asked for the requests of {len(wanted)} pipelines",
            f"call a pipeline, or ask for one of {', '.join(self._opens)}",
        )

    def _finished(self, request: StageRequest, outputs: Outputs) -> Answer:
        return _plain(outputs) if self._alone else finished(self._stage, request, outputs)

    def _failed(self, error: Exception) -> Any:
        failure = failure_of(error, self._stage.name)
        self._metrics.failed(failure.code)
        return error_response(failure)


def _plain(outputs: Outputs) -> Answer:
    """The outputs of a stage that is no part of an ensemble: nobody reads its section."""
    return {tensor: value for tensor, value in outputs.items() if not isinstance(value, Section)}


def _response(request: Any, answer: Answer) -> Any:
    """Triton's response with those tensors that are wanted."""
    wanted = set(request.requested_output_names())
    return pb_utils.InferenceResponse(
        [lend(tensor.name, as_sent(value)) for tensor, value in answer.items() if tensor.name in wanted]
    )
