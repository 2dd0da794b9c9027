"""A face's crop to other networks' images; what it computes is in ``facewright.photo.aligned_face``."""

from __future__ import annotations

from typing import Any

from facewright.adapter.stage_model import StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.photo.aligned_face import RECIPES, align_face, landmarks_in_crop
from facewright.pipelines import tensors
from facewright.pipelines.alignment import ALIGN_FACE
from facewright_client import contract
from facewright_client.contract import Tensor


class TritonPythonModel(StageModel):
    """The adapter that Triton loads."""

    stage = ALIGN_FACE

    def compute(self, request: StageRequest) -> Outputs:
        """Cut those images that the pipeline's networks take."""
        face_crop = request.array(contract.FACE_CROP)
        landmarks = landmarks_in_crop(request.array(contract.LANDMARKS), request.array(tensors.CROP_TO_PHOTO))
        outputs: dict[Tensor, Any] = {}
        for name, recipe in RECIPES.items():
            image, crop_to_image = tensors.ALIGNED_IMAGES[name], tensors.CROP_TO_ALIGNED[name]
            if request.is_read(image) or request.is_read(crop_to_image):
                aligned = align_face(face_crop, landmarks, recipe)
                outputs |= {image: aligned.image, crop_to_image: aligned.crop_to_aligned}
        return outputs
