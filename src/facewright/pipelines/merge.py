"""``merge_avatars``: several photos of one person, by their codes, to one avatar."""

from __future__ import annotations

from typing import Final

from facewright.pipelines import tensors
from facewright.pipelines.stages import Pipeline, Stage
from facewright.pipelines.twin import FILE_OPTIONS, HEAD, PACKAGE_AVATAR, PHOTO_OPTIONS, RENDER_PREVIEW
from facewright_client import contract

MERGE_PHOTOS: Final = Stage(
    "merge_photos",
    (contract.CODES,),
    (
        contract.LANDMARKS,
        contract.IDENTITY,
        contract.EXPRESSION,
        contract.EYE_ROTATION,
        contract.INTRINSICS,
        contract.HEAD_TO_CAMERA,
        tensors.FITTED_VERTICES,
        contract.NEUTRAL_VERTICES,
        tensors.TEXTURE,
        contract.SH_LIGHT,
    ),
    options=("texture_size", "texture_format"),
    opens=True,
    expected_s=0.6,
    weights=(HEAD,),
)

MERGE_AVATARS: Final = Pipeline(
    "merge_avatars",
    (MERGE_PHOTOS, PACKAGE_AVATAR, RENDER_PREVIEW),
    {
        "deadline_ms": PHOTO_OPTIONS["deadline_ms"],
        **{name: FILE_OPTIONS[name] for name in contract.MERGE_OPTIONS},
    },
    takes=(contract.CODES,),
    summary="One avatar of several photos, by their codes: one form fitted to all, textures blended.",
)
