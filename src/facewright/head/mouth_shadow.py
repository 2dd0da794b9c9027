"""The dark inside of the mouth: what neither the photo nor the light of a game engine can know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np

from facewright.core.arrays import Floats
from facewright.core.settings import BY_EYE
from facewright.head.ambient_occlusion import ambient_occlusion
from facewright.head.head_model import HeadModel


@dataclass(frozen=True)
class MouthShadowSettings:
    """How dark a mouth is inside.

    The likeness benchmark cannot see it: its avatars' mouths are closed.
    """

    #: How strongly occlusion darkens: below 1 as light also bounces around in a mouth, most of all off teeth.
    lining: Annotated[float, "share", BY_EYE] = 0.85
    tongue: Annotated[float, "share", BY_EYE] = 0.85
    teeth: Annotated[float, "share", BY_EYE] = 0.3
    #: The jaw is open enough for light to fall in as it does when somebody speaks loudly.
    jaw_open: Annotated[float, "weight of jawOpen", BY_EYE] = 0.7


MOUTH_SHADOW: Final = MouthShadowSettings()


def mouth_strength(head: HeadModel, settings: MouthShadowSettings = MOUTH_SHADOW) -> Floats:
    """How strongly occlusion darkens each vertex inside the mouth, f32 [V]; 0 outside of it."""
    strength: Floats = settings.lining * head.region("mouth_inside")
    names = [str(name) for name in head.part_names]
    shares = {"tongue": settings.tongue, "teeth_upper": settings.teeth, "teeth_lower": settings.teeth}
    for part, share in shares.items():
        if part in names:
            strength[head.triangles[head.part_triangles(part)]] = share
    return strength


def mouth_shadow(head: HeadModel, settings: MouthShadowSettings = MOUTH_SHADOW) -> Floats:
    """Factor f32 [V] in 0-1 on the albedo: 1 on the face, darker the deeper inside the mouth.

    Taken on the mean head with its jaw open, so that an opening mouth shows a dark inside; nobody sees the
    inside of a closed one.
    """
    jaw = [str(name) for name in head.expression_names].index("jawOpen")
    opened = head.vertices_mean + np.float32(settings.jaw_open) * head.expression_basis[jaw]
    shadow: Floats = 1 - mouth_strength(head, settings) * (1 - ambient_occlusion(opened, head.triangles))
    return shadow
