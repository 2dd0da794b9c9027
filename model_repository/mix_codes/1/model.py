"""Codes of several people to an avatar between them; ``facewright.asset.mix_codes``."""

from __future__ import annotations

from facewright.adapter.served_files import served_refinement
from facewright.adapter.stage_model import Machine, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.asset.mix_codes import CodeMixer
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright.pipelines import tensors
from facewright.pipelines.interpolation import MIX_CODES
from facewright.pipelines.stages import SECTIONS
from facewright.pipelines.twin import HEAD
from facewright.refine.device import RefinementDevice
from facewright.refine.maps import MapReader
from facewright_client import contract


class TritonPythonModel(StageModel):
    """The adapter that Triton loads."""

    stage = MIX_CODES

    def load(self, machine: Machine) -> None:
        """Load the head and the generator."""
        head = HeadModel.load(asset_path(HEAD.file))
        device = RefinementDevice.named(machine.device, machine.plans)
        self._mixer = CodeMixer(head, MapReader.load(served_refinement(), head, device))

    def compute(self, request: StageRequest) -> Outputs:
        """Mix some codes."""
        option = request.option
        mixed = self._mixer.mix(
            request.content(contract.CODES),
            request.place.request.provenance.models,
            option("shares"),
            option("texture_size"),
            option("texture_format"),
            request.still_wanted,
        )
        return {
            contract.REFINED_W_PLUS: mixed.w_plus,
            contract.LANDMARKS: mixed.landmarks,
            contract.IDENTITY: mixed.identity,
            contract.EXPRESSION: mixed.expression,
            contract.EYE_ROTATION: mixed.eye_rotation,
            contract.SH_LIGHT: mixed.sh_light,
            contract.INTRINSICS: mixed.first.intrinsics,
            contract.HEAD_TO_CAMERA: mixed.first.head_to_camera,
            tensors.FITTED_VERTICES: mixed.neutral,
            contract.NEUTRAL_VERTICES: mixed.neutral,
            tensors.TEXTURE: mixed.texture,
            SECTIONS: mixed.section,
        }
