"""What people wear and hold: glasses, hats, clothes, hands and things before the face, as simple meshes.

Every mesh has one topology for all people; what somebody does not have collapses to a point and is not drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]

_AROUND: Final = 28  # points of a rim
_TUBE: Final = 5  # corners of a frame's cross-section
_TEMPLE: Final = 4  # points along a temple
_HAT_ROWS, _HAT_COLUMNS = 9, 28
_BODY_RINGS, _BODY_COLUMNS = 7, 40
FINGERS: Final = 5
_FINGER_POINTS, _FINGER_SIDES = 7, 8


@dataclass(frozen=True)
class Surface:
    """Vertices float64 [N, 3] (metres, head space), their linear RGB [N, 3], and where it is bare skin: above
    0 of a height [N] in millimetres over the edge of the cloth, or everywhere (1) or nowhere (-1).
    """

    vertices: FloatArray
    colour: FloatArray
    bare: FloatArray | float = -1.0


def sheet_triangles(rows: int, columns: int, closed: bool) -> IntArray:
    """Triangles of a grid of vertices, rows x columns; ``closed``: the last column meets the first."""
    row, column = np.mgrid[: rows - 1, : columns if closed else columns - 1]
    a = row * columns + column
    b = row * columns + (column + 1) % columns
    corners = np.stack([a, a + columns, b, b, a + columns, b + columns], axis=-1)
    triangles: IntArray = corners.reshape(-1, 3).astype(np.int32)
    return triangles


def _joined(parts: list[IntArray], sizes: list[int]) -> IntArray:
    starts = np.cumsum([0, *sizes[:-1]])
    return np.concatenate([part + start for part, start in zip(parts, starts, strict=True)]).astype(np.int32)


def _tube(path: FloatArray, radius: float, sides: int) -> FloatArray:
    """Vertices [len(path) * sides, 3] around a path [N, 3]."""
    ahead = np.gradient(path, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-12
    up = np.where(np.abs(ahead[:, 2:]) > 0.9, [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])
    first = np.cross(ahead, up)
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-12
    second = np.cross(ahead, first)
    angle = np.arange(sides) / sides * 2 * np.pi
    around = np.cos(angle)[:, None] * first[:, None] + np.sin(angle)[:, None] * second[:, None]
    tube: FloatArray = (path[:, None] + radius * around).reshape(-1, 3)
    return tube


GLASSES_TRIANGLES: Final = _joined(
    [sheet_triangles(_AROUND + 1, _TUBE, True)] * 2 + [sheet_triangles(_TEMPLE, _TUBE, True)] * 3,
    [(_AROUND + 1) * _TUBE] * 2 + [_TEMPLE * _TUBE] * 3,
)
_BEHIND_RIM: Final = np.array([0, 0, 0.0005])  # metres that a lens' edge lies behind its rim's middle
_FAN: Final = np.array([[_AROUND, k, (k + 1) % _AROUND] for k in range(_AROUND)], np.int32)
LENS_TRIANGLES: Final = _joined([_FAN, _FAN], [_AROUND + 1, _AROUND + 1])


@dataclass(frozen=True)
class Glasses:
    """Frame and lenses before a face.

    Attributes:
        frame: in the order of ``GLASSES_TRIANGLES``.
        lenses: float64 [2 * (rim points + 1), 3], in the order of ``LENS_TRIANGLES``.
        tint: linear RGB [3] of the glass and ``opacity`` 0-1.
    """

    frame: Surface
    lenses: FloatArray
    tint: FloatArray
    opacity: float


def draw_glasses(
    random: np.random.Generator, eyes: FloatArray, bridge: FloatArray, ears: FloatArray
) -> Glasses:
    """Glasses on a face.

    Args:
        random: draws form and colours.
        eyes: left and right pupil [2, 3].
        bridge: [3], the bridge of the nose.
        ears: [2, 3], where the temples end.
    """
    width, height = random.uniform(0.022, 0.028), random.uniform(0.014, 0.025)
    square, thick = random.uniform(2, 5), random.uniform(0.0006, 0.0022)
    front = max(float(bridge[2]) + 0.004, float(eyes[:, 2].max()) + 0.012)
    drop = random.uniform(0.001, 0.005)
    apart = max(float(np.abs(eyes[:, 0]).mean()) + random.uniform(-0.001, 0.003), width + 0.007)
    angle = np.arange(_AROUND + 1) / _AROUND * 2 * np.pi
    cosine, sine = np.cos(angle), np.sin(angle)
    rim = np.stack(
        [
            np.sign(cosine) * np.abs(cosine) ** (2 / square) * width,
            np.sign(sine) * np.abs(sine) ** (2 / square) * height,
        ],
        axis=1,
    )
    parts: list[FloatArray] = []
    lenses: list[FloatArray] = []
    hinges: list[FloatArray] = []
    for side in (1, -1):
        x = side * (apart + rim[:, 0])
        # the front bends back a little towards the temples
        z = front - 0.012 * np.clip((np.abs(x) - 0.02) / 0.05, 0, 1.4) ** 2
        ring = np.stack([x, eyes[:, 1].mean() - drop + rim[:, 1], z], axis=1)
        parts.append(_tube(ring, thick, _TUBE))
        lenses += [ring[:-1] - _BEHIND_RIM, ring[:-1].mean(axis=0, keepdims=True) + 2 * _BEHIND_RIM]
        hinges.append(ring[0] + np.array([0, height * 0.3, 0]))
    inner = apart - width
    span = np.linspace(-inner, inner, _TEMPLE)
    arch = 0.004 * (1 - (span / inner) ** 2)
    middle = np.stack(
        [span, np.full(_TEMPLE, eyes[:, 1].mean() - drop + 0.3 * height) + arch, np.full(_TEMPLE, front)], 1
    )
    parts.append(_tube(middle, thick, _TUBE))
    for hinge, ear in zip(hinges, ears, strict=True):
        temple = np.linspace(hinge, ear, _TEMPLE)
        temple[1:-1, 0] += np.sign(ear[0]) * 0.004  # around the head
        parts.append(_tube(temple, thick, _TUBE))
    frame = np.concatenate(parts)
    metal = random.random() < 0.3
    colour = (
        random.uniform(0.25, 0.6) if metal else random.uniform(0.005, 0.12, 3) * random.choice([0.3, 1, 2])
    )
    sun = random.random() < 0.15
    tint = random.uniform(0.0, 0.05, 3) if sun else random.uniform(0.2, 0.5, 3)
    opacity = random.uniform(0.75, 0.97) if sun else random.uniform(0.0, 0.12)
    return Glasses(
        Surface(frame, np.broadcast_to(colour, frame.shape)), np.concatenate(lenses), tint, float(opacity)
    )


HAT_TRIANGLES: Final = _joined(
    [sheet_triangles(_HAT_ROWS, _HAT_COLUMNS, True), sheet_triangles(3, _HAT_COLUMNS, True)],
    [_HAT_ROWS * _HAT_COLUMNS, 3 * _HAT_COLUMNS],
)


def draw_hat(random: np.random.Generator) -> Surface:
    """A cap or a woollen hat on the mean head."""
    low = random.uniform(0.04, 0.055)  # of the front edge above the pupils
    tilt = random.uniform(-0.35, -0.15)  # the edge is lower at the back
    turn = np.arange(_HAT_COLUMNS) / _HAT_COLUMNS * 2 * np.pi
    steep = np.linspace(0, np.pi / 2, _HAT_ROWS)  # from the edge to the top
    round_ = np.cos(steep) ** random.uniform(0.45, 0.8)
    across, along = random.uniform(0.089, 0.095), random.uniform(0.112, 0.118)
    x = np.outer(round_, np.sin(turn)) * across
    z = np.outer(round_, np.cos(turn)) * along - 0.072
    y = low + tilt * (0.03 - z) + (np.sin(steep) * random.uniform(0.09, 0.12))[:, None]
    crown = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    brim = np.repeat(crown[None, :_HAT_COLUMNS], 3, axis=0)
    if random.random() < 0.5:
        ahead = np.clip(np.cos(turn), 0, 1) ** 0.6 * random.uniform(0.05, 0.075)
        for row, share in enumerate((0.0, 0.6, 1.0)):
            brim[row, :, 2] += ahead * share
            brim[row, :, 1] -= 0.012 * share * np.clip(np.cos(turn), 0, 1)
    vertices = np.concatenate([crown, brim.reshape(-1, 3)])
    colour = np.broadcast_to(random.uniform(0.01, 0.6, 3) * random.choice([0.2, 1.0]), vertices.shape).copy()
    if random.random() < 0.4:  # a band of another colour
        colour[: 2 * _HAT_COLUMNS] = random.uniform(0.01, 0.6, 3)
    return Surface(vertices, colour)


BODY_TRIANGLES: Final = sheet_triangles(_BODY_RINGS, _BODY_COLUMNS, True)


def draw_body(random: np.random.Generator) -> Surface:
    """Shoulders under the mean head's neck, clothed up to a collar."""
    turn = np.arange(_BODY_COLUMNS) / _BODY_COLUMNS * 2 * np.pi
    broad = random.uniform(0.17, 0.23)
    #                 height, half width, half depth, centre's depth
    rings = np.array(
        [
            [-0.135, 0.056, 0.054, -0.086],
            [-0.156, 0.098, 0.064, -0.087],
            [-0.168, 0.122, 0.073, -0.086],
            [-0.190, 0.165, 0.082, -0.084],
            [-0.235, broad, 0.096, -0.080],
            [-0.340, broad + 0.03, 0.115, -0.070],
            [-0.600, broad + 0.02, 0.130, -0.060],
        ]
    )
    x = np.outer(rings[:, 1], np.sin(turn))
    z = np.outer(rings[:, 2], np.cos(turn)) + rings[:, 3:]
    y = (
        np.repeat(rings[:, :1], _BODY_COLUMNS, 1)
        - 0.02 * np.cos(turn) * np.linspace(0.3, 1, _BODY_RINGS)[:, None]
    )
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    cloth = random.uniform(0.01, 0.7, 3) * random.choice([0.15, 0.5, 1.0])
    collar = random.uniform(-0.185, -0.125) - random.uniform(0, 0.07) * np.clip(np.cos(turn), 0, 1) ** 2
    bare = (vertices[:, 1] - np.tile(collar, _BODY_RINGS)) * 1e3
    return Surface(vertices, np.broadcast_to(cloth, vertices.shape), bare)


