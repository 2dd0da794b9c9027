"""``relight_avatar``: an avatar in another light, by its code (rerenderable, fig. 3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from facewright.core.options import Option
from facewright.pipelines.stages import Pipeline, Stage
from facewright.pipelines.twin import HEAD
from facewright_client import contract

RELIGHT_OPTIONS: Final = {
    "yaw": Option(float, 0.0, -180.0, 180.0, meaning="of the head in the picture, degrees"),
    "picture_size": Option(int, 512, choices=(256, 512, 1024), meaning="pixels per side of the picture"),
}
RELIGHT_AVATAR: Final = Pipeline(
    "relight_avatar",
    (
        Stage(
            "relight_avatar",
            (
                contract.CODES,
                replace(contract.LIGHT, optional=True),
                replace(contract.ENVIRONMENT, optional=True),
            ),
            (contract.PICTURE, contract.RELIT_TEXTURE, contract.SH_LIGHT),
            options=tuple(RELIGHT_OPTIONS),
            opens=True,
            expected_s=0.3,
            weights=(HEAD,),
        ),
    ),
    RELIGHT_OPTIONS,
    takes=(
        contract.CODES,
        replace(contract.LIGHT, optional=True),
        replace(contract.ENVIRONMENT, optional=True),
    ),
    gives=(contract.PICTURE, contract.RELIT_TEXTURE, contract.SH_LIGHT),
    summary="A picture of an avatar, and its texture, in another light.",
    by_default=False,
)
