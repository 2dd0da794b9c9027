"""Photo and fitted head to texture and light; what it computes is in ``facewright.texture.bake_texture``."""

from __future__ import annotations

from typing import Any

from facewright.adapter.stage import Outputs, Stage, StageRequest
from facewright.core.assets import asset_path
from facewright.fit.fit_info import FitInfo
from facewright.head.head_model import HeadModel
from facewright.texture.bake_texture import TextureBaker
from facewright_client import contract


class TritonPythonModel:
    """The adapter that Triton loads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the head and prepare the bake."""
        self._stage = Stage("bake_texture", args)
        self._baker = TextureBaker(HeadModel.load(asset_path("head.npz")))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer Triton's requests."""
        return self._stage.execute(requests, self._bake)

    def _bake(self, request: StageRequest) -> Outputs:
        baked = self._baker.bake(
            request.array(contract.FACE_CROP),
            request.array(contract.INTRINSICS),
            request.array(contract.HEAD_TO_CAMERA),
            request.array(contract.FITTED_VERTICES),
            request.array(contract.NEUTRAL_VERTICES),
            FitInfo.from_json(request.content(contract.FIT_INFO)),
            request.array(contract.PERSON_MASK),
            request.still_wanted,
        )
        return {
            contract.TEXTURE: baked.encode(),
            contract.SH_LIGHT: baked.sh_light,
            contract.TEXTURE_INFO: baked.info.to_json().encode(),
        }
