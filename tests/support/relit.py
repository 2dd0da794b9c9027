"""How near an avatar, drawn over its photo in some light, comes to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facewright.appearance.texel_layout import TexelPoints, padded_texel_map
from facewright.core.colour import linear_from_srgb
from facewright.head.head_model import HeadModel
from facewright.render.light import Light
from facewright.render.render_head import HeadRenderer, View

_SIDE = 256
_BLACK = (0.0, 0.0, 0.0)
_REGIONS = ("cheeks", "forehead", "nose", "chin")


def skin_error(
    head: HeadModel,
    vertices: NDArray[np.float32],
    texture: NDArray[np.uint8],
    crop: NDArray[np.uint8],
    camera: tuple[NDArray[np.float32], NDArray[np.float32]],
    light: Light,
) -> float:
    """Mean difference of linear light over cheeks, forehead, nose and chin, of the photo's mean light there.

    Args:
        head: the head model of ``vertices`` f32 [V, 3], as in the photo.
        texture, crop: sRGB u8 [S, S, 3] and the photo's [1024, 1024, 3].
        camera: INTRINSICS and HEAD_TO_CAMERA.
        light: that the avatar is drawn in.
    """
    view = View(*camera, len(crop), len(crop)).window(0, 0, len(crop), _SIDE)
    points = TexelPoints(head, padded_texel_map(head, _SIDE))
    skin = points.interpolate(np.clip(sum(head.region(name) for name in _REGIONS), 0, 1))
    white = np.repeat(skin.reshape(_SIDE, _SIDE, 1), 3, axis=2).astype(np.float32)
    shown = HeadRenderer(head, white).render(vertices, view, Light.even()).over(_BLACK)[..., 0] > 240
    photo = linear_from_srgb(np.asarray(Image.fromarray(crop).reduce(len(crop) // _SIDE)))[shown]
    avatar = HeadRenderer(head, texture).render(vertices, view, light).over(_BLACK)
    return float(np.abs(linear_from_srgb(avatar)[shown] - photo).mean() / photo.mean())
