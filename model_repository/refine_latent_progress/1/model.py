"""Latents refined as by ``refine_latent``, with an answer about every iteration on the way."""

from __future__ import annotations

from collections.abc import Callable

from facewright.adapter.refinement_tensors import (
    RefinementMetrics,
    progress_outputs,
    refined_outputs,
    refinement_request,
)
from facewright.adapter.served_files import served_refinement
from facewright.adapter.stage_model import Machine, StreamModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.pipelines.refinement import REFINE_LATENT_PROGRESS
from facewright.refine.device import RefinementDevice
from facewright.refine.service import LatentRefiner, RefinementProgress


class TritonPythonModel(StreamModel):
    """The adapter that Triton loads."""

    stage = REFINE_LATENT_PROGRESS

    def load(self, machine: Machine) -> None:
        """Load networks and head."""
        self._metrics = RefinementMetrics(self.stage.name)
        device = RefinementDevice.named(machine.device, machine.plans)
        head = HeadModel.load(asset_path("head.npz"))
        self._refiner = LatentRefiner.load(served_refinement(), head, device)

    def compute_stream(self, request: StageRequest, send: Callable[[Outputs], None]) -> Outputs:
        """Refine one photo."""

        def report(progress: RefinementProgress) -> None:
            send(progress_outputs(progress))

        (answer,) = self._refiner.refine([refinement_request(request, self._refiner.has_identity, report)])
        if isinstance(answer, FacewrightError):
            raise answer
        self._metrics.refined(answer.info)
        return refined_outputs(answer)
