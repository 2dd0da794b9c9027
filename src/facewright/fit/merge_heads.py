"""Several photos of one person, by their codes, to one head: the geometry of the stage ``merge_photos``.

All landmarks are fitted again, together (`shared_fit`). The neutral takes from the corrective field what any
photo shows at rest, and of expressions what all photos show; the hair's volume is the most frontal photo's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from facewright.code.avatar_code import AvatarCode
from facewright.core.errors import FacewrightError
from facewright.fit.camera import Camera, nearest_rotation, pose_angles, similarity
from facewright.fit.detected_face import checked_face, observed
from facewright.fit.fit_head import HeadFitSettings, HeadFitter
from facewright.fit.fit_info import PoseReport
from facewright.fit.gauss_newton import Observation, Solution
from facewright.fit.gaze import SeenIris, seen_irises
from facewright.fit.shape_prior import ShapePrior
from facewright.fit.shared_fit import SharedFit, with_one_person
from facewright.head.head_model import HeadModel
from facewright.photo.photo_info import PhotoInfo
from facewright_client.contract import ErrorCode

#: Steps without the corrective field and with it: cameras and expressions start where each photo's own fit
#: ended, so the first are few.
_LINEAR_STEPS: Final = 2
_JOINT_STEPS: Final = 3
#: Degrees that closed eyes count as, where the photo is chosen whose hair and eyes the avatar gets.
_CLOSED_EYES: Final = 60.0


class FittedPhotoReport(TypedDict):
    pose: PoseReport
    error: float
    shape_distance_mm: float


@dataclass(frozen=True)
class MergedHead:
    """One person's head.

    Attributes:
        reference: which photo it is shown in: the most frontal one with open eyes.
        identity: f32 ``[160]``.
        expression: f32 ``[52]``, in the reference photo.
        eye_rotation: f32 ``[2, 2]``, there.
        landmarks: f32 ``[478, 2]``, pixels of the reference photo.
        intrinsics: f32 ``[3, 3]``, head_to_camera: f32 ``[3, 4]``, of the reference photo.
        fitted_vertices: f32 ``[V, 3]``, as in the reference photo.
        neutral_vertices: f32 ``[V, 3]``.
        region_sigma_mm: by region of the head.
        photos: what is said of each.
    """

    reference: int
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    eye_rotation: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    intrinsics: NDArray[np.float32]
    head_to_camera: NDArray[np.float32]
    fitted_vertices: NDArray[np.float32]
    neutral_vertices: NDArray[np.float32]
    region_sigma_mm: dict[str, float]
    photos: list[FittedPhotoReport]


@dataclass(frozen=True)
class _SeenPhoto:
    """A code's photo as the fit sees it."""

    crop: NDArray[np.float64]  # [478, 2], crop pixels
    landmarks: NDArray[np.float64]  # [478, 2], photo pixels
    seen: Observation
    start: Solution
    irises: tuple[SeenIris, SeenIris]

    @property
    def unsuited(self) -> float:
        """How little it suits as the reference, degrees."""
        yaw, pitch, _ = pose_angles(self.start.camera.rotation)
        closed = max(1.0 - iris.openness for iris in self.irises)
        return float(np.hypot(yaw, pitch)) + _CLOSED_EYES * closed


