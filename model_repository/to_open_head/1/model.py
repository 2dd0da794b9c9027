"""Another model's head to the open head; what it computes is in ``facewright.fit.carried_head``."""

from __future__ import annotations

from facewright.adapter.served_files import served_networks
from facewright.adapter.stage_model import Machine, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.core.assets import asset_path
from facewright.fit.carried_head import HeadCarriers
from facewright.pipelines import tensors
from facewright.pipelines.open_head import TO_OPEN_HEAD
from facewright.pipelines.stages import SECTIONS
from facewright_client import contract


class TritonPythonModel(StageModel):
    """The adapter that Triton loads."""

    stage = TO_OPEN_HEAD

    def load(self, machine: Machine) -> None:
        """Load the head and the correspondences that lie beside the exported networks."""
        self._carriers = HeadCarriers(asset_path("head.npz"), served_networks())

    def compute(self, request: StageRequest) -> Outputs:
        """Carry one head."""
        posed = request.array(tensors.SOURCE_VERTICES)
        carried = self._carriers.of(len(posed)).carry(
            posed,
            request.array(tensors.SOURCE_NEUTRAL_VERTICES),
            request.array(tensors.SOURCE_TO_CAMERA),
        )
        return {
            tensors.FITTED_VERTICES: carried.fitted_vertices,
            contract.NEUTRAL_VERTICES: carried.neutral_vertices,
            contract.IDENTITY: carried.identity,
            contract.EXPRESSION: carried.expression,
            contract.HEAD_TO_CAMERA: carried.head_to_camera,
            SECTIONS: carried.section,
        }
