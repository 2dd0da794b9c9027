"""Photo bytes to the crop of one face; what it computes is in ``facewright.photo.find_face``."""

from __future__ import annotations

from facewright.adapter.stage_model import Machine, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.photo.find_face import FaceNetworks, find_face
from facewright.pipelines import tensors
from facewright.pipelines.stages import SECTIONS
from facewright.pipelines.twin import FIND_FACE
from facewright_client import contract


class TritonPythonModel(StageModel):
    """The adapter that Triton loads."""

    stage = FIND_FACE

    def load(self, machine: Machine) -> None:
        """Load the detector, the first landmark network and the person mask."""
        self._networks = FaceNetworks.load(device=machine.device)

    def compute(self, request: StageRequest) -> Outputs:
        """Find and cut out one face."""
        face_index = request.option("face_index")
        found = find_face(request.photo(), self._networks, face_index, request.still_wanted)
        return {
            contract.FACE_CROP: found.face_crop,
            tensors.CROP_TO_PHOTO: found.crop_to_photo,
            tensors.LANDMARK_INPUT: found.landmark_input,
            tensors.LANDMARK_TO_CROP: found.landmark_to_crop,
            tensors.PERSON_MASK: found.person_mask,
            tensors.PHOTO_INFO: found.info.to_json().encode(),
            SECTIONS: found.info.section(),
        }
