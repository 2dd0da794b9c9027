"""Photo and fitted head to UV maps; what it computes is in ``facewright.texture.unwrap_texture``."""

from __future__ import annotations

from facewright.adapter.stage_model import Machine, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.appearance.photo_view import FacePhoto
from facewright.core.assets import asset_path
from facewright.core.clock import LapClock
from facewright.head.head_model import HeadModel
from facewright.photo.photo_info import PhotoInfo
from facewright.pipelines import tensors
from facewright.pipelines.rerenderable import UNWRAP_TEXTURE
from facewright.pipelines.section import Section
from facewright.pipelines.stages import SECTIONS
from facewright.texture.unwrap_texture import TextureUnwrapper
from facewright_client import contract


class TritonPythonModel(StageModel):
    """The adapter that Triton loads."""

    stage = UNWRAP_TEXTURE

    def load(self, machine: Machine) -> None:
        """Load the head and prepare its texels."""
        self._unwrapper = TextureUnwrapper(HeadModel.load(asset_path("head.npz")))

    def compute(self, request: StageRequest) -> Outputs:
        """Unwrap one photo."""
        clock = LapClock(request.still_wanted)
        info = PhotoInfo.from_json(request.content(tensors.PHOTO_INFO))
        known = request.given(tensors.VERTEX_ALBEDO)
        unwrapped = self._unwrapper.unwrap(
            FacePhoto(
                request.array(contract.FACE_CROP), info.crop_valid_box, request.array(tensors.PERSON_MASK)
            ),
            request.array(contract.INTRINSICS),
            request.array(contract.HEAD_TO_CAMERA),
            request.array(tensors.FITTED_VERTICES),
            request.array(tensors.VERTEX_ALBEDO) if known else None,
            clock,
        )
        clock.lap("unwrap")
        return {
            tensors.UV_TEXTURE: unwrapped.texture,
            tensors.PRIOR_ALBEDO: unwrapped.prior_albedo,
            tensors.PHOTO_LIGHT: unwrapped.sh_light,
            SECTIONS: Section(
                {"unwrapped": {"seen_share": round(unwrapped.seen_share, 3)}}, (), clock.milliseconds
            ),
        }
