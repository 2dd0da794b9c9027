"""Stages of ``avatar_rerenderable``: Yang et al. 2021, "Self-supervised High-fidelity and Re-renderable 3D
Facial Reconstruction from a Single Image"."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from facewright.pipelines import tensors
from facewright.pipelines.stages import Network, Stage, Weights
from facewright.pipelines.twin import HEAD
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
    (tensors.UV_TEXTURE, tensors.PRIOR_ALBEDO, contract.SH_LIGHT),
    expected_s=0.05,
    weights=(HEAD,),
)
#: An owner's has the first two inputs; the open one also takes the light that `unwrap_texture` estimates.
DETAIL_REFINEMENT: Final = Network(
    "detail_refinement",
    (tensors.UV_TEXTURE, tensors.PRIOR_ALBEDO, replace(contract.SH_LIGHT, optional=True)),
    (tensors.DETAILED_ALBEDO, tensors.SH_LIGHT_MAP),
    expected_s=0.05,
    weights=(Weights("detail_refinement.onnx", "Apache-2.0 AND MIT"),),
)
