"""``interpolate_avatars``: people between people, by the latents in their codes (normalized, fig. 17)."""

from __future__ import annotations

from typing import Final

from facewright.core.options import Option
from facewright.pipelines import tensors
from facewright.pipelines.stages import Pipeline, Stage
from facewright.pipelines.twin import FILE_OPTIONS, HEAD, PACKAGE_AVATAR, PHOTO_OPTIONS, RENDER_PREVIEW
from facewright_client import contract

MIX_CODES: Final = Stage(
    "mix_codes",
    (contract.CODES,),
    (
        contract.REFINED_W_PLUS,
        contract.LANDMARKS,
        contract.IDENTITY,
        contract.EXPRESSION,
        contract.EYE_ROTATION,
        contract.SH_LIGHT,
        contract.INTRINSICS,
        contract.HEAD_TO_CAMERA,
        tensors.FITTED_VERTICES,
        contract.NEUTRAL_VERTICES,
        tensors.TEXTURE,
    ),
    options=("texture_size", "texture_format", "shares"),
    opens=True,
    runs_networks=True,
    expected_s=0.4,
    weights=(HEAD,),
    graphs=("generator_forward",),
)

INTERPOLATE_AVATARS: Final = Pipeline(
    "interpolate_avatars",
    (MIX_CODES, PACKAGE_AVATAR, RENDER_PREVIEW),
    {
        "shares": Option(
            str,
            "",
            meaning="of each code, such as 1,0.5 of two, brought to a sum of 1; empty: alike",
        ),
        "deadline_ms": PHOTO_OPTIONS["deadline_ms"],
        **{name: FILE_OPTIONS[name] for name in contract.MERGE_OPTIONS},
    },
    takes=(contract.CODES,),
    gives=(*contract.AVATAR_OUTPUTS, contract.REFINED_W_PLUS),
    summary="An avatar between several people's, by the latents in their codes.",
    by_default=False,
)
