"""Serves any exported network on the Python backend: the ONNX file beside ``model.py``, run by ONNX Runtime.

Runs inside Triton's Python stub. The exporter writes a ``model.py`` that imports `TritonPythonModel` from
here; the tensorrt profile replaces both by Triton's own TensorRT backend.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from facewright.adapter.failure import error_response, failure_of
from facewright.adapter.stage import lend
from facewright.engines.onnx_engine import OnnxEngine


class TritonPythonModel:
    """The adapter that Triton loads, whole batches in and out."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network of this version."""
        self._name = args["model_name"]
        parameters = json.loads(args["model_config"]).get("parameters", {})
        on_gpu = parameters.get("network_device", {}).get("string_value") == "cuda"
        device: Literal["cpu", "cuda"] = "cuda" if on_gpu else "cpu"
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._network = OnnxEngine(path, device)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            # By DLPack: Triton 2.51's stub was built for NumPy 1 and misreads NumPy 2's arrays.
            given: dict[str, NDArray[Any]] = {
                name: np.from_dlpack(pb_utils.get_input_tensor_by_name(request, name))
                for name in self._network.inputs
            }
            results = self._network.run(given)
            wanted = set(request.requested_output_names())
            return pb_utils.InferenceResponse(
                [lend(name, array) for name, array in results.items() if name in wanted]
            )
        except Exception as error:
            return error_response(failure_of(error, self._name))
