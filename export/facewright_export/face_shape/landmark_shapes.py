"""The form of landmarks without where the head is and whither it looks: Procrustes against a reference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from facewright.pipelines.tensors import MESH_COUNT

FloatArray = npt.NDArray[np.float64]

#: The network's x to the right, y down, z away -> the head's x to its left, y up, z forward.
TO_HEAD_AXES = np.array([1.0, -1.0, -1.0])


def landmark_shapes(landmarks: npt.NDArray[np.floating], reference: FloatArray) -> FloatArray:
    """Mesh landmarks [N, 468, 3], millimetres, turned, moved and scaled onto a reference one by one."""
    return posed_shapes(landmarks, reference)[0]


def posed_shapes(landmarks: npt.NDArray[np.floating], reference: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`landmark_shapes`, and the rotations [N, 3, 3] from the reference's axes to the camera's.

    Args:
        landmarks: [N, 478, 3] as the landmark network gives them, pixels.
        reference: [468, 3], millimetres, centred on its mean.
    """
    centred = landmarks[:, :MESH_COUNT].astype(np.float64) * TO_HEAD_AXES
    centred = centred - centred.mean(axis=1, keepdims=True)
    # Umeyama 1991, eq. 39-42, for all at once
    u, singular, vt = np.linalg.svd(np.einsum("pc,npd->ncd", reference, centred))
    sign = np.ones_like(singular)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (singular * sign).sum(axis=1) / (centred**2).sum(axis=(1, 2))
    shapes: FloatArray = scale[:, None, None] * centred @ rotation.transpose(0, 2, 1)
    return shapes, TO_HEAD_AXES[:, None] * rotation.transpose(0, 2, 1)


def reference_shape(landmarks: npt.NDArray[np.floating], radius: float) -> FloatArray:
    """The mean form of many faces [N, 478, 3] as a reference [468, 3], its points ``radius`` mm (root mean
    square) from their middle."""
    reference = landmarks[0, :MESH_COUNT].astype(np.float64) * TO_HEAD_AXES
    for _ in range(4):  # the mean of what was turned onto the last mean
        reference = reference - reference.mean(axis=0)
        reference *= radius / np.sqrt((reference**2).sum(axis=1).mean())
        reference = landmark_shapes(landmarks, reference).mean(axis=0)
    reference -= reference.mean(axis=0)
    normed: FloatArray = reference * radius / np.sqrt((reference**2).sum(axis=1).mean())
    return normed
