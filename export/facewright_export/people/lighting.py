"""Light drawn at random, and the shadows that lamps cast."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from facewright_export.people.truth import Lamp, Light, harmonics, lamp_harmonics
from facewright_kernels import rasterize

Floats = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float64]

#: Side of a lamp's depth image, and the half extent of the scene that it shows, metres.
SHADOW_SIDE: Final = 160
SHADOW_REACH: Final = 0.25
#: How far before a surface its shadow begins, metres; the mesh's triangles are coarse.
_BIAS: Final = 0.004
#: Of what the lamps' depth images show, head space.
_MIDDLE: Final = np.array([0, -0.03, -0.05], np.float32)
_TAPS: Final = np.array([[0, 0], [1, 0.2], [-1, -0.2], [-0.2, 1], [0.2, -1], [0.5, 0.5], [-0.5, -0.5]])


def luminance(colour: Floats) -> float:
    """Of linear RGB [3]."""
    return float(colour @ np.array([0.2126, 0.7152, 0.0722], np.float32))


def draw_light(random: np.random.Generator, turn: Floats, skin_luminance: float) -> Light:
    """Light on a head, in head space.

    Args:
        random: draws it.
        turn: [3, 3], head space to camera.
        skin_luminance: of the skin's albedo; a camera exposes dark skin more, though not to the full.
    """
    to_head = turn.T.astype(np.float64)
    environment = np.zeros((9, 3))
    fill = random.uniform(0.1, 1.0)
    # from above, from the camera's side, from a window or wall, from the ground
    for direction, strength in (
        ([0, -1, -0.2], random.uniform(0.2, 1.0)),
        ([0, 0, -1], random.uniform(0.1, 0.8)),
        ([random.choice([-1, 1]), random.normal(0, 0.4), random.normal(-0.2, 0.4)], random.uniform(0, 0.9)),
        ([random.normal(0, 0.3), 1, -0.3], random.uniform(0.0, 0.3)),
    ):
        unit = np.array(direction) / np.linalg.norm(direction)
        environment += lamp_harmonics(to_head @ unit, strength * _tint(random, 0.12))
    environment[0] += random.uniform(0.1, 0.5) * _tint(random, 0.06) / harmonics(np.array([0, 0, 1.0]))[0]
    environment *= fill
    lamps = []
    for number in range(random.integers(1, 4)):
        around, above = random.normal(0, 0.75), random.normal(0.45, 0.35)
        unit = np.array([np.sin(around) * np.cos(above), -np.sin(above), -np.cos(around) * np.cos(above)])
        strength = random.uniform(0.25, 1.1) * (1.0 if number == 0 else 0.45)
        lamps.append((to_head @ unit, strength * _tint(random, 0.15), random.uniform(0.003, 0.02)))
    exposure = _exposure(random, environment, lamps, to_head, skin_luminance)
    return Light(
        (environment * exposure).astype(np.float32),
        tuple(
            Lamp(unit.astype(np.float32), (colour * exposure).astype(np.float32), float(soft))
            for unit, colour, soft in lamps
        ),
    )


def _tint(random: np.random.Generator, sigma: float) -> FloatArray:
    """A light's colour [3] of luminance about 1: warm or cold, hardly green or pink."""
    warm, green = random.normal(0, sigma), random.normal(0, sigma / 5)
    tint: FloatArray = np.exp(np.array([warm, green, -1.2 * warm]))
    return tint


def _exposure(
    random: np.random.Generator,
    environment: FloatArray,
    lamps: list[tuple[FloatArray, FloatArray, float]],
    to_head: FloatArray,
    skin_luminance: float,
) -> float:
    """What brings a face to the brightness that photos have."""
    normals = np.array([[0, -0.2, -1], [0.6, 0, -0.8], [-0.6, 0, -0.8]])
    normals = (normals / np.linalg.norm(normals, axis=1, keepdims=True)) @ to_head.T
    light = (harmonics(normals) @ environment).mean()
    light += sum(float((np.clip(normals @ unit, 0, 1)).mean() * colour.mean()) for unit, colour, _ in lamps)
    wanted = 0.40 * (skin_luminance / 0.42) ** 0.6 * random.lognormal(0, 0.2)
    return float(wanted / skin_luminance / max(light, 0.05))


def lamp_visibility(
    lamp: Lamp, vertices: Floats, normals: Floats, triangles: IntArray, lit: npt.NDArray[np.int64]
) -> Floats:
    """Share [V] of a lamp's light that reaches vertices past the rest of the mesh.

    Args:
        lamp: the lamp.
        vertices, normals: float32 [V, 3], head space; normals of any length.
        triangles: int32 [F, 3], that cast shadows.
        lit: int64 [L], the vertices that matter; all others get 1.
    """
    direction = lamp.direction.astype(np.float64)
    across = np.cross(direction, [0.0, 1.0, 0.0])
    across /= np.linalg.norm(across) + 1e-9
    # columns: right, down and away from the lamp
    axes = np.stack([across, np.cross(across, direction), -direction], axis=1) / SHADOW_REACH
    clip = np.ones((1, len(vertices), 4), np.float32)
    clip[0, :, :3] = (vertices - _MIDDLE) @ axes.astype(np.float32)
    depth = rasterize(clip, triangles, SHADOW_SIDE, SHADOW_SIDE).depth[0].ravel()
    seen, facing = clip[0, lit].T.copy(), normals[lit] @ lamp.direction
    # from a point before the surface, and more so where it is seen at a slant
    slant = 1 - np.abs(facing) / (np.linalg.norm(normals[lit], axis=1) + np.float32(1e-9))
    nearest = seen[2] - np.float32(_BIAS / SHADOW_REACH) * (1 + 2 * slant)
    reach = max(lamp.softness / SHADOW_REACH * SHADOW_SIDE / 2, 0.8)
    column, row = (seen[:2] + 1) * np.float32(SHADOW_SIDE / 2)
    reached = np.zeros(len(lit), np.float32)
    for right, down in (_TAPS * reach).astype(np.float32):
        pixel = np.clip(row + down, 0, SHADOW_SIDE - 1).astype(np.int32) * SHADOW_SIDE
        pixel += np.clip(column + right, 0, SHADOW_SIDE - 1).astype(np.int32)
        reached += nearest <= depth[pixel]
    visible = np.ones(len(vertices), np.float32)
    visible[lit] = reached / np.float32(len(_TAPS))
    return visible
