"""What a baked texture says about itself. Travels between stages as JSON (``TEXTURE_INFO``)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field


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

    def to_json(self) -> str:
        """One line of JSON; :meth:`from_json` gives an equal object back."""
        return json.dumps(asdict(self), allow_nan=False)

    @staticmethod
    def from_json(text: str | bytes) -> TextureInfo:
        """Reads :meth:`to_json`'s output; TypeError where fields are missing or unknown."""
        fields = json.loads(text)
        for name in ("skin_tone", "hair_tone"):
            red, green, blue = fields[name]
            fields[name] = (red, green, blue)
        return TextureInfo(**fields)
