"""Photo and fitted head to texture and light; what it computes is in ``facewright.texture.bake_texture``."""

from __future__ import annotations

from facewright.adapter.given_albedo import given_albedo
from facewright.adapter.stage_model import Machine, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.core.assets import asset_path
from facewright.fit.fit_info import FitInfo
from facewright.head.head_model import HeadModel
from facewright.photo.photo_info import PhotoInfo
from facewright.pipelines import tensors
from facewright.pipelines.stages import SECTIONS
from facewright.pipelines.twin import BAKE_TEXTURE
from facewright.texture.bake_settings import BakeSettings
from facewright.texture.bake_texture import TextureBaker, TextureOptions
from facewright_client import contract


class TritonPythonModel(StageModel):
    """The adapter that Triton loads."""

    stage = BAKE_TEXTURE
    settings = BakeSettings()

    def load(self, machine: Machine) -> None:
        """Load the head and prepare the bake."""
        self._baker = TextureBaker(HeadModel.load(asset_path("head.npz")), self.settings)

    def compute(self, request: StageRequest) -> Outputs:
        """Bake one texture."""
        option = request.option
        fit = FitInfo.from_json(request.content(tensors.FIT_INFO))
        baked = self._baker.bake(
            request.array(contract.FACE_CROP),
            request.array(contract.INTRINSICS),
            request.array(contract.HEAD_TO_CAMERA),
            request.array(tensors.FITTED_VERTICES),
            request.array(contract.NEUTRAL_VERTICES),
            (fit.left_eye, fit.right_eye),
            TextureOptions(
                option("texture_size"),
                option("texture_format"),
                option("delight", 0.5),
                option("detail", 1.0),
            ),
            request.array(tensors.PERSON_MASK),
            PhotoInfo.from_json(request.content(tensors.PHOTO_INFO)).crop_valid_box,
            request.still_wanted,
            given_albedo(request),
        )
        texture = baked.encode()
        return {
            tensors.TEXTURE: texture,
            tensors.TEXEL_CONFIDENCE: baked.confidence,
            contract.SH_LIGHT: baked.sh_light,
            SECTIONS: baked.info.section(baked.sh_light, len(texture)),
        }