OCCLUDER_TRIANGLES: Final = _joined(
    [sheet_triangles(_FINGER_POINTS, _FINGER_SIDES, True)] * FINGERS,
    [_FINGER_POINTS * _FINGER_SIDES] * FINGERS,
)


def draw_occluder(random: np.random.Generator) -> Surface:
    """A hand's fingers, or a bar, before a part of the mean head's face."""
    hand = random.random() < 0.65
    centre = np.array([random.normal(0, 0.035), random.uniform(-0.1, 0.03), random.uniform(0.055, 0.08)])
    lean = random.uniform(-np.pi, np.pi) if hand else random.choice([0, np.pi / 2]) + random.normal(0, 0.3)
    along = np.array([np.sin(lean), np.cos(lean), 0.0])
    aside = np.array([along[1], -along[0], 0.0])
    length, thick = (0.075, 0.0085) if hand else (random.uniform(0.05, 0.16), random.uniform(0.004, 0.016))
    ends = np.linspace(-0.5, 0.5, _FINGER_POINTS)
    fingers = []
    for number in range(FINGERS):
        if not hand and number:
            fingers.append(np.repeat(centre[None], _FINGER_POINTS * _FINGER_SIDES, 0))
            continue
        shift = (number - 2) * 0.019 * random.uniform(0.85, 1.1) if hand else 0.0
        bow = -0.015 * (2 * ends) ** 2 if hand else 0.0 * ends
        reach = length * random.uniform(0.8, 1.1)
        path = centre + np.outer(ends * reach, along) + shift * aside + np.outer(bow, [0, 0, 1.0])
        tube = _tube(path, 1.0, _FINGER_SIDES).reshape(_FINGER_POINTS, _FINGER_SIDES, 3) - path[:, None]
        round_ = thick * np.sqrt(np.clip(1.001 - np.clip((2 * np.abs(ends) - 0.75) / 0.25, 0, 1) ** 2, 0, 1))
        fingers.append((path[:, None] + tube * round_[:, None, None]).reshape(-1, 3))
    vertices = np.concatenate(fingers)
    colour = random.uniform(0.01, 0.6, 3) * random.choice([0.1, 1.0])
    return Surface(vertices, np.broadcast_to(colour, vertices.shape), 1.0 if hand else -1.0)
