"""A person's shape and texture to the GLB and its report; ``facewright.asset.package_avatar``."""

from __future__ import annotations

import json

from facewright.adapter.stage_model import Machine, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.asset.package_avatar import AvatarPackager
from facewright.asset.report import build_report
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright.pipelines import tensors
from facewright.pipelines.stages import SECTIONS
from facewright.pipelines.twin import PACKAGE_AVATAR
from facewright_client import contract


class TritonPythonModel(StageModel):
    """The adapter that Triton loads."""

    stage = PACKAGE_AVATAR

    def load(self, machine: Machine) -> None:
        """Load the head and lay the file out."""
        self._packager = AvatarPackager(HeadModel.load(asset_path("head.npz")))

    def compute(self, request: StageRequest) -> Outputs:
        """Pack one avatar, and put the sections of all stages together."""
        place = request.place
        packed = self._packager.package(
            request.array(contract.NEUTRAL_VERTICES), request.content(tensors.TEXTURE), place.request
        )
        sections = [*place.earlier, place.completed(packed.section, self.stage.name)]
        report = build_report(place.request, sections)
        return {
            contract.GLB: packed.glb,
            contract.REPORT: json.dumps(report, allow_nan=False).encode(),
            SECTIONS: packed.section,
        }
