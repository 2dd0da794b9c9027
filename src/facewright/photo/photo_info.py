"""What is known about a photo once its face is found. Travels as JSON (``PHOTO_INFO``) through all stages."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PhotoInfo:
    """The photo, the chosen face, and the request's options.

    Args:
        photo_width, photo_height: of the upright photo, pixels.
        face_box: x0, y0, x1, y1 of the detector's box, photo pixels.
        face_score: the landmark network's probability that the chosen place shows a face.
        face_count: how many faces were found.
        face_index: which of them was chosen, counted from left to right.
        face_roll: angle of the line from the right to the left eye against the photo's x axis, degrees,
            clockwise as seen.
        focal_px: focal length in photo pixels from EXIF, None where unknown. The option ``focal_px`` goes
            before it.
        crop_valid_box: x0, y0, x1, y1 of the part of FACE_CROP that shows the photo, crop pixels; beyond it
            the photo's border is repeated.
        accepted_unix_s, deadline_unix_s: when the server took the photo, and when to give up; seconds, 0:
        never.
        found_unix_s: when find_face was done; seconds, 0: unknown.
        options: all options by name, validated.
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
    accepted_unix_s: float
    deadline_unix_s: float
    options: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    milliseconds: dict[str, float] = field(default_factory=dict)
    found_unix_s: float = 0.0

    def landmarks_found(self, now_unix_s: float) -> PhotoInfo:
        """With the time of the landmark network, which is a stage without code of its own.

        Args:
            now_unix_s: when the next stage took over. The time includes what Triton took for the two hops and
                what the request waited for a free instance.
        """
        spent = {"face_landmarks.network_and_waiting": round(1e3 * (now_unix_s - self.found_unix_s), 3)}
        return dataclasses.replace(self, milliseconds={**self.milliseconds, **spent})

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