class HeadMerger:
    """Merges photos of one head model.

    Args:
        head: the head model.
        settings: of the fit; those of ``fit_head`` serve.
    """

    def __init__(self, head: HeadModel, settings: HeadFitSettings | None = None) -> None:
        self._fitter = HeadFitter(head, settings)
        self._shared = SharedFit(self._fitter.optimiser)
        self._face = np.flatnonzero(head.region("face") > 0.5)

    def merge(self, codes: Sequence[AvatarCode]) -> MergedHead:
        """One head of all photos.

        Raises:
            FacewrightError: BAD_CODE for landmarks that show no face.
        """
        fitter = self._fitter
        photos = [self._seen(code, number) for number, code in enumerate(codes, 1)]
        solutions = self._solved(photos)
        reference = min(range(len(photos)), key=lambda index: photos[index].unsuited)
        photo, solution = photos[reference], solutions[reference]
        fit = fitter.assembled(solution, photo.irises)
        calm = fitter.assembled(self._calmest(solutions, reference), photo.irises)
        code = codes[reference]
        hair = fitter.hair.displacement(
            fit.fitted,
            solution.camera.intrinsics(),
            solution.camera.extrinsics(),
            code.person_mask,
            _photo_info(code).crop_valid_box,
        )
        neutral = calm.neutral + hair
        return MergedHead(
            reference=reference,
            identity=fitter.identity(solution),
            expression=fit.expression,
            eye_rotation=fit.eyes.astype(np.float32),
            landmarks=photo.landmarks.astype(np.float32),
            intrinsics=solution.camera.intrinsics(),
            head_to_camera=solution.camera.extrinsics(),
            fitted_vertices=fit.fitted + hair,
            neutral_vertices=neutral,
            region_sigma_mm=fitter.confidence.region_sigma_mm(solution),
            photos=[
                self._report(one, solved, own.neutral_vertices, neutral)
                for one, solved, own in zip(photos, solutions, codes, strict=True)
            ],
        )

    def _seen(self, code: AvatarCode, number: int) -> _SeenPhoto:
        try:
            face = checked_face(
                code.network_landmarks, float(code.face_score[0]), code.landmark_to_crop, code.crop_to_photo
            )
            regressed = ShapePrior.regressed(
                code.identity_prior,
                code.expression_prior,
                code.landmark_bias,
                float(code.shape_distance[0]),
            )
            seen, _, _ = observed(
                face, code.landmark_to_crop, _photo_info(code), float(code.focal_px[1]), regressed
            )
        except FacewrightError as error:
            raise FacewrightError(
                ErrorCode.BAD_CODE, f"code {number} shows no face: {error.message}", error.hint
            ) from None
        optimiser = self._fitter.optimiser
        camera = Camera(
            nearest_rotation(code.head_to_camera[:, :3]),
            code.head_to_camera[:, 3].astype(np.float64),
            float(code.intrinsics[0, 0]),
            code.intrinsics[:2, 2].astype(np.float64),
        )
        coefficients = np.zeros(optimiser.size)
        coefficients[: optimiser.expression.start] = code.identity[: optimiser.expression.start]
        coefficients[optimiser.expression] = code.expression
        return _SeenPhoto(
            face.crop,
            face.photo,
            seen,
            Solution(camera, coefficients),
            seen_irises(face.crop),
        )

    def _solved(self, photos: Sequence[_SeenPhoto]) -> list[Solution]:
        optimiser = self._fitter.optimiser
        seen = [photo.seen for photo in photos]
        try:
            solutions = with_one_person([photo.start for photo in photos], optimiser)
            solutions = self._shared.steps(solutions, seen, optimiser.linear_size, _LINEAR_STEPS)
            solutions = self._shared.steps(solutions, seen, optimiser.size, _JOINT_STEPS)
        except np.linalg.LinAlgError as error:
            raise FacewrightError(
                ErrorCode.BAD_CODE, f"the codes cannot be fitted together: {error}", "leave one out"
            ) from error
        if not all(np.isfinite(solution.coefficients).all() for solution in solutions):
            raise FacewrightError(ErrorCode.BAD_CODE, "the codes cannot be fitted together", "leave one out")
        return solutions

    def _calmest(self, solutions: Sequence[Solution], reference: int) -> Solution:
        """The person with as little of each expression as any photo shows: where a photo is at rest, what the
        corrective field has there is form."""
        place = self._fitter.optimiser.expression
        coefficients = solutions[reference].coefficients.copy()
        coefficients[place] = np.min([solution.coefficients[place] for solution in solutions], axis=0)
        return replace(solutions[reference], coefficients=coefficients)

    def _report(
        self,
        photo: _SeenPhoto,
        solution: Solution,
        own: NDArray[np.float32],
        merged: NDArray[np.float32],
    ) -> FittedPhotoReport:
        yaw, pitch, roll = pose_angles(solution.camera.rotation)
        pupils = self._fitter.pupil_distance(merged) * solution.camera.pixels_per_metre
        _, after = self._fitter.errors(solution, photo.seen, pupils)
        mine, its = own[self._face].astype(np.float64), merged[self._face].astype(np.float64)
        scale, rotation, shift = similarity(mine, its)
        apart = np.linalg.norm(scale * mine @ rotation.T + shift - its, axis=1)
        return {
            "pose": {"yaw": round(yaw, 2), "pitch": round(pitch, 2), "roll": round(roll, 2)},
            "error": round(after.median, 3),
            "shape_distance_mm": round(1e3 * float(np.sqrt(np.mean(apart**2))), 3),
        }


def _photo_info(code: AvatarCode) -> PhotoInfo:
    """What the fit asks of a photo."""
    width, height = map(int, code.photo_size)
    left, top, right, bottom = map(int, code.valid_box)
    return PhotoInfo(
        photo_width=width,
        photo_height=height,
        face_box=(0.0, 0.0, float(width), float(height)),
        face_score=float(code.face_score[0]),
        face_count=1,
        face_index=0,
        face_roll=0.0,
        focal_px=float(code.focal_px[0]) or None,
        crop_valid_box=(left, top, right, bottom),
    )
