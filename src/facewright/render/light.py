"""Light on a head: nine SH bands for what is diffuse, small lamps for what glints.

SH order and frame: CONVENTIONS.md. Directions are unit vectors *towards* the lamp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from facewright.core.arrays import Floats
from facewright.core.spherical_harmonics import sh_basis

#: Ramamoorthi and Hanrahan, "An Efficient Representation for Irradiance Environment Maps" (2001), eq. 8:
#: the cosine lobe's factor for bands l = 0, 1, 2.
COSINE_LOBE: Final = np.repeat(np.array([np.pi, 2 * np.pi / 3, np.pi / 4]), [1, 3, 5])


@dataclass(frozen=True)
class Lamp:
    """A distant lamp.

    Attributes:
        direction: towards the lamp, any length.
        colour: linear RGB; a white surface facing a lamp of colour 1 has radiance 1.
        glint: strength of its mirror image in wet eyes and, much weaker, on skin; 0 for none.
    """

    direction: tuple[float, float, float]
    colour: tuple[float, float, float]
    glint: float = 0.0

    @property
    def unit(self) -> Floats:
        """The direction with length 1, f32 [3]."""
        vector = np.asarray(self.direction, np.float64)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


@dataclass(frozen=True)
class Light:
    """What lights a head.

    Attributes:
        coefficients: f32 [9, 3] SH, convolved with the cosine lobe: radiance = albedo x sum c_k Y_k(n).
        lamps: lamps whose glints show; their diffuse light is already in ``coefficients``.
        follows_camera: whether directions are in the viewer's frame (x right, y up, z towards the viewer),
            so that the light stays put when the head turns, or in head space.
    """

    coefficients: Floats
    lamps: tuple[Lamp, ...] = ()
    follows_camera: bool = False

    @classmethod
    def from_lamps(cls, ambient: tuple[float, float, float], *lamps: Lamp) -> Light:
        """A studio in the viewer's frame: even light (the radiance of a white surface) plus ``lamps``."""
        coefficients = np.zeros((9, 3))
        coefficients[0] = np.asarray(ambient) / 0.282095
        for lamp in lamps:
            bands = sh_basis(lamp.unit) * COSINE_LOBE
            coefficients += bands[:, None] * np.asarray(lamp.colour)
        return cls(coefficients.astype(np.float32), lamps, follows_camera=True)

    @classmethod
    def even(cls, radiance: float = 1.0) -> Light:
        """The same light from everywhere: the picture shows the texture as it is."""
        return cls.from_lamps((radiance, radiance, radiance))


#: A soft key from the upper left of the picture and a weak fill: for looking at albedo textures.
STUDIO: Final = Light.from_lamps(
    (0.48, 0.48, 0.485),
    Lamp((-0.5, 0.34, 0.8), (0.58, 0.575, 0.56), glint=1.0),
    Lamp((0.85, 0.15, 0.5), (0.12, 0.125, 0.135)),
)
