"""Real photos through today's bake and through the rerenderable pipeline's networks."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from facewright.adapter.in_process import PipelineRunner
from facewright.core.options import OptionValue
from facewright.core.spherical_harmonics import sh_basis
from facewright.head.head_model import HeadModel
from facewright.pipelines import tensors
from facewright.pipelines.rerenderable import DETAIL_REFINEMENT, UNWRAP_TEXTURE
from facewright.pipelines.stages import Pipeline
from facewright.pipelines.twin import (
    AVATAR_TWIN,
    FACE_LANDMARKS,
    FACE_SHAPE,
    FIND_FACE,
    FIT_HEAD,
    PHOTO_OPTIONS,
)
from facewright_client import contract

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

SIDE: Final = tensors.UV_MAP_SIZE
#: From the photo to the network's albedo.
ALBEDO: Final = Pipeline(
    "albedo",
    (FIND_FACE, FACE_LANDMARKS, FACE_SHAPE, FIT_HEAD, UNWRAP_TEXTURE, DETAIL_REFINEMENT),
    PHOTO_OPTIONS,
    gives=(tensors.DETAILED_ALBEDO, tensors.SH_LIGHT_MAP),
    summary="The network's albedo of a photo.",
)


@dataclass(frozen=True)
class Portrait:
    """What came of one photo; textures sRGB u8 [256, 256, 3].

    Attributes:
        crop: FACE_CROP, smaller, u8 [256, 256, 3].
        texture: UV_TEXTURE.
        baked: today's texture, half of the light divided out, and all of it.
        albedo: DETAILED_ALBEDO.
        light: linear [256, 256, 3], what the map of lights is on the mean head.
    """

    crop: U8 = field(repr=False)
    texture: U8 = field(repr=False)
    baked: tuple[U8, U8] = field(repr=False)
    albedo: U8 = field(repr=False)
    light: F32 = field(repr=False)


class PortraitMaker:
    """Holds the networks; ``normals`` f32 [256, 256, 3] are the mean head's."""

    def __init__(self, head: HeadModel, normals: F32) -> None:
        self.head = head
        self._bands = sh_basis(normals)
        self._twin, self._albedo = PipelineRunner(AVATAR_TWIN), PipelineRunner(ALBEDO)

    def make(self, photo: bytes) -> Portrait:
        """Raises FacewrightError as the stages do."""
        run = self._albedo.run({contract.PHOTO: photo})
        bands = run.array(tensors.SH_LIGHT_MAP).reshape(3, 9, SIDE, SIDE)
        return Portrait(
            np.asarray(Image.fromarray(run.array(contract.FACE_CROP)).reduce(contract.CROP_SIZE // SIDE)),
            _picture(run.array(tensors.UV_TEXTURE)),
            (self._baked(photo, 0.5), self._baked(photo, 1.0)),
            _picture(run.array(tensors.DETAILED_ALBEDO)),
            np.einsum("ckhw,hwk->hwc", bands, self._bands),
        )

    def _baked(self, photo: bytes, delight: float) -> U8:
        options: dict[str, OptionValue] = {
            "texture_size": 2 * SIDE,
            "texture_format": "png",
            "delight": delight,
        }
        run = self._twin.run({contract.PHOTO: photo}, options, (tensors.TEXTURE,))
        texture = Image.open(io.BytesIO(run.content(tensors.TEXTURE))).convert("RGB")
        return np.asarray(texture.reduce(2))


def _picture(planes: F32) -> U8:
    """[3, S, S], 0-1, -> u8 [S, S, 3]."""
    return (np.clip(planes.transpose(1, 2, 0), 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
