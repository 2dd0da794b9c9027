"""What the landmark network sees on renders of painted heads in many identities, poses and expressions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.engines.onnx_engine import OnnxEngine
from facewright.head.head_model import HeadModel
from facewright.photo.landmark_crop import VIEW_SCALE
from facewright_client.contract import EXPRESSION_SIZE, IDENTITY_SIZE, LANDMARKS_COUNT
from facewright_export.open_head.painted_heads import IMAGE_SIZE, HeadPainter, random_look
from facewright_kernels import PinholeCamera, make_vertex_triangles, vertex_normals

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

RENDERS: Final = 384
BATCH: Final = 8
#: Renders that the network is not sure to be a face are left out.
MINIMUM_SCORE: Final = 0.9
#: Shape coefficients are drawn at this share of their standard deviation: plausible rather than extreme
#: people.
IDENTITY_SPREAD: Final = 0.8
YAW_RANGE: Final = 55.0
PITCH_RANGE: Final = 20.0
#: Expressions that are mixed into the renders, each alone and with a random weight up to the value given.
_EXPRESSIONS: Final[tuple[dict[str, float], ...]] = (
    {},
    {},
    {},
    {"jawOpen": 0.6},
    {"jawOpen": 0.35},
    {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8},
    {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6, "jawOpen": 0.25},
    {"mouthPucker": 0.8},
    {"eyeBlinkLeft": 0.9, "eyeBlinkRight": 0.9},
    {"browInnerUp": 0.8, "browOuterUpLeft": 0.8, "browOuterUpRight": 0.8},
    {"browDownLeft": 0.8, "browDownRight": 0.8},
    {"eyeWideLeft": 0.8, "eyeWideRight": 0.8, "jawOpen": 0.4},
)
GAZE_SIGMA: Final = 8.0  # degrees


@dataclass(frozen=True)
class LandmarkObservations:
    """``S`` renders and what the network found in them.

    ``landmarks`` float64 [S, 478, 2] and ``vertices`` float64 [S, V, 2] in pixels of the image,
    ``metres_per_pixel`` float64 [S] at the face's depth, ``facing`` float64 [S, V] the cosine between vertex
    normal and view (1: towards the camera), ``yaw`` float64 [S] degrees, ``scores`` float64 [S]. ``mirrored``
    float64 [S, 478, 2] is what the network found in the mirrored images, in pixels of the unmirrored ones.
    """

    landmarks: FloatArray
    vertices: FloatArray
    metres_per_pixel: FloatArray
    facing: FloatArray
    yaw: FloatArray
    scores: FloatArray
    mirrored: FloatArray


def observe_landmarks(
    head: HeadModel, network: Path, seed: int, progress: Callable[[float], None]
) -> LandmarkObservations:
    """Render ``RENDERS`` painted heads and run ``network`` on them; ``progress`` gets the share done.

    Raises ValueError when the network takes most of them for something else than faces.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    engine = OnnxEngine(network)
    painter = HeadPainter(head)
    vertex_triangles = make_vertex_triangles(head.triangles, head.vertex_count)
    batches = []
    for first in range(0, RENDERS, BATCH):
        views = [_random_view(head, random) for _ in range(BATCH)]
        vertices = np.stack([view[0] for view in views])
        camera = PinholeCamera(
            np.stack([view[1] for view in views]),
            np.stack([view[2] for view in views]),
            IMAGE_SIZE,
            IMAGE_SIZE,
        )
        images = painter.paint(vertices, camera, [random_look(random) for _ in range(BATCH)])
        found = engine.run({"LANDMARK_INPUT": images})
        found_mirrored = engine.run({"LANDMARK_INPUT": np.ascontiguousarray(images[:, :, :, ::-1])})
        normals = vertex_normals(vertices, head.triangles, vertex_triangles)
        mirrored = _landmark_pixels(found_mirrored) * [-1, 1] + [IMAGE_SIZE, 0]
        batches.append((*_observation(vertices, normals, camera, found), mirrored))
        progress((first + BATCH) / RENDERS)
    joined = [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]
    sure = joined[-2] > MINIMUM_SCORE
    if sure.mean() < 0.8:
        raise ValueError(f"the network takes only {sure.sum()} of {RENDERS} painted heads for faces")
    return LandmarkObservations(*(array[sure] for array in joined))


