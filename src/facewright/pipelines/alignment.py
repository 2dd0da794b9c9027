"""``align_face``: the images that published networks take, for the pipelines that run such networks."""

from __future__ import annotations

from typing import Final

from facewright.pipelines import tensors
from facewright.pipelines.stages import Stage
from facewright_client import contract

#: One stage for all pipelines: of its images it cuts those that a pipeline's other steps take.
ALIGN_FACE: Final = Stage(
    "align_face",
    (contract.FACE_CROP, tensors.CROP_TO_PHOTO, contract.LANDMARKS),
    (*tensors.ALIGNED_IMAGES.values(), *tensors.CROP_TO_ALIGNED.values()),
    expected_s=0.02,
)
