"""All numbers of the hair that ``bake_texture`` paints; those of its volume are `HairVolumeSettings`."""

from __future__ import annotations

from dataclasses import dataclass, field

from facewright.hair.colour import HairColourSettings
from facewright.hair.cover import HairCoverSettings
from facewright.hair.falling import FallingHairSettings
from facewright.hair.strands import StrandSettings


@dataclass(frozen=True)
class HairSettings:
    """Of painted hair, by file of this room."""

    colour: HairColourSettings = field(default_factory=HairColourSettings)
    cover: HairCoverSettings = field(default_factory=HairCoverSettings)
    falling: FallingHairSettings = field(default_factory=FallingHairSettings)
    strands: StrandSettings = field(default_factory=StrandSettings)
