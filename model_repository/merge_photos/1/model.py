"""Codes of one person's photos to one head and texture; ``facewright.asset.merge_photos``."""

from __future__ import annotations

from facewright.adapter.stage_model import Machine, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.asset.merge_photos import PhotoMerger
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright.pipelines import tensors
from facewright.pipelines.merge import MERGE_PHOTOS
from facewright.pipelines.stages import SECTIONS
from facewright.pipelines.twin import HEAD
from facewright_client import contract


class TritonPythonModel(StageModel):
    """The adapter that Triton loads."""

    stage = MERGE_PHOTOS

    def load(self, machine: Machine) -> None:
        """Load the head and prepare the fit."""
        self._merger = PhotoMerger(HeadModel.load(asset_path(HEAD.file)))

    def compute(self, request: StageRequest) -> Outputs:
        """Merge one person's photos."""
        option, models = request.option, request.place.request.provenance.models
        merged = self._merger.merge(
            request.content(contract.CODES),
            models[HEAD.file],
            option("texture_size"),
            option("texture_format"),
            request.still_wanted,
        )
        head = merged.head
        return {
            contract.LANDMARKS: head.landmarks,
            contract.IDENTITY: head.identity,
            contract.EXPRESSION: head.expression,
            contract.EYE_ROTATION: head.eye_rotation,
            contract.INTRINSICS: head.intrinsics,
            contract.HEAD_TO_CAMERA: head.head_to_camera,
            tensors.FITTED_VERTICES: head.fitted_vertices,
            contract.NEUTRAL_VERTICES: head.neutral_vertices,
            tensors.TEXTURE: merged.texture,
            contract.SH_LIGHT: merged.sh_light,
            SECTIONS: merged.section,
        }
