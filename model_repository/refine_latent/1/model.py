"""Latents refined until the render matches the photo; what it computes is in ``facewright.refine``."""

from __future__ import annotations

from collections.abc import Sequence

from facewright.adapter.refinement_tensors import RefinementMetrics, refined_outputs, refinement_request
from facewright.adapter.served_files import served_refinement
from facewright.adapter.stage_model import BatchModel, Machine
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.pipelines.refinement import REFINE_LATENT
from facewright.refine.device import RefinementDevice
from facewright.refine.service import LatentRefiner, RefinementRequest


class TritonPythonModel(BatchModel):
    """The adapter that Triton loads."""

    stage = REFINE_LATENT

    def load(self, machine: Machine) -> None:
        """Load networks and head."""
        self._metrics = RefinementMetrics(self.stage.name)
        device = RefinementDevice.named(machine.device, machine.plans)
        head = HeadModel.load(asset_path("head.npz"))
        self._refiner = LatentRefiner.load(served_refinement(), head, device)

    def accept(self, request: StageRequest) -> RefinementRequest:
        """What to refine."""
        return refinement_request(request, self._refiner.has_identity)

    def compute_batch(self, accepted: Sequence[RefinementRequest]) -> list[Outputs | FacewrightError]:
        """Refine photos together."""
        answers: list[Outputs | FacewrightError] = []
        for answer in self._refiner.refine(accepted):
            if isinstance(answer, FacewrightError):
                answers.append(answer)
                continue
            self._metrics.refined(answer.info)
            answers.append(refined_outputs(answer))
        return answers
