"""Whether a server really answers: Triton says "ready" even when a stage has died, so a photo is sent.

Over Triton's own socket: neither the queue at the front door nor what encrypts it is in the way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from facewright.pipelines.stages import Pipeline
from facewright_client import (
    DeadlineExceededError,
    FacewrightClientError,
    OverloadedError,
)
from facewright_client._errors import error_from_answer
from facewright_client.contract import PHOTO, Tensor

#: A public-domain portrait (NASA), 256 x 256.
PROBE_PHOTO: Final = Path(__file__).with_name("probe.jpg")
_SHORT_S: Final = 5.0
_OPTIONS: Final = (("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0))


class LivenessProbe:
    """Asks a server for avatars of a portrait that comes with the package, by every pipeline that takes one.

    Args:
        socket: path of Triton's Unix socket.
        served: the pipelines by name.
    """

    def __init__(self, socket: Path, served: Mapping[str, Pipeline]) -> None:
        self._channel = grpc.insecure_channel(f"unix:{socket}", _OPTIONS)
        self._triton = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._photo = PROBE_PHOTO.read_bytes()
        self._served = tuple(served)
        needed = {
            name: [tensor for tensor in row.takes if not tensor.optional] for name, row in served.items()
        }
        self._asked = [row for name, row in served.items() if needed[name] == [PHOTO]]
        self._answered: dict[str, int] = {}

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def ready(self) -> bool:
        """Whether Triton says that every pipeline is loaded."""
        try:
            return all(
                _asked(self._triton.ModelReady, service_pb2.ModelReadyRequest(name=name), _SHORT_S).ready
                for name in self._served
            )
        except FacewrightClientError:
            return False

    def warm_up(self, requests: int, timeout_s: float) -> None:
        """Send ``requests`` at once, so that each instance of each stage has worked before users come.

        For what callers get who name no options: a texture's tables are made at the first use of its size.

        Raises:
            FacewrightClientError: a stage fails.
        """
        until = time.monotonic() + timeout_s

        def one(row: Pipeline, number: int) -> None:
            # The first pays for every output, the others for what callers always want.
            outputs = row.gives if number == 0 else row.gives[:2]
            while True:
                try:
                    self._create(row, outputs, {}, max(until - time.monotonic(), 1.0))
                    return
                except OverloadedError:  # cold stages are slower than the longest wait may allow
                    if time.monotonic() > until:
                        raise

        for row in self._asked:
            with ThreadPoolExecutor(requests) as pool:
                for answer in [pool.submit(one, row, number) for number in range(requests)]:
                    answer.result()

    def alive(self, timeout_s: float) -> bool:
        """Whether users of every pipeline were answered since the last call, or else the probe is now.

        A refusal (overloaded, deadline) is an answer; silence, a lost connection and INTERNAL are not.
        """
        return all(self._pipeline_alive(row, timeout_s) for row in self._asked)

    def _pipeline_alive(self, row: Pipeline, timeout_s: float) -> bool:
        before = self._answered.get(row.name, -1)
        try:
            answered = self._answers(row)
        except FacewrightClientError:
            # A busy server may count slowly. Only a photo tells whether it lives.
            answered = before
        try:
            if answered == before:
                self._create(row, row.gives[:1], smallest_options(row), timeout_s)
                answered += 1
            self._answered[row.name] = answered
        except (OverloadedError, DeadlineExceededError) as error:
            return bool(error.stage)  # a stage's own refusal names it; a deadline that passed in silence not
        except FacewrightClientError:
            return False
        return True

    def _answers(self, row: Pipeline) -> int:
        question = service_pb2.ModelStatisticsRequest(name=row.name)
        (model,) = _asked(self._triton.ModelStatistics, question, _SHORT_S).model_stats
        return int(model.inference_stats.success.count)

    def _create(
        self, row: Pipeline, outputs: Sequence[Tensor], options: Mapping[str, int], timeout_s: float
    ) -> None:
        request = service_pb2.ModelInferRequest(model_name=row.name, raw_input_contents=[self._photo])
        request.inputs.add(name=PHOTO.name, datatype="UINT8", shape=[1, len(self._photo)])
        wanted = [tensor.name for tensor in outputs]
        for output in (*wanted, *row.also_wanted(wanted)):
            request.outputs.add(name=output)
        for name, value in options.items():
            request.parameters[name].int64_param = value
        _asked(self._triton.ModelInfer, request, timeout_s)


def _asked(method: Callable[..., Any], question: Any, timeout_s: float) -> Any:
    try:
        return method(question, timeout=timeout_s)
    except grpc.RpcError as error:
        raise error_from_answer(error.code().name, error.details() or "") from None


def smallest_options(row: Pipeline) -> dict[str, int]:
    """Options that make a pipeline's cheapest answer."""
    sizes = row.options["texture_size"].choices if "texture_size" in row.options else ()
    smallest = {"texture_size": min(map(int, sizes))} if sizes else {}
    steps = row.options.get("iterations")
    return smallest if steps is None else smallest | {"iterations": int(steps.minimum or 0)}
