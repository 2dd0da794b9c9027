"""Latents refined as by ``refine_latent``, with an answer about every iteration on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from facewright.adapter.refinement_tensors import (
    RefinementMetrics,
    progress_outputs,
    refined_outputs,
    refinement_request,
)
from facewright.adapter.stage import Outputs, Stage, StageRequest
from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.refine.device import RefinementDevice
from facewright.refine.service import LatentRefiner, RefinementProgress, refinement_folder


class TritonPythonModel:
    """The adapter that Triton loads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load networks and head."""
        self._stage = Stage("refine_latent_progress", args)
        self._metrics = RefinementMetrics("refine_latent_progress")
        device = RefinementDevice.named(self._stage.network_device, self._stage.network_plans)
        head = HeadModel.load(asset_path("head.npz"))
        self._refiner = LatentRefiner.load(refinement_folder(), head, device)

    def execute(self, requests: list[Any]) -> None:
        """Answer Triton's requests."""
        self._stage.stream(requests, self._refine)

    def _refine(self, request: StageRequest, send: Callable[[Outputs], None]) -> Outputs:
        def report(progress: RefinementProgress) -> None:
            send(progress_outputs(progress))

        (answer,) = self._refiner.refine([refinement_request(request, self._refiner.has_identity, report)])
        if isinstance(answer, FacewrightError):
            raise answer
        self._metrics.refined(answer.info)
        return refined_outputs(answer)
