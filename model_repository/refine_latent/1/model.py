"""Latents refined until the render matches the photo; what it computes is in ``facewright.refine``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from facewright.errors import FacewrightError
from facewright.head_model import HeadModel
from facewright.open_assets_location import asset_path
from facewright.refinement_device import RefinementDevice
from facewright.refinement_service import LatentRefiner, RefinementRequest, refinement_folder
from facewright.server.refinement_tensors import RefinementMetrics, refined_outputs, refinement_request
from facewright.server.stage import Outputs, Stage, StageRequest


class TritonPythonModel:
    """The adapter that Triton loads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load networks and head."""
        self._stage = Stage("refine_latent", args)
        self._metrics = RefinementMetrics("refine_latent")
        device = RefinementDevice.named(self._stage.network_device, self._stage.network_plans)
        head = HeadModel.load(asset_path("head.npz"))
        self._refiner = LatentRefiner.load(refinement_folder(), head, device)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer Triton's requests."""
        return self._stage.execute_batch(requests, self._accept, self._refine)

    def _accept(self, request: StageRequest) -> RefinementRequest:
        return refinement_request(request, self._refiner.has_identity)

    def _refine(self, requests: Sequence[RefinementRequest]) -> list[Outputs | FacewrightError]:
        answers: list[Outputs | FacewrightError] = []
        for answer in self._refiner.refine(requests):
            if isinstance(answer, FacewrightError):
                answers.append(answer)
                continue
            self._metrics.refined(answer.info)
            answers.append(refined_outputs(answer))
        return answers
