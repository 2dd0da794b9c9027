"""What every ``model.py`` shares: tensors to arrays and back, errors to their wire form, clocks, metrics.

Runs inside Triton's Python stub, where ``triton_python_backend_utils`` exists. A stage's own code sees a
`StageRequest` and returns arrays and bytes by tensor.
"""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from facewright.adapter.carried_options import refuse_bad_info
from facewright.adapter.failure import error_response, failure_of
from facewright.adapter.request_clock import RequestClock
from facewright.adapter.stage_metrics import StageMetrics
from facewright.core.errors import FacewrightError
from facewright_client.contract import FIT_INFO, MAX_PHOTO_BYTES, PHOTO, PHOTO_INFO, STAGES, ErrorCode, Tensor

Outputs = Mapping[Tensor, NDArray[Any] | bytes]
#: What a stage makes of a request before it computes.
Accepted = TypeVar("Accepted")

#: Where a request that has waited too long is given up: before the costly work, never after it, or an
#: overloaded server would do it all in vain.
_GIVE_UP: Final = frozenset({"fit_head", "bake_texture"})


class StageRequest:
    """One request as a stage sees it. Arrays are views of Triton's memory: valid until the stage returns."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._clock: RequestClock | None = None

    def carries(self, clock: RequestClock) -> None:
        """Times that came with the request, for `still_wanted`."""
        self._clock = clock

    def still_wanted(self) -> None:
        """For stages to call between their steps: work that nobody waits for ends here.

        Raises:
            FacewrightError: CANCELLED when the client has left, DEADLINE_EXCEEDED after its deadline.
        """
        if self.cancelled():
            raise FacewrightError(ErrorCode.CANCELLED, "the client has left", "nothing to do")
        if self._clock:
            self._clock.check(0.0)

    def array(self, tensor: Tensor) -> NDArray[Any]:
        """A tensor without its batch dimension, read-only."""
        # DLPack and not as_numpy(): Triton 2.51's stub was built for NumPy 1 and misreads NumPy 2's strides.
        value: NDArray[Any] = np.from_dlpack(pb_utils.get_input_tensor_by_name(self._request, tensor.name))
        return _without_batch(tensor, value)

    def array_in_place(self, tensor: Tensor) -> NDArray[Any]:
        """A tensor without its batch dimension in the memory where it is: NumPy, or CuPy on a GPU."""
        value = pb_utils.get_input_tensor_by_name(self._request, tensor.name)
        if value.is_cpu():
            return self.array(tensor)
        import cupy

        return _without_batch(tensor, cupy.from_dlpack(value))

    def cancelled(self) -> bool:
        """Whether the client has left."""
        return bool(self._request.is_cancelled())

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
    def parameters(self) -> dict[str, Any]:
        """The request parameters that the client sent.

        Raises:
            FacewrightError: BAD_OPTION when they hold a number that JSON cannot carry (NaN, infinity).
        """
        text = self._request.parameters()
        try:
            parameters: dict[str, Any] = json.loads(text or "{}", parse_constant=_refuse_constant)
        except ValueError as error:
            raise FacewrightError(
                ErrorCode.BAD_OPTION,
                f"a request parameter is not a finite number ({error})",
                "send finite numbers, strings or booleans",
            ) from error
        return {name: value for name, value in parameters.items() if name not in _PROTOCOL_PARAMETERS}


#: What Triton's own protocol puts among the request parameters.
_PROTOCOL_PARAMETERS: Final = frozenset(
    {"binary_data_output", "sequence_id", "sequence_start", "sequence_end", "priority", "timeout"}
    | {"triton_enable_empty_final_response", "triton_final_response", "headers"}
)


_SET_CAPSULE_NAME: Final = ctypes.pythonapi.PyCapsule_SetName
_SET_CAPSULE_NAME.argtypes = [ctypes.py_object, ctypes.c_char_p]
_USED_CAPSULE: Final = ctypes.c_char_p(b"used_dltensor")  # the name must outlive the capsules


def lend(name: str, array: NDArray[Any]) -> Any:
    """A Triton tensor over an array's memory, batch included.

    By DLPack, as inputs are: the constructor that takes an array misreads NumPy 2's.
    """
    array = np.require(array, requirements=["C", "W"])
    capsule = array.__dlpack__()
    tensor = pb_utils.Tensor.from_dlpack(name, capsule)
    # Triton marks the capsule as used by another name than DLPack's, at which NumPy would complain.
    _SET_CAPSULE_NAME(capsule, _USED_CAPSULE)
    return tensor


def _lent(name: str, value: NDArray[Any] | bytes) -> Any:
    """A Triton tensor ``[1, ...]`` over an array's or a file's memory."""
    # DLPack cannot lend what is read-only, as bytes are.
    array = np.frombuffer(bytearray(value), np.uint8) if isinstance(value, bytes) else value
    return lend(name, array[None])


def _without_batch(tensor: Tensor, value: NDArray[Any]) -> NDArray[Any]:
    # A stage whose requests Triton batches must not be sent several photos in one.
    if len(value) != 1:
        raise FacewrightError(
            ErrorCode.BAD_OPTION, f"{tensor.name} holds {len(value)} photos", "send one photo in a request"
        )
    array: NDArray[Any] = value[0]
    return array


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


class Stage:
    """The adapter of one stage.

    Args:
        name: of the stage, a key of the contract's ``STAGES``.
        arguments: what Triton passes to ``initialize``.
    """

    def __init__(self, name: str, arguments: Mapping[str, str]) -> None:
        self.name = name
        self._inputs, self._outputs = STAGES[name]
        parameters = json.loads(arguments["model_config"]).get("parameters", {})
        on_gpu = parameters.get("network_device", {}).get("string_value") == "cuda"
        #: Where this stage's networks run.
        self.network_device: Literal["cpu", "cuda"] = "cuda" if on_gpu else "cpu"
        #: Whether it runs the TensorRT plans of its networks that there are.
        self.network_plans = parameters.get("network_plans", {}).get("string_value") == "yes"
        longest_wait_s = float(os.environ.get("FACEWRIGHT_LONGEST_WAIT_MS", "0")) / 1e3
        self._longest_wait_s = longest_wait_s if name in _GIVE_UP else 0.0
        self._infos = [tensor for tensor in (PHOTO_INFO, FIT_INFO) if tensor in self._inputs]
        self._metrics = StageMetrics(name)

    def execute(self, requests: Sequence[Any], compute: Callable[[StageRequest], Outputs]) -> list[Any]:
        """Answer each request with what ``compute`` returns, or with the wire form of what it raises."""
        return [self._answer(request, compute) for request in requests]

    def execute_batch(
        self,
        requests: Sequence[Any],
        accept: Callable[[StageRequest], Accepted],
        compute: Callable[[Sequence[Accepted]], Sequence[Outputs | FacewrightError]],
    ) -> list[Any]:
        """Answer requests that Triton has collected, together.

        Args:
            requests: Triton's.
            accept: reads one request; what it raises fails that request alone.
            compute: gives an answer or an error for each that was accepted.
        """
        started = time.perf_counter()
        responses: list[Any] = [None] * len(requests)
        accepted: list[tuple[int, Accepted]] = []
        for index, request in enumerate(requests):
            try:
                accepted.append((index, accept(self._accepted(request))))
            except Exception as error:
                responses[index] = self._failed(error)
        try:
            answers: Sequence[Outputs | Exception] = compute([value for _, value in accepted])
        except Exception as error:
            answers = [error] * len(accepted)
        for (index, _), answer in zip(accepted, answers, strict=True):
            try:
                if isinstance(answer, Exception):
                    raise answer
                responses[index] = self._response(requests[index], answer, self._outputs)
            except Exception as error:
                responses[index] = self._failed(error)
            else:
                self._metrics.answered(time.perf_counter() - started)
        return responses

    def stream(
        self,
        requests: Sequence[Any],
        compute: Callable[[StageRequest, Callable[[Outputs], None]], Outputs],
    ) -> None:
        """Answer each request of a decoupled model several times.

        Args:
            requests: Triton's.
            compute: is given the request and a function that sends some of the outputs on at once; returns
                those of the last answer.
        """
        for request in requests:
            sender = request.get_response_sender()

            def send(outputs: Outputs, request: Any = request, sender: Any = sender) -> None:
                sender.send(self._response(request, outputs, tuple(outputs)))

            def answer(stage_request: StageRequest, send: Callable[[Outputs], None] = send) -> Outputs:
                return compute(stage_request, send)

            last = self._answer(request, answer, whole=False)
            sender.send(last, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _answer(self, request: Any, compute: Callable[[StageRequest], Outputs], whole: bool = True) -> Any:
        """The response, ``whole``: with every output that the caller asked for."""
        started = time.perf_counter()
        try:
            outputs = compute(self._accepted(request))
            response = self._response(request, outputs, self._outputs if whole else tuple(outputs))
        except Exception as error:
            return self._failed(error)
        self._metrics.answered(time.perf_counter() - started)
        return response

    def _accepted(self, request: Any) -> StageRequest:
        """A request whose caller is still there, whose options are allowed and that is not too late."""
        if request.is_cancelled():
            raise FacewrightError(
                ErrorCode.CANCELLED, f"the client left before {self.name} began", "nothing to do"
            )
        stage_request = StageRequest(request)
        for tensor in self._infos:
            info = stage_request.content(tensor)
            refuse_bad_info(tensor.name, info)
            clock = RequestClock.from_info(info)
            clock.check(self._longest_wait_s)
            stage_request.carries(clock)
        return stage_request

    def _response(self, request: Any, outputs: Outputs, tensors: Sequence[Tensor]) -> Any:
        wanted = set(request.requested_output_names())
        return pb_utils.InferenceResponse(
            [_lent(tensor.name, outputs[tensor]) for tensor in tensors if tensor.name in wanted]
        )

    def _failed(self, error: Exception) -> Any:
        failure = failure_of(error, self.name)
        self._metrics.failed(failure.code)
        return error_response(failure)
