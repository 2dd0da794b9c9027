"""Serves any network on the Python backend: the ONNX file beside ``model.py``, run by ONNX Runtime.

Runs inside Triton's Python stub. Every network has the same three-line ``model.py`` that imports
`TritonPythonModel`; the tensorrt profile replaces both by Triton's own TensorRT backend.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import triton_python_backend_utils as pb_utils

from facewright.adapter.departures import Departures
from facewright.adapter.failure import error_response, failure_of
from facewright.adapter.marks import NAMELESS, ExecutionMarks
from facewright.adapter.stage_metrics import StageMetrics
from facewright.adapter.triton_stage import TritonSender, lend, machine_of
from facewright.core.errors import FacewrightError
from facewright.engines.onnx_engine import OnnxEngine
from facewright.pipelines.registry import networks, pipelines
from facewright_client.contract import ErrorCode

#: Of a network that is in no pipeline, seconds.
_EXPECTED_S: Final = 0.1


class TritonPythonModel:
    """The adapter that Triton loads, whole batches in and out."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network of this version."""
        self._name = args["model_name"]
        machine = machine_of(json.loads(args["model_config"]).get("parameters", {}))
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._network = OnnxEngine(path, machine.device)
        row = networks(pipelines()).get(self._name)
        self._metrics = StageMetrics(self._name, row.expected_s if row else _EXPECTED_S)
        self._departures = Departures()
        self._marks = ExecutionMarks(self._name, args.get("model_instance_name", NAMELESS))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request."""
        answers = []
        for request in requests:
            with self._marks.holding([request.request_id()]):
                answers.append(self._answer(request))
        return answers

    def _answer(self, request: Any) -> Any:
        started = time.perf_counter()
        try:
            sender = TritonSender(request, self._marks, self._departures)
            if sender.cancelled():
                message = f"the client left before {self._name} began"
                raise FacewrightError(ErrorCode.CANCELLED, message, "nothing to do")
            results = self._network.run(
                {name: array for name in self._network.inputs if (array := sender.tensor(name)) is not None}
            )
            wanted = set(request.requested_output_names())
            response = pb_utils.InferenceResponse(
                [lend(name, array) for name, array in results.items() if name in wanted]
            )
        except Exception as error:
            failure = failure_of(error, self._name)
            self._metrics.failed(failure.code)
            return error_response(failure)
        self._metrics.answered(time.perf_counter() - started)
        return response
