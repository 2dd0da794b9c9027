"""The dark inside of the mouth: what neither the photo nor the light of a game engine can know."""

from __future__ import annotations

from typing import Final

import numpy as np

from facewright.core.arrays import Floats
from facewright.head.ambient_occlusion import ambient_occlusion
from facewright.head.head_model import HeadModel

#: How strongly occlusion darkens: below 1 as light also bounces around in a mouth, most of all off teeth.
_INSIDE: Final = 0.85
_PARTS: Final = {"tongue": 0.85, "teeth_upper": 0.3, "teeth_lower": 0.3}
#: The jaw is open enough for light to fall in as it does when somebody speaks loudly.
_JAW_OPEN: Final = 0.7


def mouth_strength(head: HeadModel) -> Floats:
    """How strongly occlusion darkens each vertex inside the mouth, f32 [V]; 0 outside of it."""
    strength: Floats = _INSIDE * head.region("mouth_inside")
    names = [str(name) for name in head.part_names]
    for part, share in _PARTS.items():
        if part in names:
            strength[head.triangles[head.part_triangles(part)]] = share
    return strength


def mouth_shadow(head: HeadModel) -> Floats:
    """Factor f32 [V] in 0-1 on the albedo: 1 on the face, darker the deeper inside the mouth.

    Taken on the mean head with its jaw open, so that an opening mouth shows a dark inside; nobody sees the
    inside of a closed one.
    """
    jaw = [str(name) for name in head.expression_names].index("jawOpen")
    opened = head.vertices_mean + np.float32(_JAW_OPEN) * head.expression_basis[jaw]
    shadow: Floats = 1 - mouth_strength(head) * (1 - ambient_occlusion(opened, head.triangles))
    return shadow
