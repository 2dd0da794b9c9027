"""The albedo that a pipeline's network made, whichever it is."""

from __future__ import annotations

from facewright.adapter.stage_request import StageRequest
from facewright.core.colour import decoded_srgb
from facewright.pipelines.tensors import ALBEDO_MAP, DETAILED_ALBEDO
from facewright.texture.dressing import NetworkAlbedo


def given_albedo(request: StageRequest) -> NetworkAlbedo | None:
    """ALBEDO_MAP, or DETAILED_ALBEDO decoded; None where there is neither."""
    if request.given(ALBEDO_MAP):
        return NetworkAlbedo(request.array(ALBEDO_MAP), of_photo=False)
    if request.given(DETAILED_ALBEDO):
        return NetworkAlbedo(decoded_srgb(request.array(DETAILED_ALBEDO)), of_photo=True)
    return None
