"""All that is known to one GLB and report; what it computes is in ``facewright.asset.package_avatar``."""

from __future__ import annotations

import json
from typing import Any

from facewright.adapter.stage import Outputs, Stage, StageRequest
from facewright.asset.package_avatar import AvatarPackager, AvatarParts
from facewright.core.assets import asset_path, open_assets_folder
from facewright.core.provenance import Provenance
from facewright.fit.fit_info import FitInfo
from facewright.head.head_model import HeadModel
from facewright.photo.photo_info import PhotoInfo
from facewright.texture.texture_info import TextureInfo
from facewright_client import contract


class TritonPythonModel:
    """The adapter that Triton loads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the head and fingerprint the assets."""
        self._stage = Stage("package_avatar", args)
        self._packager = AvatarPackager(
            HeadModel.load(asset_path("head.npz")), Provenance.of_open_assets(open_assets_folder())
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer Triton's requests."""
        return self._stage.execute(requests, self._package)

    def _package(self, request: StageRequest) -> Outputs:
        glb, report = self._packager.package(
            AvatarParts(
                neutral_vertices=request.array(contract.NEUTRAL_VERTICES),
                identity=request.array(contract.IDENTITY),
                expression=request.array(contract.EXPRESSION),
                texture=request.content(contract.TEXTURE),
                sh_light=request.array(contract.SH_LIGHT),
                photo_info=PhotoInfo.from_json(request.content(contract.PHOTO_INFO)),
                fit_info=FitInfo.from_json(request.content(contract.FIT_INFO)),
                texture_info=TextureInfo.from_json(request.content(contract.TEXTURE_INFO)),
            )
        )
        return {
            contract.GLB: glb,
            contract.REPORT: json.dumps(report, allow_nan=False).encode(),
            contract.PACKAGED: b"\x01",
        }
