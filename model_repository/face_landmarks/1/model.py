"""The landmark network; the tensorrt profile replaces this file by Triton's TensorRT backend."""

from __future__ import annotations

from typing import Any

from facewright.adapter.stage import Outputs, Stage, StageRequest
from facewright.core.assets import asset_path
from facewright.engines.onnx_engine import OnnxEngine
from facewright_client import contract


class TritonPythonModel:
    """The adapter that Triton loads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network."""
        self._stage = Stage("face_landmarks", args)
        self._network = OnnxEngine(asset_path("face_landmarks.onnx"), self._stage.network_device)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer Triton's requests."""
        return self._stage.execute(requests, self._run)

    def _run(self, request: StageRequest) -> Outputs:
        results = self._network.run({"LANDMARK_INPUT": request.array(contract.LANDMARK_INPUT)[None]})
        return {
            contract.NETWORK_LANDMARKS: results["NETWORK_LANDMARKS"][0],
            contract.FACE_SCORE: results["FACE_SCORE"][0],
        }
