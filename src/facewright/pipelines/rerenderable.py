"""Stages of ``avatar_rerenderable``: Yang et al. 2021, "Self-supervised High-fidelity and Re-renderable 3D
Facial Reconstruction from a Single Image"."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from facewright.pipelines import tensors
from facewright.pipelines.maps import MAP_OPTIONS
from facewright.pipelines.stages import Network, Pipeline, Stage, Weights
from facewright.pipelines.twin import (
    BAKE_TEXTURE,
    FACE_LANDMARKS,
    FACE_SHAPE,
    FIND_FACE,
    FIT_HEAD,
    HEAD,
    PACKAGE_AVATAR,
    PHOTO_OPTIONS,
    RENDER_PREVIEW,
    WRITE_CODE,
)
from facewright_client import contract

UNWRAP_TEXTURE: Final = Stage(
    "unwrap_texture",
    (
        contract.FACE_CROP,
        tensors.PERSON_MASK,
        contract.INTRINSICS,
        contract.HEAD_TO_CAMERA,
        tensors.FITTED_VERTICES,
        tensors.PHOTO_INFO,
        replace(tensors.VERTEX_ALBEDO, optional=True),
    ),
    (tensors.UV_TEXTURE, tensors.PRIOR_ALBEDO, tensors.PHOTO_LIGHT),
    expected_s=0.05,
    weights=(HEAD,),
)
#: An owner's has the first two inputs; the open one also takes the light that `unwrap_texture` estimates.
DETAIL_REFINEMENT: Final = Network(
    "detail_refinement",
    (tensors.UV_TEXTURE, tensors.PRIOR_ALBEDO, replace(tensors.PHOTO_LIGHT, optional=True)),
    (tensors.DETAILED_ALBEDO, tensors.SH_LIGHT_MAP),
    expected_s=0.05,
    weights=(Weights("detail_refinement.onnx", "Apache-2.0 AND MIT"),),
    renames={"SH_LIGHT": tensors.PHOTO_LIGHT},
)

AVATAR_RERENDERABLE: Final = Pipeline(
    "avatar_rerenderable",
    (
        FIND_FACE,
        FACE_LANDMARKS,
        FACE_SHAPE,
        FIT_HEAD,
        UNWRAP_TEXTURE,
        DETAIL_REFINEMENT,
        BAKE_TEXTURE,
        PACKAGE_AVATAR,
        WRITE_CODE,
        RENDER_PREVIEW,
    ),
    {**PHOTO_OPTIONS, **MAP_OPTIONS},
    gives=(*contract.AVATAR_OUTPUTS, contract.CODE, tensors.SH_LIGHT_MAP),
    summary="A head whose albedo is the photo's without its light, and the light of each texel beside it.",
    by_default=False,
)
