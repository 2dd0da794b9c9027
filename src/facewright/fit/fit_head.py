"""``fit_head``: from 478 landmarks of one face to a head in front of a camera.

Camera, pose, identity, expression and corrective field are found together (``gauss_newton``), then the eyes
(``gaze``). Source: Wang et al. 2019, "Digital Twin: Acquiring High-Fidelity 3D Avatar from a Single Image",
sec. 3.4; the modules named say where they differ from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
from numpy.typing import NDArray

from facewright.core.clock import LapClock
from facewright.core.errors import FacewrightError
from facewright.core.settings import WEIGHED
from facewright.fit.camera import Camera, pose_angles, similarity
from facewright.fit.confidence import FitConfidence
from facewright.fit.corrective_field import CorrectivePrior, OwnShare, neutral_share, rigid_followers
from facewright.fit.detected_face import DetectedFace, checked_face, observed
from facewright.fit.expression_prior import build_expression_prior
from facewright.fit.face_form import MirroredLandmarks, form_warnings
from facewright.fit.field_expressions import FieldExpressions
from facewright.fit.fit_info import EyeFit, FitInfo, HeadFit, LandmarkError
from facewright.fit.gauss_newton import FitSettings, GaussNewton, Observation, Solution
from facewright.fit.gaze import Gaze, SeenIris, seen_irises
from facewright.fit.landmark_basis import OPENING, build_landmark_basis
from facewright.fit.shape_prior import ShapePrior
from facewright.hair.volume import HairVolume, HairVolumeSettings
from facewright.head.lip_seal import LipSeal, LipSealSettings
from facewright.pipelines.tensors import MESH_COUNT
from facewright_client.contract import IDENTITY_SIZE, ErrorCode

if TYPE_CHECKING:
    from facewright.head.head_model import HeadModel
    from facewright.photo.photo_info import PhotoInfo

#: Animals' faces pass that, and are then fitted by a person far from all people. On 293 portraits the score
#: is .999 or more and the norm of the identity at most 3.8; a cat's were .83 to .96 and 5.1 to 5.8 before the
#: shape was regressed, and are .98 to 1 and 3.2 to 4.4 since, which this does not tell any more.
SURE_FACE_SCORE: Final = 0.98
FARTHEST_IDENTITY: Final = 4.6
#: Beyond this yaw one half of the face is guesswork.
LARGEST_RELIABLE_YAW: Final = 40.0
#: Median reprojection error, % of the pupil distance, above which the fit is called poor.
POOR_MEDIAN_PERCENT: Final = 2.0
#: Shapes of which small weights stay in the neutral (`HeadFitSettings.largest_habitual`); no nose sneers out
#: of habit. What parts the lips (`landmark_basis.OPENING`) always goes.
HABITUAL_SHAPES: Final = ("brow", "cheek", "mouth")


@dataclass(frozen=True)
class HeadFitSettings:
    """The numbers of the stage ``fit_head`` that a person's likeness hangs on."""

    optimiser: FitSettings = field(default_factory=FitSettings)
    corrective: CorrectivePrior = field(default_factory=CorrectivePrior)
    own_share: OwnShare = field(default_factory=OwnShare)
    hair_volume: HairVolumeSettings = field(default_factory=HairVolumeSettings)
    lip_seal: LipSealSettings = field(default_factory=LipSealSettings)
    #: Up to this much of each of `HABITUAL_SHAPES` stays in the neutral: one photo cannot tell a hint of an
    #: expression from the person's form (distance of the judge `faceres` at yaw 0: 0.558 at 0.12, 0.545 at
    #: 0.3, on 36 portraits; and 0.18 more of a smile stays).
    largest_habitual: Annotated[float, "weight", WEIGHED] = 0.22


