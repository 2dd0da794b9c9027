"""Fine structure for what no photo showed: strands where hair is filled in, pores where skin is, and the gaps
that make teeth of a smooth arch.

All of it is static per head and texture size, and deterministic; the baker only sets how strong it is.
Without it a filled back of the head looks like a swimming cap, filled skin like plastic, and teeth like a
boxer's guard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from facewright.appearance.texel_layout import TexelPoints, padded_texel_map
from facewright.core.arrays import Floats
from facewright.core.settings import BY_EYE
from facewright.hair.strands import StrandSettings, hair_strands
from facewright.head.head_model import HeadModel
from facewright_kernels import TexelMap

#: Widths of the crowns from the middle outward, metres: incisors, canine, premolars, molars. Source:
#: mesiodistal crown diameters in Wheeler's Dental Anatomy.
CROWN_WIDTHS = {
    "teeth_upper": (0.0085, 0.0065, 0.0075, 0.007, 0.007, 0.010, 0.009),
    "teeth_lower": (0.005, 0.0055, 0.007, 0.007, 0.007, 0.011, 0.0105),
}
#: Strands are generated at most at this size and enlarged for larger textures.
LARGEST_GENERATED = 1024


@dataclass(frozen=True)
class FineDetailSettings:
    """Of pores and teeth."""

    #: Pores are noise blurred by this.
    pore_sigma: Annotated[float, "texels", BY_EYE] = 0.8
    #: Half-width of the arch that `CROWN_WIDTHS` stand in, and of a gap with its shadow.
    arch: Annotated[float, "metres", BY_EYE] = 0.029
    gap: Annotated[float, "metres", BY_EYE] = 0.0006
    #: How much darker a crown is at its rounded sides than in its middle.
    roundness: Annotated[float, "of a gap's darkness", BY_EYE] = 0.3


def fine_detail(
    head: HeadModel, texels: TexelMap, settings: FineDetailSettings, strands: StrandSettings
) -> NDArray[np.uint8]:
    """u8 ``[S, S, 2]``: strands and pores, 128 is neutral, ±127 the strongest. On teeth, the second channel
    darkens the gaps between them.

    All of it is computed from the texel's place on the canonical head, so UV cuts do not show.
    """
    if texels.size > LARGEST_GENERATED:
        small = fine_detail(head, padded_texel_map(head, LARGEST_GENERATED), settings, strands)
        size = (texels.size, texels.size)
        enlarged = [
            np.asarray(Image.fromarray(small[..., k]).resize(size, Image.Resampling.BICUBIC))
            for k in range(2)
        ]
        return np.stack(enlarged, axis=-1)
    points = TexelPoints(head, texels)
    position = points.interpolate(head.vertices_canonical)
    rng = np.random.default_rng(1)
    hair = hair_strands(head, position, rng, strands)
    pores = ndimage.gaussian_filter(
        rng.standard_normal((texels.size, texels.size)).astype(np.float32), settings.pore_sigma, mode="wrap"
    )
    pores /= pores.std()
    fine = pores.ravel() / 3.0
    part = np.where(points.covered, head.triangle_part[texels.triangle_id.ravel()], -1)
    for name, widths in CROWN_WIDTHS.items():
        if name in head.part_names:
            own = part == list(head.part_names).index(name)
            fine[own] = -_gaps(position[own], widths, settings)
    signed = np.stack([hair, fine], axis=-1).reshape(*pores.shape, 2)
    result: NDArray[np.uint8] = (np.clip(signed, -1.0, 1.0) * 127.0 + 128.5).astype(np.uint8)
    return result


def _gaps(position: Floats, widths: tuple[float, ...], settings: FineDetailSettings) -> Floats:
    """Darkness f32 ``[N]``, 1 in a gap, at points ``[N, 3]`` of an arch of teeth, taken as half an
    ellipse."""
    x, z = position[:, 0], position[:, 2]
    half, back = float(np.abs(x).max()), float(z.min())
    depth = max(float(z.max()) - back, 1e-6)
    # Where along the arch a point is: its angle, turned into length by a table.
    steps = np.linspace(0.0, np.pi / 2, 200)
    lengths = np.hypot(np.diff(half * np.sin(steps)), np.diff(depth * np.cos(steps)))
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    angle = np.arctan2(np.abs(x) / half, (z - back) / depth)
    scale = half / settings.arch
    place = np.interp(angle, steps, along) / scale
    edges = np.concatenate([[0.0], np.cumsum(widths)])
    tooth = np.clip(np.searchsorted(edges, place) - 1, 0, len(widths) - 1)
    side = np.minimum(place - edges[tooth], edges[tooth + 1] - place)
    middle = np.clip(side / (0.5 * np.asarray(widths)[tooth]), 0.0, 1.0)
    gap = np.exp(-((side / settings.gap) ** 2))
    result: Floats = np.maximum(gap, settings.roundness * (1.0 - middle) ** 2).astype(np.float32)
    return result
