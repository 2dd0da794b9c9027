"""Latents refined until the render matches the photo; what it computes is in ``facewright.refine.loop``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from facewright.adapter.refinement_tensors import RefinementMetrics, refined_outputs, refinement_request
from facewright.adapter.stage import Outputs, Stage, StageRequest
from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.refine.device import RefinementDevice
from facewright.refine.service import LatentRefiner, RefinementRequest, refinement_folder


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
