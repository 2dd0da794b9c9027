"""Poses by their angles; the pipeline itself only reads angles off a pose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facewright.fit.camera import FRONTAL, rotation_from_vector


def rotation_from_angles(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """The head-to-camera rotation [3, 3] of pose angles in degrees; the inverse of `pose_angles`."""
    about_x = rotation_from_vector(np.array([np.radians(pitch), 0.0, 0.0]))
    about_y = rotation_from_vector(np.array([0.0, np.radians(yaw), 0.0]))
    about_z = rotation_from_vector(np.array([0.0, 0.0, np.radians(roll)]))
    return np.asarray(FRONTAL @ about_z @ about_y @ about_x)
