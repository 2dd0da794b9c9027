"""The light of DECA and of Deep3D in the order and with the constants of CONVENTIONS.md.

Both regress nine coefficients for each colour, over the same nine functions as ours but in another order and
with constants of their own (the cosine lobe's, some negative). A change of order and scale turns one into the
other exactly. What it does not change: they light normals in *view* space (x right, y up, z to the viewer)
and multiply gamma-encoded albedo, so a caller rotates normals by the head's pose and does not read radiance
off the numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_PI: Final = math.pi
#: Our basis: the factor of 1, y, z, x, xy, yz, 3z² − 1, xz, x² − y².
_OURS: Final = (
    math.sqrt(1 / (4 * _PI)),
    *(math.sqrt(3 / (4 * _PI)),) * 3,
    *(math.sqrt(15 / (4 * _PI)),) * 2,
    math.sqrt(5 / (16 * _PI)),
    math.sqrt(15 / (4 * _PI)),
    math.sqrt(15 / (16 * _PI)),
)


@dataclass(frozen=True)
class LightOrder:
    """How published coefficients become ours: ``ours[k] = scale[k] * (published[index[k]] + offset[k])``."""

    index: tuple[int, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...] = (0.0,) * 9


def _deca_order() -> LightOrder:
    # decalib's renderer: 1, x, y, z, xy, xz, yz, x² − y², 3z² − 1, with the lobe's factors π, 2π/3, π/4 (the
    # constant one without its π)
    band1 = 2 * _PI / 3 * math.sqrt(3 / (4 * _PI))
    band2 = _PI / 4 * 3 * math.sqrt(5 / (12 * _PI))
    factors = (
        1 / math.sqrt(4 * _PI),
        band1,
        band1,
        band1,
        band2,
        band2,
        band2,
        _PI / 4 * 1.5 * math.sqrt(5 / (12 * _PI)),
        _PI / 4 * 0.5 * math.sqrt(5 / (4 * _PI)),
    )
    index = (0, 2, 3, 1, 4, 6, 8, 5, 7)
    return LightOrder(index, tuple(factors[i] / _OURS[k] for k, i in enumerate(index)))


def _deep3d_order() -> LightOrder:
    # ParametricFaceModel.compute_color: our order, its own constants, the first coefficient counted from 0.8
    band1 = 2 * _PI / math.sqrt(3) * math.sqrt(3 / (4 * _PI))
    band2 = 2 * _PI / math.sqrt(8) * 3 * math.sqrt(5 / (12 * _PI))
    factors = (
        _PI * math.sqrt(1 / (4 * _PI)),
        -band1,
        band1,
        -band1,
        band2,
        -band2,
        band2 / (2 * math.sqrt(3)),
        -band2,
        band2 / 2,
    )
    scale = tuple(factor / ours for factor, ours in zip(factors, _OURS, strict=True))
    return LightOrder(tuple(range(9)), scale, (0.8, *(0.0,) * 8))


#: DECA, ``light`` reshaped to [9, 3] (Feng et al. 2021, section 3, equation 3).
DECA_LIGHT: Final = _deca_order()
#: Deep3D, ``gamma`` reshaped to [3, 9] and transposed (Deng et al. 2019).
DEEP3D_LIGHT: Final = _deep3d_order()
