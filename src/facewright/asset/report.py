"""The report that comes with an avatar. ``Report`` is its schema; docs/report.md explains each member.

Angles are degrees, lengths are in the unit of the member's name, frames are those of CONVENTIONS.md.
"""

from __future__ import annotations

from typing import Any, Final, TypedDict

import numpy as np
import numpy.typing as npt

from facewright.core.provenance import Provenance
from facewright.fit.fit_info import EyeFit, FitInfo, FocalSource
from facewright.photo.photo_info import PhotoInfo
from facewright.texture.texture_info import TextureInfo

F32 = npt.NDArray[np.float32]

FORMAT_VERSION: Final = 1


class PhotoReport(TypedDict):
    width: int
    height: int
    face_box: list[float]
    face_score: float
    face_count: int
    face_index: int


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


class RegionConfidence(TypedDict):
    shape_sigma_mm: float | None
    texture: float | None


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


class AvatarReport(TypedDict):
    bytes: int
    triangles: list[int]
    vertices: int
    morph_targets: int
    joints: list[str]


class Report(TypedDict):
    format_version: int
    pipeline: str
    facewright_version: str
    options: dict[str, Any]
    photo: PhotoReport
    camera: CameraReport
    fit: FitReport
    confidence: dict[str, RegionConfidence]
    texture: TextureReport
    avatar: AvatarReport
    warnings: list[str]
    milliseconds: dict[str, float]
    models: dict[str, str]
    licences: dict[str, str]


def photo_report(photo: PhotoInfo) -> PhotoReport:
    """What concerns the caller of the photo."""
    return {
        "width": photo.photo_width,
        "height": photo.photo_height,
        "face_box": [round(float(edge), 1) for edge in photo.face_box],
        "face_score": round(photo.face_score, 4),
        "face_count": photo.face_count,
        "face_index": photo.face_index,
    }


def camera_report(fit: FitInfo) -> CameraReport:
    """Focal length in photo pixels and the head's pose."""
    return {
        "focal_px": round(fit.focal_photo_px, 1),
        "focal_source": fit.focal_source,
        "pose": {"yaw": round(fit.yaw, 2), "pitch": round(fit.pitch, 2), "roll": round(fit.roll, 2)},
    }


def fit_report(fit: FitInfo, identity: F32, expression: F32, expression_names: list[str]) -> FitReport:
    """Coefficients, gaze and residuals (% of the pupil distance)."""
    return {
        "identity": [round(float(weight), 4) + 0.0 for weight in identity],
        "expression": {
            name: round(float(weight), 4) for name, weight in zip(expression_names, expression, strict=True)
        },
        "eye_left": _eye_report(fit.left_eye),
        "eye_right": _eye_report(fit.right_eye),
        "error_before_corrective": {
            "median": round(fit.error_before.median, 3),
            "p95": round(fit.error_before.p95, 3),
        },
        "error_after_corrective": {
            "median": round(fit.error_after.median, 3),
            "p95": round(fit.error_after.p95, 3),
        },
        "landmark_score": round(fit.face_score, 4),
        "iterations": fit.iterations,
    }


def texture_report(texture: TextureInfo, sh_light: F32, length: int) -> TextureReport:
    """What the texture shows and how it was lit; ``length`` in bytes."""
    return {
        "size": texture.size,
        "format": texture.format,
        "bytes": length,
        "skin_tone": list(texture.skin_tone),
        "hair_tone": list(texture.hair_tone),
        "hair_seen": round(texture.hair_seen, 3),
        "visible_share": round(texture.visible_share, 3),
        "mirrored_share": round(texture.mirrored_share, 3),
        "excluded_share": round(texture.excluded_share, 3),
        "sh_light": [[round(float(value), 5) for value in band] for band in sh_light],
        "light_contrast": round(texture.light_contrast, 3),
        "light_residual": round(texture.light_residual, 4),
    }


def confidence_report(fit: FitInfo, texture: TextureInfo) -> dict[str, RegionConfidence]:
    """Per region: 1 sigma of the shape, and the share of the texture that the photo determines."""
    regions = [
        *fit.region_sigma_mm,
        *(name for name in texture.region_confidence if name not in fit.region_sigma_mm),
    ]
    return {
        name: {
            "shape_sigma_mm": _rounded(fit.region_sigma_mm.get(name)),
            "texture": _rounded(texture.region_confidence.get(name)),
        }
        for name in regions
    }


def build_report(
    provenance: Provenance,
    fit: FitInfo,
    texture: TextureInfo,
    sections: tuple[PhotoReport, FitReport, TextureReport, AvatarReport],
    milliseconds: dict[str, float],
) -> Report:
    """The whole report; ``milliseconds`` are the packaging stage's own."""
    photo, fitted, baked, avatar = sections
    return {
        "format_version": FORMAT_VERSION,
        "pipeline": provenance.pipeline,
        "facewright_version": provenance.version,
        "options": fit.options,
        "photo": photo,
        "camera": camera_report(fit),
        "fit": fitted,
        "confidence": confidence_report(fit, texture),
        "texture": baked,
        "avatar": avatar,
        "warnings": list(dict.fromkeys([*fit.warnings, *texture.warnings])),
        "milliseconds": {
            **_steps("fit_head", fit.milliseconds),
            **_steps("bake_texture", texture.milliseconds),
            **_steps("package_avatar", milliseconds),
        },
        "models": dict(provenance.models),
        "licences": dict(provenance.licences),
    }


def _eye_report(eye: EyeFit) -> EyeReport:
    return {
        "openness": round(eye.openness, 3),
        "gaze_yaw": round(eye.gaze_yaw, 2),
        "gaze_pitch": round(eye.gaze_pitch, 2),
    }


def _steps(stage: str, milliseconds: dict[str, float]) -> dict[str, float]:
    """Times by ``stage.step``; steps that name a stage (an earlier one's) keep it."""
    return {
        name if "." in name else f"{stage}.{name}": round(spent, 2) for name, spent in milliseconds.items()
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