class HeadFitter:
    """Fits one head model to faces. Thread-safe: nothing changes after construction (about one second).

    Args:
        head: the head model.
        settings: the stage's numbers; the defaults serve.
    """

    def __init__(self, head: HeadModel, settings: HeadFitSettings | None = None) -> None:
        settings = settings or HeadFitSettings()
        self.head = head
        self.basis = build_landmark_basis(head, settings.corrective)
        self.gaze = Gaze(head)
        self.optimiser = GaussNewton(
            self.basis, build_expression_prior(list(head.expression_names)), settings.optimiser
        )
        self._held = FieldExpressions(head, self.basis, self.optimiser.prior.free)
        self._mirrored = MirroredLandmarks(self.basis.landmarks.mean)
        self.confidence = FitConfidence(head, self.basis)
        self._followers = rigid_followers(head)
        self._own_share = settings.own_share.of(self.basis.field)
        self._mean_joints = head.joints(head.vertices_mean)
        self._joint_basis = np.matmul(head.joint_regressor, head.identity_basis)  # [160, J, 3]
        self.hair = HairVolume(head, settings.hair_volume)
        self._seal = LipSeal(head, settings.lip_seal)
        names = [str(name) for name in head.expression_names]
        self._shape_index = {name: index for index, name in enumerate(names)}
        self._largest_habitual = np.array(
            [
                settings.largest_habitual
                * (name.startswith(HABITUAL_SHAPES) and not name.startswith(OPENING))
                for name in names
            ],
            np.float32,
        )

    def fit(
        self,
        network_landmarks: NDArray[np.floating],
        face_score: float,
        landmark_to_crop: NDArray[np.floating],
        crop_to_photo: NDArray[np.floating],
        info: PhotoInfo,
        person_mask: NDArray[np.uint8] | None = None,
        focal_px: float = 0.0,
        shape_prior: ShapePrior | None = None,
    ) -> HeadFit:
        """Fits the head to one face.

        Args:
            network_landmarks: [478, 3], landmark-input pixels; z in the same unit, smaller is nearer.
            face_score: the network's probability of a face, 0-1.
            landmark_to_crop: [3, 3], landmark-input pixels to crop pixels, a similarity.
            crop_to_photo: [3, 3], crop pixels to photo pixels, a similarity.
            info: the photo's size and focal length.
            person_mask: u8 [M, M], probability of a person x 255 over the crop; gives the hair its volume.
                None leaves the bare skull.
            focal_px: the caller's, photo pixels; 0: unknown. It goes before EXIF's.
            shape_prior: what was regressed from this face; None: nothing.

        Raises:
            FacewrightError: NO_FACE where the score says so; BAD_OPTION for an impossible focal_px; INTERNAL
                for wrong shapes or values that are not finite.
        """
        clock = LapClock()
        face = checked_face(network_landmarks, face_score, landmark_to_crop, crop_to_photo)
        seen, focal, warnings = observed(face, landmark_to_crop, info, focal_px, shape_prior)
        start = Solution(
            self._starting_camera(face, seen, crop_to_photo, info), self.optimiser.expected(shape_prior)
        )

        # Pose and linear model first, then everything. The lids follow the gaze, so it is set before the
        # expressions have settled.
        optimiser, settings = self.optimiser, self.optimiser.settings
        irises = seen_irises(face.crop)
        try:
            solution = optimiser.steps(start, seen, optimiser.linear_size, settings.linear_steps - 1)
            solution = self._with_gaze(solution, irises)
            solution = optimiser.steps(solution, seen, optimiser.linear_size, 1)
            solution = optimiser.steps(solution, seen, optimiser.size, settings.joint_steps)
        except np.linalg.LinAlgError as error:
            raise FacewrightError(
                ErrorCode.INTERNAL, f"the fit broke down: {error}", "these landmarks show no face; report it"
            ) from error
        clock.lap("optimise")
        self._require_person(solution, face_score)
        fit = self.assembled(solution, irises)
        if person_mask is not None:
            hair = self.hair.displacement(
                fit.fitted,
                solution.camera.intrinsics(),
                solution.camera.extrinsics(),
                person_mask,
                info.crop_valid_box,
            )
            fit.fitted[:] += hair
            fit.neutral[:] += hair
        clock.lap("assemble")

        camera = solution.camera
        yaw, pitch, roll = pose_angles(camera.rotation)
        pupils = self.pupil_distance(fit.neutral) * camera.pixels_per_metre
        before, after = self.errors(solution, seen, pupils)
        shape = np.delete(solution.coefficients, self.optimiser.expression)
        form = form_warnings(
            network_landmarks,
            self._mirrored.asymmetry(network_landmarks),
            float(np.linalg.norm(shape)),
            before.median,
            yaw,
        )
        fit_info = FitInfo(
            yaw=yaw,
            pitch=pitch,
            roll=roll,
            focal_px=camera.focal,
            focal_photo_px=camera.focal * face.photo_scale,
            focal_source=focal.source,
            pupil_distance_px=pupils,
            error_before=before,
            error_after=after,
            region_sigma_mm=self.confidence.region_sigma_mm(solution),
            left_eye=_eye(irises[0], fit.eyes[0]),
            right_eye=_eye(irises[1], fit.eyes[1]),
            face_score=float(face_score),
            iterations=solution.steps,
            warnings=[*warnings, *form, *_unlike(shape_prior), *_warnings(yaw, after, irises)],
            milliseconds=clock.milliseconds,
        )
        return HeadFit(
            landmarks=face.photo.astype(np.float32),
            identity=self.identity(solution),
            expression=fit.expression,
            eye_rotation=fit.eyes.astype(np.float32),
            intrinsics=camera.intrinsics(),
            head_to_camera=camera.extrinsics(),
            fitted_vertices=fit.fitted,
            neutral_vertices=fit.neutral,
            info=fit_info,
        )

    def _require_person(self, solution: Solution, face_score: float) -> None:
        distance = float(np.linalg.norm(solution.coefficients[: self.basis.identity_size]))
        if face_score < SURE_FACE_SCORE and distance > FARTHEST_IDENTITY:
            raise FacewrightError(
                ErrorCode.NO_FACE,
                f"the face found is no person's (score {face_score:.2f}, {distance:.1f} standard deviations "
                "from the mean head)",
                "send a photo of a person, no animal, drawing or mask",
            )

    def _starting_camera(
        self, face: DetectedFace, seen: Observation, crop_to_photo: NDArray[np.floating], info: PhotoInfo
    ) -> Camera:
        """Pose by a similarity between the mean head and the network's own 3-D points."""
        centre = np.array([info.photo_width / 2, info.photo_height / 2, 1.0])
        principal = np.linalg.solve(np.asarray(crop_to_photo, np.float64), centre)
        principal = principal[:2] / principal[2]
        points = np.concatenate([face.crop, face.depth[:, None]], axis=1)[:MESH_COUNT]
        weights = 1.0 / (self.basis.sigma**2 + 0.001**2)
        scale, rotation, offset = similarity(self.basis.landmarks.mean, points, weights)
        depth = seen.focal_prior / scale
        x, y = (offset[:2] - principal) / scale
        return Camera(rotation, np.array([x, y, depth]), seen.focal_prior, principal)

    def _with_gaze(self, solution: Solution, irises: tuple[SeenIris, SeenIris]) -> Solution:
        angles, _ = self.gaze.read(self._joints(solution), solution.camera, irises)
        coefficients = solution.coefficients.copy()
        for name, weight in self.gaze.look_weights(angles).items():
            coefficients[self.basis.identity_size + self._shape_index[name]] = weight
        return Solution(solution.camera, coefficients, solution.steps)

    def _joints(self, solution: Solution) -> NDArray[np.float32]:
        """Joints [J, 3] of the fitted identity."""
        moved = np.tensordot(self.identity(solution), self._joint_basis, 1)
        return np.asarray(self._mean_joints + moved, np.float32)

    def identity(self, solution: Solution) -> NDArray[np.float32]:
        """All identity coefficients, those that the fit does not use as zeros."""
        identity = np.zeros(IDENTITY_SIZE, np.float32)
        identity[: self.basis.identity_size] = solution.coefficients[: self.basis.identity_size]
        return identity

    def assembled(self, solution: Solution, irises: tuple[SeenIris, SeenIris]) -> AssembledHead:
        """Vertices with and without expression, and the final gaze."""
        coefficients = solution.coefficients.astype(np.float32)
        expression = coefficients[self.optimiser.expression]
        person = self.head.neutral(self.identity(solution))
        correction = coefficients[self.optimiser.linear_size :]
        more = self._held.shown(expression, correction)
        shown = np.tensordot(more, self.head.expression_basis, 1)
        field = self.basis.field.displacement(correction) - shown
        closed = correction - self.basis.opening @ (self.basis.opening.T @ correction)
        kept, most = self._own_share * closed, self._own_share.max()
        own = self.basis.field.displacement(kept) - most * shown
        expression = expression + more
        moved = np.tensordot(expression, self.head.expression_basis, 1)
        for eye in self.gaze.eyes:
            moved[eye.vertices] = 0.0  # eyeballs turn, below; a linear addition would shrink them
        share = neutral_share(moved)
        for vertices, anchors, weights in self._followers:
            share[vertices] = weights @ share[anchors]
        fitted = person + field
        habitual = np.minimum(expression, self._largest_habitual)
        neutral = person + share[:, None] * own
        neutral -= self._held.not_of_the_person(expression, kept, most * more)
        neutral += np.tensordot(habitual, self.head.expression_basis, 1)
        self._seal.close(neutral)
        joints = self.head.joints(fitted)
        angles, shifts = self.gaze.read(joints, solution.camera, irises)
        for eye, shift in zip(self.gaze.eyes, shifts, strict=True):
            fitted[eye.vertices, 0] += shift
            neutral[eye.vertices, 0] += shift
            joints[eye.joint, 0] += shift
        fitted += moved
        self.gaze.turn(fitted, joints, angles)
        return AssembledHead(fitted, neutral, expression, angles)

    def pupil_distance(self, neutral: NDArray[np.float32]) -> float:
        """Metres between the pupils of a head [V, 3] that looks straight ahead."""
        joints = self.head.joints(neutral)
        left, right = (joints[eye.joint] + eye.iris_offset for eye in self.gaze.eyes)
        return float(np.linalg.norm(left - right))

    def errors(
        self, solution: Solution, seen: Observation, pupils: float
    ) -> tuple[LandmarkError, LandmarkError]:
        """Reprojection of the mesh landmarks without and with the corrective field."""
        plain = solution.coefficients.copy()
        plain[self.optimiser.linear_size :] = 0.0
        errors = []
        for coefficients in (plain, solution.coefficients):
            residual, viewed = self.optimiser.residuals(Solution(solution.camera, coefficients), seen)
            percent = 100.0 * viewed.distances(residual, self.basis.contour) / pupils
            median, p95 = np.percentile(percent, [50, 95])
            errors.append(LandmarkError(float(median), float(p95)))
        return errors[0], errors[1]


