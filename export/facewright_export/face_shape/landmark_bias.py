"""How far the landmark network is off on average, by where the head looks.

What the network calls the corner of a jaw or the tip of a nose wanders with the pose, the same way in
everybody: rendered people whose points are known and photos of real ones show the same shift (correlation 0.7
to 0.9). Left in, the fit takes it for the person's form, another at every pose.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.fit.camera import Camera
from facewright.fit.expression_prior import build_expression_prior
from facewright.fit.fit_head import HeadFitSettings
from facewright.fit.gauss_newton import GaussNewton, Observation, Solution
from facewright.fit.landmark_basis import build_landmark_basis
from facewright.head.head_model import HeadModel
from facewright.pipelines.tensors import MESH_COUNT

FloatArray = npt.NDArray[np.float64]

#: Sines of the angles beyond which there were too few people to tell: 35 and 20 degrees.
FARTHEST_ASIDE: Final = 0.57
FARTHEST_UP: Final = 0.34


def pose_terms(rotation: FloatArray) -> FloatArray:
    """[N, 6] of rotations [N, 3, 3] from the head's axes to the camera's: what the bias is linear in."""
    aside = np.clip(rotation[:, 0, 2], -FARTHEST_ASIDE, FARTHEST_ASIDE)
    up = np.clip(rotation[:, 1, 2], -FARTHEST_UP, FARTHEST_UP)
    return np.stack([np.ones_like(aside), aside, up, aside**2, up**2, aside * up], axis=1)


def landmark_bias(
    head: HeadModel,
    landmarks: npt.NDArray[np.floating],
    coefficients: FloatArray,
    cameras: list[Camera],
    terms: FloatArray,
) -> FloatArray:
    """Bias [6, 468, 2] of the landmarks in the image, millimetres at the head's depth, by pose term.

    Args:
        head: the head model.
        landmarks: [N, 478, 3], pixels.
        coefficients: [N, 212], true identity and expression.
        cameras: the true ones.
        terms: [N, 6], `pose_terms` of the rotations that are estimated, as at run time.
    """
    settings = HeadFitSettings()
    basis = build_landmark_basis(head, settings.corrective)
    prior = build_expression_prior([str(name) for name in head.expression_names])
    optimiser = GaussNewton(basis, prior, settings.optimiser)
    errors = np.zeros((len(landmarks), MESH_COUNT, 2))
    for index, camera in enumerate(cameras):
        vector = np.zeros(optimiser.size)
        vector[: optimiser.linear_size] = coefficients[index]
        seen = Observation(landmarks[index, :MESH_COUNT, :2].astype(np.float64), camera.focal)
        residual, _ = optimiser.residuals(Solution(camera, vector), seen)
        errors[index] = -1e3 * residual / camera.pixels_per_metre
    by_term, *_ = np.linalg.lstsq(terms, errors.reshape(len(errors), -1), rcond=None)
    return np.asarray(by_term.reshape(-1, MESH_COUNT, 2), np.float64)
