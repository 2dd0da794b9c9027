"""What is known about a photo once its face is found. Travels as JSON (``PHOTO_INFO``) to later stages."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TypedDict

from facewright.pipelines.section import Section


class PhotoReport(TypedDict):
    """The report's ``photo``: docs/report.md."""

    width: int
    height: int
    face_box: list[float]
    face_score: float
    face_count: int
    face_index: int


class PhotoSection(TypedDict):
    """Members of ``find_face``'s section."""

    photo: PhotoReport


@dataclass(frozen=True)
class PhotoInfo:
    """The photo and the chosen face.

    Args:
        photo_width, photo_height: of the upright photo, pixels.
        face_box: x0, y0, x1, y1 of the box around the face's landmarks, photo pixels; it may reach beyond the
            photo.
        face_score: the landmark network's probability, at the look that gave these landmarks, that they are a
            face's.
        face_count: how many faces were found, whatever ``face_index`` asked for.
        face_index: which of them was chosen, counted from left to right; as an option it chooses the same.
        face_roll: angle of the line from the right to the left eye against the photo's x axis, degrees,
            clockwise as seen.
        focal_px: focal length in photo pixels from EXIF, None where unknown. The option ``focal_px`` goes
            before it.
        crop_valid_box: x0, y0, x1, y1 of the part of FACE_CROP that shows the photo, crop pixels; beyond it
            the photo's border is repeated.
        warnings: sentences for the report.
        milliseconds: time per step.
    """

    photo_width: int
    photo_height: int
    face_box: tuple[float, float, float, float]
    face_score: float
    face_count: int
    face_index: int
    face_roll: float
    focal_px: float | None
    crop_valid_box: tuple[int, int, int, int]
    warnings: list[str] = field(default_factory=list)
    milliseconds: dict[str, float] = field(default_factory=dict)

    def section(self) -> Section:
        """What concerns the caller."""
        photo: PhotoReport = {
            "width": self.photo_width,
            "height": self.photo_height,
            "face_box": [round(float(edge), 1) for edge in self.face_box],
            "face_score": round(self.face_score, 4),
            "face_count": self.face_count,
            "face_index": self.face_index,
        }
        members: PhotoSection = {"photo": photo}
        return Section(members, self.warnings, self.milliseconds)

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> PhotoInfo:
        """The inverse of `to_json`.

        Raises:
            ValueError: not JSON.
            TypeError: members are missing or unknown.
        """
        members = json.loads(text)
        for name in ("face_box", "crop_valid_box"):
            members[name] = tuple(members[name])
        return cls(**members)
