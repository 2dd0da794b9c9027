"""The joint fit of camera, identity, expression and corrective field to 2-D landmarks by Gauss-Newton.

Source: Wang et al. 2019, "Digital Twin: Acquiring High-Fidelity 3D Avatar from a Single Image", sec. 3.4, eq.
4: ``E = E_l + w_c E_c + w_r E_r``. Residuals are measured in metres at the head's depth and divided by each
landmark's sigma, coefficients by their prior's, so that the energy is a negative log posterior and its
Hessian at the end the inverse covariance of the result.

Where it differs from sec. 3.4 and 4.1 (the focal length and the starting pose: `camera`; eq. 2:
`corrective_field`; eq. 3: `expression_prior`; sliding contour: `contour`):

=================================  ==================================  =======================================
paper                              here                                why
=================================  ==================================  =======================================
eq. 1: E_l is 100 / W_eye times    squared distances in metres over    a detector's error differs by landmark
the sum of squared pixel           each landmark's own sigma (network  and view, and a few are far off;
distances of all landmarks         and embedding), with Cauchy's       squares alone follow those. Metres
                                   weights, and less weight on hidden  replace W_eye, which shrinks when the
                                   skin and on profiles                head turns

eq. 4: weights w_c = 25 and w_r =  none: every prior is stated as a    their values belong to the paper's
10 between the terms               sigma                               units and head; a sigma can be measured
                                                                       and gives the result a confidence

P from the shape regression        what `face_shape` regresses is the  it says how sure it is of each
network is fixed (sec. 3.3)        prior of 160 identity coefficients, coefficient; its sigma counts a fifth,
                                   which are fitted with the rest      as it has read the same landmarks

scale comes with that network      prior on the pupil distance, 63 +-  one view has no scale of its own
                                   3.6 mm

p = [beta, dP, t, q, f_s], q a     rotation vector on the left of the  three numbers for three degrees of
quaternion                         current rotation; image position,   freedom, no norm to keep; scale and
                                   log scale, log focal length for t   focal length, nearly one direction in t
                                   and f_s                             and f_s, come apart

N = 5 iterations over all of p     3 without the corrective field and  a free field would first explain a
                                   2 with it, at most; they end when   wrong pose, and keep what it explained
                                   no coefficient moves by 0.05

no bounds on beta are stated       0 to 1, mouthClose below jawOpen,   the avatar's engine knows no other
                                   by an active set in each step       weights

nothing                            the field is dear where it parts    an open mouth is expression, and must
                                   the lips, and where a turned face   not stay in the neutral; what is hidden
                                   hides its asymmetric part           is copied from the other half
=================================  ==================================  =======================================
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import spotrf, spotrs

from facewright.core.settings import BY_EYE, INSENSITIVE, NUMERICAL
from facewright.fit.camera import LOG_FOCAL_SIGMA, Camera, nearest_rotation, pose_angles, rotation_from_vector
from facewright.fit.contour import ViewedLandmarks, view_landmarks
from facewright.fit.expression_prior import ExpressionPrior
from facewright.fit.landmark_basis import LandmarkBasis
from facewright.fit.shape_prior import ShapePrior, ShapePriorSettings

_DODGSON: Final = "Dodgson, Variation and extrema of human interpupillary distance, 2004"
#: Rotation (3), image position of the head's origin (2), log scale, log focal length.
POSE_SIZE: Final = 7
#: What of the pose may not leap: rotation, log scale, log focal length.
_TURNS: Final = [0, 1, 2, 5, 6]


@dataclass(frozen=True)
class FitSettings:
    """How far the landmarks are trusted, and how long to iterate."""

    #: 1 sigma of the network's error, at the face.
    landmark_sigma: Annotated[float, "metres", INSENSITIVE] = 0.0007
    #: How much of the embedding's sigma counts. It was measured over many heads, so part of it is how people
    #: differ, which is the fit's to explain.
    embedding_share: Annotated[float, "share", INSENSITIVE] = 0.5
    #: Residuals beyond this many sigma lose weight (Cauchy); four times as many while the corrective field is
    #: held back, or an open mouth, far off at first, would count as an outlier.
    robust_sigma: Annotated[float, "sigma", INSENSITIVE] = 3.0
    #: Steps without the corrective field, which would otherwise explain a wrong pose.
    linear_steps: Annotated[int, "steps", NUMERICAL] = 3
    #: Steps with it, at most.
    joint_steps: Annotated[int, "steps", NUMERICAL] = 2
    #: Most that one step turns the head, or changes log scale and log focal length: the linearised projection
    #: says little beyond it.
    longest_turn: Annotated[float, "radians", NUMERICAL] = 0.6
    #: How many times dearer the corrective field is where it parts the lips, which is left to the
    #: expressions.
    opening_guard: Annotated[float, "times", BY_EYE] = 20.0
    #: Adults'. A single view has no scale; this gives it one.
    pupil_distance: Annotated[float, "metres", _DODGSON] = 0.063
    pupil_distance_sigma: Annotated[float, "metres", _DODGSON] = 0.0036
    regressed: ShapePriorSettings = field(default_factory=ShapePriorSettings)
    #: Stop when no coefficient moves by more than this.
    tolerance: Annotated[float, "sigma of a coefficient", NUMERICAL] = 0.05


@dataclass(frozen=True)
class Observation:
    """One face.

    Args:
        pixels: float64 [N, 2], detected mesh landmarks, crop pixels.
        focal_prior: expected focal length, crop pixels.
        log_focal_sigma: 1 sigma of its logarithm.
        shape: what is known of the person's shape and expression beforehand; None: nothing.
    """

    pixels: NDArray[np.float64]
    focal_prior: float
    log_focal_sigma: float = LOG_FOCAL_SIGMA
    shape: ShapePrior | None = None


@dataclass(frozen=True)
class Solution:
    """Where the optimiser stands.

    Args:
        camera: the camera.
        coefficients: float64 [P]: identity, expression, corrective field.
        steps: steps taken.
        hessian: float32 [7 + P, 7 + P], the Gauss-Newton Hessian at the last step; None before the first.
    """

    camera: Camera
    coefficients: NDArray[np.float64]
    steps: int = 0
    hessian: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class CoefficientPrior:
    """``0.5 c^T precision c + slope . c``: float32 [P, P], float64 [P]."""

    precision: NDArray[np.float32]
    slope: NDArray[np.float64]


class GaussNewton:
    """Fits one head model to landmarks; holds only what does not depend on the photo."""

    def __init__(self, basis: LandmarkBasis, prior: ExpressionPrior, settings: FitSettings) -> None:
        self.basis = basis
        self.settings = settings
        self.prior = prior
        first, count = basis.identity_size, basis.expression_size
        self.expression = slice(first, first + count)
        self.linear_size = first + count
        self.size = self.linear_size + basis.field.size
        sigma = np.hypot(settings.embedding_share * basis.sigma, settings.landmark_sigma)
        self._inverse_sigma = 1.0 / sigma
        self._asymmetric = basis.field.asymmetric[basis.field.scale > 0].astype(np.float32)
        self._usual = self._usual_prior()
        # With room for the pose in front, and contiguous: twice as fast to multiply as a slice.
        self._bases = {
            size: tuple(
                np.pad(part.basis[:, :, :size], ((0, 0), (0, 0), (POSE_SIZE, 0)))
                for part in (basis.landmarks, basis.candidates)
            )
            for size in (self.linear_size, self.size)
        }

    def steps(self, start: Solution, seen: Observation, size: int, count: int) -> Solution:
        """At most ``count`` steps over the first ``size`` coefficients (the linear model's, or all)."""
        solution = start
        prior = self.prior_of(seen.shape)
        robust_sigma = self.settings.robust_sigma * (1.0 if size == self.size else 4.0)
        for _ in range(count):
            previous = solution.coefficients
            solution = self._step(solution, seen, prior, size, robust_sigma)
            if np.max(np.abs(solution.coefficients - previous)) < self.settings.tolerance:
                break
        return solution

    def expected(self, shape: ShapePrior | None) -> NDArray[np.float64]:
        """The coefficients [P] to start from."""
        coefficients = np.zeros(self.size)
        if shape is not None:
            coefficients[: self.basis.identity_size] = shape.identity[: self.basis.identity_size, 0]
            coefficients[self.expression] = np.where(self.prior.free, shape.expression[:, 0], 0.0)
        return coefficients

    def points(self, coefficients: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embedded landmark points [N, 3] and contour candidates [C * K, 3], head space."""
        vector = coefficients.astype(np.float32)
        return tuple(  # type: ignore[return-value]
            part.mean + (part.basis.reshape(-1, self.size) @ vector).reshape(-1, 3)
            for part in (self.basis.landmarks, self.basis.candidates)
        )

    def view(self, solution: Solution) -> tuple[ViewedLandmarks, NDArray[np.float32]]:
        """The landmarks as the solution's camera sees them, and their surface points [N, 3]."""
        points, candidates = self.points(solution.coefficients)
        viewed = view_landmarks(self.basis, points, candidates, solution.camera)
        slid = viewed.candidate >= 0
        points[self.basis.contour[slid]] = candidates[viewed.candidate[slid]]
        return viewed, points

    def residuals(self, solution: Solution, seen: Observation) -> tuple[NDArray[np.float64], ViewedLandmarks]:
        """Projected minus detected, crop pixels [N, 2], silhouette points in place; and the view."""
        viewed, points = self.view(solution)
        return solution.camera.project(points) - seen.pixels, viewed

    def _step(
        self, solution: Solution, seen: Observation, prior: CoefficientPrior, size: int, robust_sigma: float
    ) -> Solution:
        hessian, gradient = self.landmark_terms(solution, seen, size, robust_sigma)
        self.add_priors(hessian, gradient, solution, seen, prior, size)
        place = np.arange(POSE_SIZE + self.expression.start, POSE_SIZE + self.expression.stop)
        step = bounded_step(hessian, gradient, place, *self.expression_bounds(solution))
        # All of it: coefficients that moved on alone would explain the turn that the pose did not take.
        step *= self.shortened(step)
        return self.stepped(solution, step, hessian)

    def landmark_terms(
        self, solution: Solution, seen: Observation, size: int, robust_sigma: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """What the landmarks add to Hessian [7 + size, 7 + size] and gradient [7 + size]."""
        viewed, points = self.view(solution)
        whitening = self._whitening(solution, seen, viewed, points, robust_sigma)
        jacobian, residual = self._linearised(solution, seen, viewed, points, whitening, size)
        return jacobian.T @ jacobian, (jacobian.T @ residual).astype(np.float64)

    def shortened(self, step: NDArray[np.float64]) -> float:
        """The share of a step [7 + size] that may be taken at once."""
        return min(1.0, self.settings.longest_turn / max(float(np.abs(step[_TURNS]).max()), 1e-12))

    def stepped(
        self, solution: Solution, step: NDArray[np.float64], hessian: NDArray[np.float32]
    ) -> Solution:
        """The solution after a step [7 + size]."""
        moved = solution.coefficients.copy()
        moved[: len(step) - POSE_SIZE] += step[POSE_SIZE:]
        camera = _moved(solution.camera, step[:POSE_SIZE])
        return replace(solution, camera=camera, coefficients=moved, steps=solution.steps + 1, hessian=hessian)

    def expression_bounds(self, solution: Solution) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The least and the most that a step may change the expressions by, [E] each."""
        expression = solution.coefficients[self.expression]
        top = np.where(self.prior.free, 1.0, expression)
        top[self.prior.mouth_close] = min(1.0, max(0.0, expression[self.prior.jaw_open]))
        return np.where(self.prior.free, 0.0, expression) - expression, top - expression

    def _whitening(
        self,
        solution: Solution,
        seen: Observation,
        viewed: ViewedLandmarks,
        points: NDArray[np.float32],
        robust_sigma: float,
    ) -> NDArray[np.float64]:
        """Square roots of the landmarks' weights, 1 / metres, [N, 2, 2]: view, sigma, Cauchy's loss."""
        residual = solution.camera.project(points) - seen.pixels
        residual /= solution.camera.pixels_per_metre
        whitening = viewed.whitening * self._inverse_sigma[:, None, None]
        white = (whitening @ residual[:, :, None])[..., 0]
        robust = 1.0 / (1.0 + np.sum(white**2, axis=1) / robust_sigma**2)
        return np.asarray(whitening * np.sqrt(robust)[:, None, None])

    def _linearised(
        self,
        solution: Solution,
        seen: Observation,
        viewed: ViewedLandmarks,
        points: NDArray[np.float32],
        whitening: NDArray[np.float64],
        size: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Whitened Jacobian [2 N, 7 + size] and residual [2 N]."""
        camera = solution.camera
        relative = points @ camera.rotation.T
        position = relative + camera.translation
        inverse_depth = 1.0 / position[:, 2]
        pixels = camera.focal * position[:, :2] * inverse_depth[:, None] + camera.principal
        residual = (pixels - seen.pixels) / camera.pixels_per_metre
        by_position = np.zeros((len(points), 2, 3))  # of the pixel, in metres at the head's depth
        depth = camera.translation[2]
        by_position[:, 0, 0] = by_position[:, 1, 1] = depth * inverse_depth
        by_position[:, :, 2] = -depth * position[:, :2] * inverse_depth[:, None] ** 2
        by_position = whitening @ by_position
        by_head = (by_position @ camera.rotation).astype(np.float32)

        landmarks, candidates = self._bases[size]
        jacobian = by_head @ landmarks
        slid = np.flatnonzero(viewed.candidate >= 0)
        rows = self.basis.contour[slid]
        jacobian[rows] = by_head[rows] @ candidates[viewed.candidate[slid]]
        # d position / d rotation vector (left perturbation) = -[relative]x
        cross = np.zeros((len(points), 3, 3))
        x, y, z = relative.T
        cross[:, 0, 1], cross[:, 0, 2] = z, -y
        cross[:, 1, 0], cross[:, 1, 2] = -z, x
        cross[:, 2, 0], cross[:, 2, 1] = y, -x
        jacobian[:, :, :3] = by_position @ cross
        jacobian[:, :, 3:5] = by_position[:, :, :2]  # origin's image position, metres at its depth
        # log scale, at fixed focal length and image position: the translation shrinks.
        jacobian[:, :, 5] = (by_position @ -camera.translation[:, None])[..., 0]
        # log focal length at fixed scale and image position: depth grows with the focal length.
        by_focal = by_position[:, :, 2] * depth
        direct = (whitening @ (position[:, :2] * inverse_depth[:, None] * depth)[:, :, None])[..., 0]
        jacobian[:, :, 6] = by_focal + direct
        white = (whitening @ residual[:, :, None])[..., 0]
        return jacobian.reshape(-1, POSE_SIZE + size), white.reshape(-1).astype(np.float32)

    def _usual_prior(self) -> CoefficientPrior:
        """What is expected before anything is known of a photo."""
        settings = self.settings
        precision, slope = np.eye(self.size), np.zeros(self.size)
        precision[self.expression, self.expression] = self.prior.precision
        slope[self.expression] = self.prior.linear
        opening = self.basis.opening
        precision[self.linear_size :, self.linear_size :] += settings.opening_guard * opening @ opening.T
        pupils = self.basis.pupil_basis / settings.pupil_distance_sigma
        missing = self.basis.pupil_distance - settings.pupil_distance
        precision += np.outer(pupils, pupils)
        slope += pupils * missing / settings.pupil_distance_sigma
        return CoefficientPrior(precision.astype(np.float32), slope)

    def prior_of(self, shape: ShapePrior | None) -> CoefficientPrior:
        """The usual prior with what was regressed from the photo in the place of what all people share."""
        if shape is None:
            return self._usual
        precision, slope = self._usual.precision.copy(), self._usual.slope.copy()
        settings = self.settings.regressed
        identity = np.arange(self.basis.identity_size)
        mean, sigma = shape.identity[identity].T
        weight = (settings.identity_share * sigma) ** -2
        precision[identity, identity] += weight - 1.0  # the usual is N(0, 1)
        slope[identity] -= weight * mean

        mean, sigma = shape.expression.T
        seen = np.flatnonzero((mean > 0) & self.prior.free)
        place = self.expression.start + seen
        share = np.where(self.prior.lids[seen], settings.lids_share, settings.expression_share)
        weight = (share * sigma[seen]) ** -2
        precision[place, place] += weight - self.prior.width[seen] ** -2
        slope[place] = -weight * mean[seen]  # what is seen costs nothing
        return CoefficientPrior(precision, slope)

    def add_priors(
        self,
        hessian: NDArray[np.float32],
        gradient: NDArray[np.float64],
        solution: Solution,
        seen: Observation,
        prior: CoefficientPrior,
        size: int,
    ) -> None:
        """Adds the priors' derivatives in place."""
        precision = prior.precision[:size, :size]
        hessian[POSE_SIZE:, POSE_SIZE:] += precision
        gradient[POSE_SIZE:] += precision @ solution.coefficients[:size].astype(np.float32)
        gradient[POSE_SIZE:] += prior.slope[:size]
        if size == self.size:
            doubt = self._asymmetric * _asymmetry_doubt(solution.camera)
            place = np.arange(POSE_SIZE + self.linear_size, POSE_SIZE + size)
            hessian[place, place] += doubt
            gradient[place] += doubt * solution.coefficients[self.linear_size :]
        log_focal = np.log(solution.camera.focal / seen.focal_prior)
        hessian[POSE_SIZE - 1, POSE_SIZE - 1] += seen.log_focal_sigma**-2
        gradient[POSE_SIZE - 1] += log_focal * seen.log_focal_sigma**-2


def bounded_step(
    hessian: NDArray[np.float32],
    gradient: NDArray[np.float64],
    place: NDArray[np.int64],
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The Newton step [N] under bounds of some of its members.

    The unconstrained step and those members' columns of the inverse Hessian give the energy as a function of
    them alone, a small box-constrained quadratic; the others follow.

    Args:
        hessian, gradient: [N, N], [N].
        place: [E], which are bounded.
        lower, upper: [E].
    """
    right = np.zeros((len(gradient), 1 + len(place)))
    right[:, 0] = -gradient
    right[place, np.arange(1, 1 + len(place))] = 1.0
    solved = _solve(hessian, right)
    step, covariance = solved[:, 0], solved[:, 1:]
    marginal = np.linalg.inv(covariance[place])
    marginal = 0.5 * (marginal + marginal.T)
    bounded = box_quadratic(marginal, marginal @ step[place], lower, upper)
    step = step + covariance @ (marginal @ (bounded - step[place]))
    step[place] = bounded  # float32 leaves 1e-8
    return np.asarray(step)


def box_quadratic(
    matrix: NDArray[np.float64],
    linear: NDArray[np.float64],
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The minimum of ``0.5 x^T matrix x - linear . x`` on ``lower <= x <= upper``, by an active set.

    Args:
        matrix: [N, N], symmetric positive definite.
        linear, lower, upper: [N].
    """
    fixed = upper <= lower
    x = np.clip(np.linalg.solve(matrix, linear), lower, upper)
    for attempt in range(3 * len(linear)):
        free = ~fixed
        x[free] = np.linalg.solve(
            matrix[np.ix_(free, free)], linear[free] - matrix[np.ix_(free, fixed)] @ x[fixed]
        )
        outside = (x < lower) | (x > upper)
        if outside.any():
            x = np.clip(x, lower, upper)
            fixed |= outside
            continue
        slope = matrix @ x - linear
        release = fixed & (upper > lower) & np.where(x <= lower, slope < -1e-9, slope > 1e-9)
        if not release.any():
            break
        # All at once is quicker but can cycle; one at a time cannot.
        if attempt < 6:
            fixed &= ~release
        else:
            fixed[np.argmax(np.where(release, np.abs(slope), -1.0))] = False
    return np.asarray(x, np.float64)


def scaled_cholesky(
    hessian: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The lower Cholesky factor [N, N] of a matrix scaled to a unit diagonal, and the scale [N].

    Pose and shape differ by 1e6 in the units of the Hessian; scaled, float32 has digits enough.
    """
    scale = (1.0 / np.sqrt(np.diagonal(hessian))).astype(np.float32)
    scaled = np.asfortranarray(hessian * scale * scale[:, None])
    factor, failed = spotrf(scaled, lower=1, clean=0, overwrite_a=0)
    if failed:
        scaled[np.diag_indices_from(scaled)] += np.float32(1e-4)
        factor, failed = spotrf(scaled, lower=1, clean=0)
        if failed:
            raise np.linalg.LinAlgError(f"the fit's Hessian is not positive definite (minor {failed})")
    return factor, scale


def _solve(matrix: NDArray[np.float32], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solves a positive definite system [N, N] for [N, K]."""
    factor, scale = scaled_cholesky(matrix)
    solved, _ = spotrs(factor, np.asfortranarray(scale[:, None] * right, np.float32), lower=1)
    return np.asarray(scale[:, None] * solved, np.float64)


def _asymmetry_doubt(camera: Camera) -> float:
    """How much precision the corrective field's asymmetric part gains as one half of the face turns away.

    What the camera hardly sees is then copied from the other half; frontally nothing is gained.
    """
    yaw, _, _ = pose_angles(camera.rotation)
    share = max(np.cos(np.radians(min(2.0 * abs(yaw), 90.0))), 0.1)
    return float(share**-2 - 1.0)


def _moved(camera: Camera, step: NDArray[np.float64]) -> Camera:
    """The camera after a step in rotation, image position, log scale and log focal length."""
    rotation = nearest_rotation(rotation_from_vector(step[:3]) @ camera.rotation)
    shrink, focal = np.exp(-step[5]), np.exp(step[6])
    x, y = (camera.translation[:2] + step[3:5]) * shrink
    translation = np.array([x, y, camera.translation[2] * shrink * focal])
    return Camera(rotation, translation, camera.focal * focal, camera.principal)
