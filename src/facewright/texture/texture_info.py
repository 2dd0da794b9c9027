"""What a baked texture says about itself. Travels between stages as JSON (``TEXTURE_INFO``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from facewright.pipelines.section import Section


class TextureReport(TypedDict):
    size: int
    format: str
    bytes: int
    skin_tone: list[int]
    hair_tone: list[int]
    hair_seen: float
    visible_share: float
    mirrored_share: float
    excluded_share: float
    sh_light: list[list[float]]
    light_contrast: float
    light_residual: float


class TextureConfidence(TypedDict):
    texture: float


class TextureSection(TypedDict):
    """Members of ``bake_texture``'s section; docs/report.md explains each."""

    texture: TextureReport
    confidence: dict[str, TextureConfidence]


@dataclass(frozen=True)
class TextureInfo:
    """The report of ``bake_texture``.

    Attributes:
        size: texels per side.
        format: ``jpeg``, ``webp`` or ``png``.
        skin_tone: mean skin of the texture, sRGB 0–255.
        hair_tone: hair of the texture, sRGB 0–255; equals about the skin tone for a bald head.
        hair_seen: share 0–1 of the scalp that the photo shows with something other than skin on it.
        visible_share: share 0–1 of the face's texels that come from the photo directly.
        mirrored_share: share of the face's texels that come from the other side of the face.
        excluded_share: share of the face's visible texels left out because something lay on the skin.
        light_contrast: largest over least irradiance on the face (95 % and 5 % quantiles).
        light_residual: weighted mean |ln(radiance / prediction)| of the light's estimate.
        region_confidence: per head region, how much of it the photo determines, 0–1.
        warnings: sentences for the report.
        milliseconds: time per step.
    """

    size: int
    format: str
    skin_tone: tuple[int, int, int]
    hair_tone: tuple[int, int, int]
    hair_seen: float
    visible_share: float
    mirrored_share: float
    excluded_share: float
    light_contrast: float
    light_residual: float
    region_confidence: dict[str, float]
    warnings: list[str] = field(default_factory=list)
    milliseconds: dict[str, float] = field(default_factory=dict)

    def section(self, sh_light: NDArray[np.float32], length: int) -> Section:
        """What the texture shows and how it was lit.

        Args:
            sh_light: f32 [9, 3], the light in which the texture shows the photo.
            length: of the encoded texture, bytes.
        """
        members: TextureSection = {
            "texture": {
                "size": self.size,
                "format": self.format,
                "bytes": length,
                "skin_tone": list(self.skin_tone),
                "hair_tone": list(self.hair_tone),
                "hair_seen": round(self.hair_seen, 3),
                "visible_share": round(self.visible_share, 3),
                "mirrored_share": round(self.mirrored_share, 3),
                "excluded_share": round(self.excluded_share, 3),
                "sh_light": [[round(float(value), 5) for value in band] for band in sh_light],
                "light_contrast": round(self.light_contrast, 3),
                "light_residual": round(self.light_residual, 4),
            },
            "confidence": {
                region: {"texture": round(share, 3)} for region, share in self.region_confidence.items()
            },
        }
        return Section(members, self.warnings, self.milliseconds)