@dataclass(frozen=True)
class AssembledHead:
    """A solution's head.

    Attributes:
        fitted, neutral: [V, 3], head space, with the expression and without.
        expression: [52], with what the corrective field held of it.
        eyes: [2, 2], left and right: yaw, pitch; radians.
    """

    fitted: NDArray[np.float32]
    neutral: NDArray[np.float32]
    expression: NDArray[np.float32]
    eyes: NDArray[np.float64]


def _unlike(shape_prior: ShapePrior | None) -> list[str]:
    if shape_prior is None or shape_prior.distance <= 1.0:
        return []
    return [
        "the face is unlike all that its shape was learnt from "
        f"({shape_prior.distance:.1f} times as far as the farthest): the avatar is nearer to the mean head"
    ]


def _eye(iris: SeenIris, angles: NDArray[np.float64]) -> EyeFit:
    yaw, pitch = np.degrees(angles)
    return EyeFit(
        (float(iris.centre[0]), float(iris.centre[1])), iris.radius, iris.openness, float(yaw), float(pitch)
    )


def _warnings(yaw: float, after: LandmarkError, irises: tuple[SeenIris, SeenIris]) -> list[str]:
    warnings = []
    if abs(yaw) > LARGEST_RELIABLE_YAW:
        warnings.append(
            f"the face is turned by {yaw:.0f} degrees; beyond {LARGEST_RELIABLE_YAW:.0f} "
            "the far side is guessed"
        )
    if after.median > POOR_MEDIAN_PERCENT:
        warnings.append(
            f"poor fit: half the landmarks are off by more than {after.median:.1f} % of the pupil distance"
        )
    if all(iris.openness < 0.2 for iris in irises):
        warnings.append("the eyes are closed: gaze and iris colour are guessed")
    return warnings
