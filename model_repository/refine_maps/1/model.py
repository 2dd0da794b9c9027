"""Latents to a person's maps, refined first; what it computes is in ``facewright.refine.maps``."""

from __future__ import annotations

from facewright.adapter.refinement_tensors import RefinementMetrics, best_before, refinement_options
from facewright.adapter.served_files import served_refinement
from facewright.adapter.stage_model import Machine, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright.pipelines import tensors
from facewright.pipelines.maps import REFINE_MAPS
from facewright.pipelines.section import Section
from facewright.pipelines.stages import SECTIONS
from facewright.refine.device import RefinementDevice
from facewright.refine.maps import FittedFace, MapRefiner
from facewright_client import contract


class TritonPythonModel(StageModel):
    """The adapter that Triton loads."""

    stage = REFINE_MAPS

    def load(self, machine: Machine) -> None:
        """Load networks and head."""
        self._metrics = RefinementMetrics(self.stage.name)
        device = RefinementDevice.named(machine.device, machine.plans)
        head = HeadModel.load(asset_path("head.npz"))
        self._refiner = MapRefiner.load(served_refinement(), head, device)

    def compute(self, request: StageRequest) -> Outputs:
        """Refine one person's maps."""
        array = request.array
        face = FittedFace(
            array(contract.FACE_CROP),
            array(contract.FACE_MASK),
            array(contract.INTRINSICS),
            array(contract.HEAD_TO_CAMERA),
            array(tensors.PHOTO_LIGHT),
            array(tensors.FITTED_VERTICES),
            array(tensors.FIT_NEUTRAL_VERTICES),
            array(contract.W_PLUS),
        )
        options = refinement_options(request, self._refiner.has_identity)
        until = best_before(request, self.stage)
        maps = self._refiner.refine(face, options, request.option("fit_share"), request.cancelled, until)
        if maps.info is not None:
            self._metrics.refined(maps.info)
        return {
            contract.REFINED_W_PLUS: maps.w_plus,
            contract.NEUTRAL_VERTICES: maps.neutral,
            tensors.ALBEDO_MAP: maps.albedo,
            SECTIONS: Section({"refinement": maps.report()}, maps.warnings),
        }
