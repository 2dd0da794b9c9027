"""One face's landmarks as the fit is given them: checked, in every space, with the focal length to expect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from facewright.core.errors import FacewrightError
from facewright.fit.camera import LOG_FOCAL_SIGMA, focal_prior
from facewright.fit.fit_info import FocalSource
from facewright.fit.gauss_newton import Observation
from facewright.fit.shape_prior import ShapePrior
from facewright.pipelines.tensors import MESH_COUNT
from facewright_client.contract import LANDMARKS_COUNT, ErrorCode

if TYPE_CHECKING:
    from facewright.photo.photo_info import PhotoInfo

#: The network's own certainty below which its landmarks are noise.
LEAST_FACE_SCORE: Final = 0.5
#: Landmark-input pixels; a face that the network was shown properly spans a hundred.
LEAST_EXTENT_PX: Final = 10.0
#: Focal length over face size, both in pixels: below this the lens would be some 20 cm from the head's
#: middle.
LEAST_FOCAL_PER_FACE: Final = 1.2
#: And above this some 20 m away, where a face that the network can read needs a telescope.
MOST_FOCAL_PER_FACE: Final = 100.0
_FACE_HEIGHT: Final = 0.2  # metres, as the landmarks span it
#: 1 sigma of log focal length where EXIF states one (digital zoom, cropping) and where the caller does.
EXIF_LOG_FOCAL_SIGMA: Final = 0.05
GIVEN_LOG_FOCAL_SIGMA: Final = 0.01


@dataclass(frozen=True)
class DetectedFace:
    """One face's landmarks in the spaces that the fit uses."""

    crop: NDArray[np.float64]  # [478, 2], crop pixels
    depth: NDArray[np.float64]  # [478], crop pixels, the network's z
    photo: NDArray[np.float64]  # [478, 2], photo pixels
    photo_scale: float  # photo pixels per crop pixel


@dataclass(frozen=True)
class ExpectedFocal:
    """The focal length a fit starts from, photo pixels, 1 sigma of its logarithm, and where it is from."""

    pixels: float
    log_sigma: float
    source: FocalSource


def checked_face(
    network_landmarks: NDArray[np.floating],
    face_score: float,
    landmark_to_crop: NDArray[np.floating],
    crop_to_photo: NDArray[np.floating],
) -> DetectedFace:
    """One face of what the networks found.

    Raises:
        FacewrightError: NO_FACE where the score says so; INTERNAL for wrong shapes, values that are not
            finite and transforms that are no similarities.
    """
    for name, array, shape in (
        ("network_landmarks", network_landmarks, (LANDMARKS_COUNT, 3)),
        ("landmark_to_crop", landmark_to_crop, (3, 3)),
        ("crop_to_photo", crop_to_photo, (3, 3)),
    ):
        if array.shape != shape:
            raise FacewrightError(
                ErrorCode.INTERNAL,
                f"{name} has shape {array.shape}, not {shape}",
                "see pipelines.twin.FIT_HEAD",
            )
        if not np.isfinite(array).all():
            bad = int(np.count_nonzero(~np.isfinite(array)))
            raise FacewrightError(
                ErrorCode.INTERNAL,
                f"{name} has {bad} values that are not finite",
                "the stage before failed on this photo; report it",
            )
    if not face_score >= LEAST_FACE_SCORE:  # also NaN
        raise FacewrightError(
            ErrorCode.NO_FACE,
            f"the landmark network sees no face (score {face_score:.2f}, at least {LEAST_FACE_SCORE} needed)",
            "send a photo in which the face is unobstructed, sharp and not seen from behind",
        )
    landmarks = np.asarray(network_landmarks, np.float64)
    to_crop, to_photo = np.asarray(landmark_to_crop, np.float64), np.asarray(crop_to_photo, np.float64)
    crop_scale, photo_scale = (
        _similarity_scale("landmark_to_crop", to_crop),
        _similarity_scale("crop_to_photo", to_photo),
    )
    extent = np.ptp(landmarks[:MESH_COUNT, :2], axis=0)
    if extent.min() < LEAST_EXTENT_PX:
        raise FacewrightError(
            ErrorCode.INTERNAL,
            f"the landmarks span only {extent[0]:.1f} x {extent[1]:.1f} pixels of the network's input",
            "the stage before failed on this photo; report it",
        )
    crop = landmarks[:, :2] @ to_crop[:2, :2].T + to_crop[:2, 2]
    return DetectedFace(
        crop, landmarks[:, 2] * crop_scale, crop @ to_photo[:2, :2].T + to_photo[:2, 2], photo_scale
    )


def _expected_focal(face: DetectedFace, info: PhotoInfo, focal_px: float) -> tuple[ExpectedFocal, list[str]]:
    """The option's focal length, else EXIF's where it is possible, else a guess; and warnings about it."""
    extent = float(np.max(np.ptp(face.photo[:MESH_COUNT], axis=0)))
    least, most = LEAST_FOCAL_PER_FACE * extent, MOST_FOCAL_PER_FACE * extent
    given, exif = focal_px, float(info.focal_px or 0.0)
    if 0.0 < given < least:
        raise FacewrightError(
            ErrorCode.BAD_OPTION,
            f"focal_px {given:.0f} would put the camera inside the head: the face spans {extent:.0f} px",
            f"pass at least {least:.0f}, or 0 to have it estimated",
        )
    if given > most:
        raise FacewrightError(
            ErrorCode.BAD_OPTION,
            f"focal_px {given:.0f} would put the camera {given / extent * _FACE_HEIGHT:.0f} metres away: the "
            f"face spans {extent:.0f} px",
            f"pass at most {most:.0f}, or 0 to have it estimated",
        )
    if given:
        return ExpectedFocal(given, GIVEN_LOG_FOCAL_SIGMA, "option"), []
    if least <= exif <= most:
        return ExpectedFocal(exif, EXIF_LOG_FOCAL_SIGMA, "exif"), []
    warnings = []
    if exif:
        warnings.append(f"the photo's focal length ({exif:.0f} px) is impossible for this face: ignored")
    guess = focal_prior((info.photo_width, info.photo_height), extent)
    return ExpectedFocal(guess, LOG_FOCAL_SIGMA, "estimated"), warnings


def observed(
    face: DetectedFace,
    landmark_to_crop: NDArray[np.floating],
    info: PhotoInfo,
    focal_px: float,
    shape_prior: ShapePrior | None,
) -> tuple[Observation, ExpectedFocal, list[str]]:
    """What the fit is told of a face, the focal length that it starts from, and warnings about that."""
    focal, warnings = _expected_focal(face, info, focal_px)
    pixels = face.crop[:MESH_COUNT]
    if shape_prior is not None:
        pixels = pixels - shape_prior.landmark_bias @ np.asarray(landmark_to_crop, np.float64)[:2, :2].T
    return (
        Observation(pixels, focal.pixels / face.photo_scale, focal.log_sigma, shape_prior),
        focal,
        warnings,
    )


def _similarity_scale(name: str, matrix: NDArray[np.float64]) -> float:
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    affine = np.allclose(matrix[2], [0, 0, 1], atol=1e-6)
    if not affine or scale < 1e-6:
        raise FacewrightError(
            ErrorCode.INTERNAL, f"{name} is no similarity: {matrix.tolist()}", "see pipelines.twin.FIT_HEAD"
        )
    return scale
