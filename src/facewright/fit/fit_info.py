"""What a fit says about itself: pose, residuals, confidence, gaze. Travels as JSON (``FIT_INFO``)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

#: Where the focal length that a fit starts from was found; "estimated" is a guess from the photo's size.
FocalSource = Literal["option", "exif", "estimated"]


@dataclass(frozen=True)
class LandmarkError:
    """Distances between projected and detected landmarks, in % of the pupil distance in the image."""

    median: float
    p95: float


@dataclass(frozen=True)
class EyeFit:
    """What was seen of one eye.

    Args:
        iris_centre: crop pixels (x, y).
        iris_radius: crop pixels.
        openness: 1 wide as the fitted person's open eye, 0 closed.
        gaze_yaw, gaze_pitch: degrees; positive to the subject's left and down.
    """

    iris_centre: tuple[float, float]
    iris_radius: float
    openness: float
    gaze_yaw: float
    gaze_pitch: float

    @property
    def closed(self) -> bool:
        """Whether the lids cover the iris, so that gaze and iris colour cannot be read from the photo."""
        return self.openness < 0.2


@dataclass(frozen=True)
class FitInfo:
    """The report of ``fit_head`` and what later stages need to carry on.

    Args:
        yaw, pitch, roll: pose in degrees (CONVENTIONS.md).
        focal_px: focal length in crop pixels; ``focal_photo_px`` in photo pixels.
        focal_source: what the fit started from; an EXIF value that it refused counts as estimated.
        pupil_distance_px: crop pixels, of the fitted head seen frontally at its depth.
        error_before, error_after: landmark reprojection without and with the corrective field.
        region_sigma_mm: per head region, root mean square of the neutral's 1 sigma, millimetres.
        left_eye, right_eye: the subject's.
        face_score: the landmark network's probability of a face.
        iterations: Gauss-Newton steps taken.
        warnings: sentences for the report, earlier stages' included.
        milliseconds: time per step, earlier stages' included.
        photo: the photo's ``PhotoInfo`` as a mapping: options, deadline and sizes for later stages.
    """

    yaw: float
    pitch: float
    roll: float
    focal_px: float
    focal_photo_px: float
    focal_source: FocalSource
    pupil_distance_px: float
    error_before: LandmarkError
    error_after: LandmarkError
    region_sigma_mm: dict[str, float]
    left_eye: EyeFit
    right_eye: EyeFit
    face_score: float
    iterations: int
    warnings: list[str] = field(default_factory=list)
    milliseconds: dict[str, float] = field(default_factory=dict)
    photo: dict[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """The request's validated options."""
        options: dict[str, Any] = self.photo.get("options", {})
        return options

    def to_json(self) -> str:
        """One line of JSON; :meth:`from_json` gives an equal object back."""
        return json.dumps(asdict(self), allow_nan=False)

    @staticmethod
    def from_json(text: str | bytes) -> FitInfo:
        """Reads :meth:`to_json`'s output; KeyError or TypeError where fields are missing or unknown."""
        fields = json.loads(text)
        for name in ("error_before", "error_after"):
            fields[name] = LandmarkError(**fields[name])
        for name in ("left_eye", "right_eye"):
            eye = fields[name]
            eye["iris_centre"] = (eye["iris_centre"][0], eye["iris_centre"][1])
            fields[name] = EyeFit(**eye)
        return FitInfo(**fields)


@dataclass(frozen=True)
class HeadFit:
    """A fitted head; the fields are the contract's ``FIT_HEAD`` outputs.

    Args:
        landmarks: float32 [478, 2], detected landmarks in photo pixels.
        identity: float32 [160].
        expression: float32 [52], ARKit order, 0-1.
        eye_rotation: float32 [2, 2], left and right eye: yaw, pitch; radians; positive to the subject's left,
            down.
        intrinsics: float32 [3, 3], crop pixels.
        head_to_camera: float32 [3, 4].
        fitted_vertices: float32 [V, 3], head space: identity, expression, corrective field, rotated eyes.
        neutral_vertices: float32 [V, 3], head space: identity and the corrective field without expression.
        info: pose, residuals, confidence.
    """

    landmarks: NDArray[np.float32]
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    eye_rotation: NDArray[np.float32]
    intrinsics: NDArray[np.float32]
    head_to_camera: NDArray[np.float32]
    fitted_vertices: NDArray[np.float32]
    neutral_vertices: NDArray[np.float32]
    info: FitInfo
