"""All numbers of the stage ``bake_texture`` that decide what a texture looks like, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from facewright.appearance.evidence import EvidenceSettings, ZoneSettings
from facewright.appearance.head_template import TemplateSettings
from facewright.appearance.photo_light import PhotoLightPrior
from facewright.appearance.photo_view import SightingSettings
from facewright.appearance.skin_model import SkinSettings
from facewright.core.settings import BY_EYE
from facewright.hair.settings import HairSettings
from facewright.texture.completion import SkinCompletionSettings
from facewright.texture.dressing import DressingSettings
from facewright.texture.eyes import EyeSettings
from facewright.texture.fine_detail import FineDetailSettings
from facewright.texture.layers import LayerSettings


@dataclass(frozen=True)
class WarningSettings:
    """From when the report warns of what a photo lacks, and when it lacks too much."""

    #: Least share of the face that is seen, and the one below which the face would be all invented: of 494
    #: photos all show 0.45 and more.
    least_visible: Annotated[float, "share", BY_EYE] = 0.4
    least_usable: Annotated[float, "share", "measured on 494 photos"] = 0.12
    #: Largest share of it that is covered: 1 % of 494 photos have more (5 % have more than 0.12).
    most_covered: Annotated[float, "share", "measured on 494 photos"] = 0.15
    #: Largest over least irradiance on the face.
    hard_light: Annotated[float, "times", BY_EYE] = 4.0


@dataclass(frozen=True)
class BakeSettings:
    """In the order in which a photo passes them; each is defined beside the code that reads it."""

    sighting: SightingSettings = field(default_factory=SightingSettings)
    zones: ZoneSettings = field(default_factory=ZoneSettings)
    light: PhotoLightPrior = field(default_factory=PhotoLightPrior)
    skin: SkinSettings = field(default_factory=SkinSettings)
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    hair: HairSettings = field(default_factory=HairSettings)
    template: TemplateSettings = field(default_factory=TemplateSettings)
    completion: SkinCompletionSettings = field(default_factory=SkinCompletionSettings)
    layers: LayerSettings = field(default_factory=LayerSettings)
    dressing: DressingSettings = field(default_factory=DressingSettings)
    detail: FineDetailSettings = field(default_factory=FineDetailSettings)
    eyes: EyeSettings = field(default_factory=EyeSettings)
    warnings: WarningSettings = field(default_factory=WarningSettings)
