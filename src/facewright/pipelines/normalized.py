"""``avatar_normalized``: an identity's latents to a neutral face in even light, refined to the photo.

Luo et al. 2021, "Normalized Avatar Synthesis Using StyleGAN and Perceptual Refinement". What differs from it
stands beside the code: the camera is the fit's (section 3.3 regresses it), the mask is of the fitted head
(its is a segmentation network's), fine structure is the photo's own (section 4 upsamples the maps).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from facewright.core.options import Option
from facewright.pipelines import tensors
from facewright.pipelines.alignment import ALIGN_FACE
from facewright.pipelines.maps import FACE_EVIDENCE, MAP_OPTIONS, REFINE_MAPS, REFINING, fitted_as_start
from facewright.pipelines.refinement import REFINE_OPTIONS
from facewright.pipelines.stages import Network, Pipeline, Weights
from facewright.pipelines.twin import (
    BAKE_TEXTURE,
    FACE_LANDMARKS,
    FACE_SHAPE,
    FIND_FACE,
    FIT_HEAD,
    PACKAGE_AVATAR,
    PHOTO_OPTIONS,
    RENDER_PREVIEW,
    WRITE_CODE,
)
from facewright_client import contract

_FACE: Final = tensors.ALIGNED_IMAGES["facenet"]

FACE_EMBEDDING: Final = Network(
    "face_embedding",
    (_FACE, replace(contract.IDENTITY, optional=True)),  # an owner's network sees it in the photo
    (tensors.EMBEDDING,),
    expected_s=0.02,
    weights=(Weights("face_embedding.onnx", "Apache-2.0"),),
    renames={"FACE_IMAGE": _FACE},
)
IDENTITY_REGRESSOR: Final = Network(
    "identity_regressor",
    (tensors.EMBEDDING,),
    (contract.W_PLUS,),
    expected_s=0.003,
    weights=(Weights("identity_regressor.onnx", "Apache-2.0"),),
)

AVATAR_NORMALIZED: Final = Pipeline(
    "avatar_normalized",
    (
        FIND_FACE,
        FACE_LANDMARKS,
        FACE_SHAPE,
        fitted_as_start(FIT_HEAD),
        FACE_EVIDENCE,
        ALIGN_FACE,
        FACE_EMBEDDING,
        IDENTITY_REGRESSOR,
        REFINE_MAPS,
        BAKE_TEXTURE,
        PACKAGE_AVATAR,
        WRITE_CODE,
        RENDER_PREVIEW,
    ),
    {
        **PHOTO_OPTIONS,
        **MAP_OPTIONS,
        **{name: REFINE_OPTIONS[name] for name in REFINING},
        "iterations": Option(
            int, 200, 0, 2000, meaning="steps of the refinement; 0: the latents are taken as regressed"
        ),
        "fit_share": Option(
            float,
            1.0,
            0.0,
            1.0,
            meaning="share of what the fitted head has beside the generator's; 0: the generator's alone",
        ),
    },
    gives=(*contract.AVATAR_OUTPUTS, contract.CODE, contract.REFINED_W_PLUS),
    summary="A neutral head in even light: latents of the identity, refined until they match the photo.",
    by_default=False,
)
