"""The avatar's preview sheet; what it computes is in ``facewright.render.render_preview``."""

from __future__ import annotations

from facewright.adapter.stage_model import Machine, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright.pipelines import tensors
from facewright.pipelines.twin import RENDER_PREVIEW
from facewright.render.render_preview import FittedPhoto, PreviewRenderer
from facewright_client import contract


class TritonPythonModel(StageModel):
    """The adapter that Triton loads."""

    stage = RENDER_PREVIEW

    def load(self, machine: Machine) -> None:
        """Load the head."""
        self._renderer = PreviewRenderer(HeadModel.load(asset_path("head.npz")))

    def compute(self, request: StageRequest) -> Outputs:
        """Draw one sheet."""
        photo = None
        if request.given(contract.FACE_CROP):
            photo = FittedPhoto(
                request.array(contract.FACE_CROP),
                request.array(contract.INTRINSICS),
                request.array(contract.HEAD_TO_CAMERA),
                request.array(tensors.FITTED_VERTICES),
            )
        neutral = request.array(contract.NEUTRAL_VERTICES)
        return {contract.PREVIEW: self._renderer.render(photo, neutral, request.content(tensors.TEXTURE))}
