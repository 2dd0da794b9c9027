"""Where a photo shows the face, and in what light; ``facewright.appearance.seen_face``."""

from __future__ import annotations

from facewright.adapter.stage_model import Machine, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.appearance.photo_view import FacePhoto
from facewright.appearance.seen_face import FaceSeer
from facewright.core.assets import asset_path
from facewright.core.clock import LapClock
from facewright.head.head_model import HeadModel
from facewright.photo.photo_info import PhotoInfo
from facewright.pipelines import tensors
from facewright.pipelines.maps import FACE_EVIDENCE
from facewright.pipelines.section import Section
from facewright.pipelines.stages import SECTIONS
from facewright.texture.bake_settings import BakeSettings
from facewright_client import contract


class TritonPythonModel(StageModel):
    """The adapter that Triton loads."""

    stage = FACE_EVIDENCE
    settings = BakeSettings()

    def load(self, machine: Machine) -> None:
        """Load the head."""
        self._seer = FaceSeer(HeadModel.load(asset_path("head.npz")), self.settings)

    def compute(self, request: StageRequest) -> Outputs:
        """Look at one face."""
        clock = LapClock(request.still_wanted)
        info = PhotoInfo.from_json(request.content(tensors.PHOTO_INFO))
        person_mask = request.array(tensors.PERSON_MASK)
        photo = FacePhoto(request.array(contract.FACE_CROP), info.crop_valid_box, person_mask)
        camera = request.array(contract.INTRINSICS), request.array(contract.HEAD_TO_CAMERA)
        seen = self._seer.see(photo, *camera, request.array(tensors.FITTED_VERTICES), clock)
        mask = self._seer.mask(seen, *camera, person_mask)
        clock.lap("mask")
        return {
            contract.FACE_MASK: mask,
            tensors.PHOTO_LIGHT: seen.sh_light,
            SECTIONS: Section(milliseconds=clock.milliseconds),
        }
