"""What is known about a synthetic person's photo, exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

#: Real orthonormal bands (CONVENTIONS.md, "Spherical harmonics").
_BANDS: Final = (0.282095, 0.488603, 1.092548, 0.315392, 0.546274)
#: The share of each band that a cosine lobe lets through (Ramamoorthi and Hanrahan 2001, eq. 8).
_LOBE: Final = np.repeat([np.pi, 2 * np.pi / 3, np.pi / 4], [1, 3, 5])


@dataclass(frozen=True)
class Lamp:
    """A far lamp.

    Attributes:
        direction: float32 [3], unit, head space, towards the lamp.
        irradiance: float32 [3], linear RGB that it adds to ``albedo x`` where it shines perpendicularly.
        softness: width of its shadows' edges, metres.
    """

    direction: Floats
    irradiance: Floats
    softness: float


@dataclass(frozen=True)
class Light:
    """Radiance of a matte surface = albedo x (SH(normal) x ambient visibility + lamps x their visibility).

    Attributes:
        environment: float32 [9, 3], SH of all but the lamps, convolved with the cosine lobe, head space.
        lamps: those that cast shadows.
    """

    environment: Floats
    lamps: tuple[Lamp, ...]

    def total(self) -> Floats:
        """SH [9, 3] of the environment and the lamps together, as if nothing cast a shadow."""
        whole = self.environment.astype(np.float64)
        for lamp in self.lamps:
            whole += lamp_harmonics(lamp.direction, lamp.irradiance)
        return whole.astype(np.float32)


@dataclass(frozen=True)
class PersonTruth:
    """One photo's truth; lengths in metres, head space (CONVENTIONS.md), image pixels.

    Attributes:
        identity: float32 [160].
        expression: float32 [52], 0-1, ARKit order; the eyeLook shapes are those of ``eye_rotation``.
        eye_rotation: float32 [2, 2], left and right eye: yaw, pitch; radians; positive to the subject's left,
            down.
        intrinsics: float32 [3, 3], of the image.
        head_to_camera: float32 [3, 4].
        light: as photographed, exposure included.
        albedo: float32 [3], linear RGB of plain skin.
        vertices: float32 [V, 3], the posed head.
        glasses, hair, beard, hat, occluder: what is in the picture. ``hair`` is hair above the brows that is
            longer than stubble; ``occluder`` is something in front of the face.
        sunglasses: the glasses hide the eyes.
    """

    identity: Floats = field(repr=False)
    expression: Floats = field(repr=False)
    eye_rotation: Floats
    intrinsics: Floats
    head_to_camera: Floats
    light: Light = field(repr=False)
    albedo: Floats
    vertices: Floats = field(repr=False)
    glasses: bool
    sunglasses: bool
    hair: bool
    beard: bool
    hat: bool
    occluder: bool

    def pixels(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Image pixels [N, 2] of head-space ``points`` [N, 3]."""
        turn, shift = self.head_to_camera[:, :3].astype(np.float64), self.head_to_camera[:, 3]
        seen = (points @ turn.T + shift) @ self.intrinsics.T.astype(np.float64)
        pixels: npt.NDArray[np.float64] = seen[:, :2] / seen[:, 2:]
        return pixels


def harmonics(directions: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The nine bands [..., 9] of unit ``directions`` [..., 3]."""
    x, y, z = np.moveaxis(np.asarray(directions, np.float64), -1, 0)
    constant, linear, product, polar, equator = _BANDS
    bands = [
        np.full_like(x, constant),
        linear * y,
        linear * z,
        linear * x,
        product * x * y,
        product * y * z,
        polar * (3 * z * z - 1),
        product * x * z,
        equator * (x * x - y * y),
    ]
    return np.stack(bands, axis=-1)


def lamp_harmonics(
    direction: npt.NDArray[np.floating], irradiance: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """SH [9, 3], convolved with the cosine lobe, of a lamp of ``irradiance`` [3] from ``direction`` [3]."""
    return np.outer(_LOBE * harmonics(direction), irradiance)
