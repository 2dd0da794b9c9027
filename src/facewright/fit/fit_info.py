"""What a fit says about itself: pose, residuals, confidence, gaze. Travels as JSON (``FIT_INFO``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from facewright.pipelines.section import Section

#: Where the focal length that a fit starts from was found; "estimated" is a guess from the photo's size.
FocalSource = Literal["option", "exif", "estimated"]


class PoseReport(TypedDict):
    yaw: float
    pitch: float
    roll: float


class CameraReport(TypedDict):
    focal_px: float
    focal_source: FocalSource
    pose: PoseReport


class LandmarkErrorReport(TypedDict):
    median: float
    p95: float


class EyeReport(TypedDict):
    openness: float
    gaze_yaw: float
    gaze_pitch: float


class FitReport(TypedDict):
    identity: list[float]
    expression: dict[str, float]
    eye_left: EyeReport
    eye_right: EyeReport
    error_before_corrective: LandmarkErrorReport
    error_after_corrective: LandmarkErrorReport
    landmark_score: float
    iterations: int


class ShapeConfidence(TypedDict):
    shape_sigma_mm: float


class FitSection(TypedDict):
    """Members of ``fit_head``'s section; docs/report.md explains each."""

    camera: CameraReport
    fit: FitReport
    confidence: dict[str, ShapeConfidence]


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
        warnings: sentences for the report.
        milliseconds: time per step.
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
    """A fitted head; the fields are what the stage ``fit_head`` gives.

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

    def section(self, expression_names: Sequence[str]) -> Section:
        """The camera, coefficients by name, residuals in % of the pupil distance, the shape's confidence."""
        info = self.info
        pose: PoseReport = {
            "yaw": round(info.yaw, 2),
            "pitch": round(info.pitch, 2),
            "roll": round(info.roll, 2),
        }
        expression = zip(expression_names, self.expression, strict=True)
        members: FitSection = {
            "camera": {
                "focal_px": round(info.focal_photo_px, 1),
                "focal_source": info.focal_source,
                "pose": pose,
            },
            "fit": {
                "identity": [round(float(weight), 4) + 0.0 for weight in self.identity],
                "expression": {name: round(float(weight), 4) for name, weight in expression},
                "eye_left": _eye_report(info.left_eye),
                "eye_right": _eye_report(info.right_eye),
                "error_before_corrective": _error_report(info.error_before),
                "error_after_corrective": _error_report(info.error_after),
                "landmark_score": round(info.face_score, 4),
                "iterations": info.iterations,
            },
            "confidence": {
                region: {"shape_sigma_mm": round(sigma, 3)} for region, sigma in info.region_sigma_mm.items()
            },
        }
        return Section(members, info.warnings, info.milliseconds)


def _eye_report(eye: EyeFit) -> EyeReport:
    return {
        "openness": round(eye.openness, 3),
        "gaze_yaw": round(eye.gaze_yaw, 2),
        "gaze_pitch": round(eye.gaze_pitch, 2),
    }


def _error_report(error: LandmarkError) -> LandmarkErrorReport:
    return {"median": round(error.median, 3), "p95": round(error.p95, 3)}