def _random_view(
    head: HeadModel, random: np.random.Generator
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Posed vertices [V, 3], intrinsics [3, 3] and extrinsics [3, 4] of a head that fills the view."""
    identity = random.standard_normal(IDENTITY_SIZE) * IDENTITY_SPREAD
    expression = np.zeros(EXPRESSION_SIZE)
    names = list(head.expression_names)
    amount = random.uniform(0.5, 1.0)
    for name, weight in _EXPRESSIONS[random.integers(len(_EXPRESSIONS))].items():
        expression[names.index(name)] = weight * amount
    neutral = head.neutral(identity)
    gaze = np.radians(random.normal(0, GAZE_SIGMA, 2))
    rotations = np.tile(np.eye(3, dtype=np.float32), (len(head.joint_names), 1, 1))
    for joint in ("eye_left", "eye_right"):
        rotations[list(head.joint_names).index(joint)] = rotation_matrix(
            float(gaze[0]), float(gaze[1]) / 2, 0.0
        )
    vertices = head.skin(head.shape(identity, expression), head.joints(neutral), rotations)

    yaw = np.radians(random.uniform(-1, 1) * YAW_RANGE)
    pitch = np.radians(random.uniform(-1, 1) * PITCH_RANGE)
    roll = np.radians(random.normal(0, 4))
    turn = np.diag([1.0, -1.0, -1.0]) @ rotation_matrix(float(yaw), float(pitch), float(roll))
    focal = random.uniform(2.0, 5.0)  # image widths
    distance = focal * 0.28
    camera_points = vertices @ turn.T + [0, 0, distance]
    face = head.region("face") > 0.5
    projected = focal * camera_points[face, :2] / camera_points[face, 2:]
    low, high = projected.min(axis=0), projected.max(axis=0)
    side = VIEW_SCALE * float((high - low).max()) * random.uniform(0.95, 1.1)
    scale = IMAGE_SIZE / side
    offset = IMAGE_SIZE / 2 - scale * (low + high) / 2
    intrinsics = np.array(
        [[focal * scale, 0, offset[0]], [0, focal * scale, offset[1]], [0, 0, 1]], np.float32
    )
    extrinsics = np.concatenate([turn, [[0], [0], [distance]]], axis=1).astype(np.float32)
    return vertices, intrinsics, extrinsics


def rotation_matrix(yaw: float, pitch: float, roll: float) -> Float32Array:
    """``Rz(roll) Ry(yaw) Rx(pitch)`` in head axes, radians; float32 [3, 3]."""
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    matrix: Float32Array = (about_z @ about_y @ about_x).astype(np.float32)
    return matrix


def _observation(
    vertices: Float32Array,
    normals: Float32Array,
    camera: PinholeCamera,
    found: dict[str, npt.NDArray[np.float32]],
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    turn, shift = camera.head_to_camera[:, :, :3], camera.head_to_camera[:, :, 3]
    seen = (vertices @ turn.transpose(0, 2, 1) + shift[:, None]).astype(np.float64)
    focal = camera.intrinsics[:, 0, 0].astype(np.float64)
    pixels = focal[:, None, None] * seen[:, :, :2] / seen[:, :, 2:] + camera.intrinsics[:, None, :2, 2]
    to_camera = -seen / np.linalg.norm(seen, axis=2, keepdims=True)
    facing = ((normals @ turn.transpose(0, 2, 1)) * to_camera).sum(axis=2)
    # the face's plane, a little in front of the origin
    depth = shift[:, 2] + 0.02 * turn[:, 2, 2]
    yaw = np.degrees(np.arctan2(turn[:, 0, 2], -turn[:, 2, 2])).astype(np.float64)
    return (
        _landmark_pixels(found),
        pixels,
        (depth / focal).astype(np.float64),
        facing.astype(np.float64),
        yaw,
        found["FACE_SCORE"].reshape(-1).astype(np.float64),
    )


def _landmark_pixels(found: dict[str, npt.NDArray[np.float32]]) -> FloatArray:
    pixels: FloatArray = (
        found["NETWORK_LANDMARKS"].reshape(-1, LANDMARKS_COUNT, 3)[:, :, :2].astype(np.float64)
    )
    return pixels
