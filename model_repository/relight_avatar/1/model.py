"""An avatar's code to a picture of it in another light; ``facewright.asset.relight``."""

from __future__ import annotations

from facewright.adapter.served_provenance import served_provenance
from facewright.adapter.stage_model import Machine, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.asset.relight import AskedLight, Relighter
from facewright.core.assets import asset_path
from facewright.core.options import options_with_defaults
from facewright.head.head_model import HeadModel
from facewright.pipelines.relighting import RELIGHT_AVATAR, RELIGHT_OPTIONS
from facewright.pipelines.twin import HEAD
from facewright_client import contract


class TritonPythonModel(StageModel):
    """The adapter that Triton loads."""

    stage = RELIGHT_AVATAR.steps[0]

    def load(self, machine: Machine) -> None:
        """Load the head."""
        self._relighter = Relighter(HeadModel.load(asset_path(HEAD.file)))
        self._head_sha256 = served_provenance(RELIGHT_AVATAR).models[HEAD.file]

    def compute(self, request: StageRequest) -> Outputs:
        """Light one avatar."""
        options = options_with_defaults(request.parameters, RELIGHT_OPTIONS)
        asked = AskedLight(
            request.array(contract.LIGHT) if request.given(contract.LIGHT) else None,
            request.content(contract.ENVIRONMENT) if request.given(contract.ENVIRONMENT) else None,
        )
        relit = self._relighter.relight(
            request.content(contract.CODES),
            self._head_sha256,
            asked,
            float(options["yaw"]),
            int(options["picture_size"]),
        )
        return {
            contract.PICTURE: relit.picture,
            contract.RELIT_TEXTURE: relit.texture,
            contract.SH_LIGHT: relit.sh_light,
        }
