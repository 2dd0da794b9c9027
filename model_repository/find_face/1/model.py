"""Photo bytes to the crop of one face; what it computes is in ``facewright.photo.find_face``."""

from __future__ import annotations

from typing import Any

from facewright.adapter.stage import Outputs, Stage, StageRequest
from facewright.core.options import AvatarOptions
from facewright.photo.find_face import FaceNetworks, find_face
from facewright_client import contract


class TritonPythonModel:
    """The adapter that Triton loads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the detector and mask networks."""
        self._stage = Stage("find_face", args)
        self._networks = FaceNetworks.load(device=self._stage.network_device)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer Triton's requests."""
        return self._stage.execute(requests, self._find)

    def _find(self, request: StageRequest) -> Outputs:
        options = AvatarOptions.from_parameters(request.parameters)
        found = find_face(request.photo(), options, self._networks)
        return {
            contract.FACE_CROP: found.face_crop,
            contract.CROP_TO_PHOTO: found.crop_to_photo,
            contract.LANDMARK_INPUT: found.landmark_input,
            contract.LANDMARK_TO_CROP: found.landmark_to_crop,
            contract.PERSON_MASK: found.person_mask,
            contract.PHOTO_INFO: found.info.to_json().encode(),
        }
