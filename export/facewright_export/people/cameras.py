"""Where the camera stands, and how a face lies in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facewright.photo.landmark_crop import VIEW_SCALE
from facewright_export.open_head.landmark_observations import rotation_matrix

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Framing:
    """How faces are photographed.

    Attributes:
        scale: side of the image over the extent of the face's landmarks; the landmark network's view by
            default.
        scale_sigma, shift_sigma: by how much that varies; shares of the image's side.
        yaw_sigma, pitch_sigma, roll_sigma: of the head's turn, degrees.
        nearest, farthest: distance of the camera, metres, drawn evenly in its logarithm.
    """

    scale: float = VIEW_SCALE
    scale_sigma: float = 0.05
    shift_sigma: float = 0.02
    yaw_sigma: float = 20.0
    pitch_sigma: float = 10.0
    roll_sigma: float = 8.0
    nearest: float = 0.5
    farthest: float = 4.0


@dataclass(frozen=True)
class View:
    """Intrinsics float32 [3, 3] for a square image, and head_to_camera float32 [3, 4]."""

    intrinsics: Floats
    head_to_camera: Floats


def head_turn(yaw: float, pitch: float, roll: float) -> Floats:
    """Rotation [3, 3] from head space to the camera's of a head turned by these radians."""
    turn: Floats = np.diag([1.0, -1.0, -1.0]).astype(np.float32) @ rotation_matrix(yaw, pitch, roll)
    return turn


def draw_view(random: np.random.Generator, landmarks: Floats, side: int, framing: Framing) -> View:
    """A view of a face whose ``landmarks`` [N, 3] (head space) fill an image of ``side`` pixels as framed.

    The face may lie away from the middle of the photo that the image was cut from, so the principal point
    lies anywhere.
    """
    sigmas = np.radians([framing.yaw_sigma, framing.pitch_sigma, framing.roll_sigma])
    yaw, pitch, roll = (float(angle) for angle in np.clip(random.standard_normal(3) * sigmas, -1.1, 1.1))
    turn = head_turn(yaw, pitch, roll)
    distance = float(np.exp(random.uniform(np.log(framing.nearest), np.log(framing.farthest))))
    aside = random.normal(0, 0.08, 2) * distance
    shift = np.array([aside[0], aside[1], distance])
    seen = landmarks @ turn.T + shift
    flat = seen[:, :2] / seen[:, 2:]
    low, high = flat.min(axis=0), flat.max(axis=0)
    larger = framing.scale * (1 + framing.scale_sigma * float(np.clip(random.standard_normal(), -2, 2)))
    focal = side / (larger * float((high - low).max()))
    middle = side * (0.5 + framing.shift_sigma * np.clip(random.standard_normal(2), -2, 2))
    principal = middle - focal * (low + high) / 2
    intrinsics = np.array([[focal, 0, principal[0]], [0, focal, principal[1]], [0, 0, 1]])
    return View(
        intrinsics.astype(np.float32), np.concatenate([turn, shift[:, None]], axis=1).astype(np.float32)
    )
