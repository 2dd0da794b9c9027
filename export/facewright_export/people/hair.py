"""Simple hair: strips that grow from the scalp, lie on the skull and hang down.

Strips are grown on the mean head and carried to a person by an affine map. The hair issue replaces this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from facewright.head.head_model import HeadModel

FloatArray = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

STRIPS: Final = 640
POINTS: Final = 9
#: What directions from the skull's centre are told apart by: rows from the top down, columns around.
_ROWS, _COLUMNS = 48, 96
_CENTRE: Final = np.array([0.0, 0.02, -0.075])
_GRAVITY: Final = np.array([0.0, -1.0, 0.0])


@dataclass(frozen=True)
class HairStyle:
    """How somebody wears the hair; metres.

    Attributes:
        length: of the strips; 0 is bald, and less than 8 mm only paint.
        thickness: of the hair on the skull.
        fringe: height above the pupils down to which hair falls over the forehead.
        parting: where hair parts, across; None: it grows from the whorl.
        back: 0 falls forward, 1 is combed back.
        curl: 0-1; 1 stands away from the head.
        paint: opacity of the scalp's colour under it.
        recession: metres that the hairline has gone back.
        under_hat: only hair below a hat's edge is there.
    """

    length: float
    thickness: float
    fringe: float
    parting: float | None
    back: float
    curl: float
    paint: float
    recession: float
    under_hat: bool

    @property
    def grows(self) -> bool:
        """Whether there are strips."""
        return self.length >= 0.008


def draw_hair_style(random: np.random.Generator, hat: bool) -> HairStyle:
    """Bald, buzzed, short, medium, long or curly hair; flat under a hat."""
    kind = random.choice(
        ["bald", "buzz", "short", "medium", "long", "curly"], p=[0.07, 0.1, 0.33, 0.17, 0.23, 0.1]
    )
    low, high = {
        "bald": (0.0, 0.0),
        "buzz": (0.002, 0.007),
        "short": (0.025, 0.07),
        "medium": (0.09, 0.17),
        "long": (0.22, 0.36),
        "curly": (0.05, 0.16),
    }[kind]
    volume = {"curly": (0.02, 0.05), "short": (0.003, 0.01)}.get(str(kind), (0.004, 0.013))
    return HairStyle(
        length=float(random.uniform(low, high)),
        thickness=float(random.uniform(*volume)) if not hat else 0.003,
        fringe=float(random.uniform(0.024, 0.04)) if random.random() < 0.3 else 0.052,
        parting=float(random.uniform(-0.03, 0.03)) if random.random() < 0.55 else None,
        back=float(random.random() < 0.35) * float(random.uniform(0.5, 1)),
        curl=float(random.uniform(0.6, 1)) if kind == "curly" else float(random.beta(1, 3)) * 0.4,
        paint=0.0 if kind == "bald" else float(random.uniform(0.5, 0.9)) if kind == "buzz" else 1.0,
        recession=float(random.exponential(0.005)),
        under_hat=hat,
    )


@dataclass(frozen=True)
class Hair:
    """Strips on the mean head: ``points`` float64 [STRIPS, POINTS, 3], ``normals`` the same, ``tangents`` the
    same, ``shade`` float64 [STRIPS] about 1, ``width`` float64 [STRIPS, POINTS] metres (0: not there).
    """

    points: FloatArray
    normals: FloatArray
    tangents: FloatArray
    shade: FloatArray
    width: FloatArray


class HairGrower:
    """Grows hair on one head model's mean head."""

    def __init__(self, head: HeadModel) -> None:
        mean = head.vertices_mean.astype(np.float64)
        skin = np.unique(head.triangles[head.triangle_part == 0])
        outer = skin[(head.region("mouth_inside")[skin] < 0.5) & (head.region("eyelids")[skin] < 0.9)]
        self._skull = self._radii(mean[outer])
        corners = head.triangles[(head.region("scalp")[head.triangles] > 0.6).all(axis=1)]
        edges = mean[corners[:, 1]] - mean[corners[:, 0]], mean[corners[:, 2]] - mean[corners[:, 0]]
        area = np.linalg.norm(np.cross(*edges), axis=1)
        self._corners, self._share = mean[corners], area / area.sum()

    def grow(self, style: HairStyle, random: np.random.Generator) -> Hair:
        """Hair of a style; the same ``random`` grows the same."""
        points, tangents = np.zeros((2, STRIPS, POINTS, 3))
        root, outward = self._roots(random)
        heading = self._first_heading(style, root, outward, random)
        layer = style.thickness * random.uniform(0.3, 1.0, STRIPS)
        # who has short hair has it shorter still towards the nape
        cut = np.clip((root[:, 1] + 0.05) / 0.07, 0, 1) if style.length < 0.2 else np.ones(STRIPS)
        step = style.length * cut * random.uniform(0.75, 1.1, STRIPS) / (POINTS - 1)
        alive = (root[:, 2] < 0.016 - 1.5 * style.recession) | (np.abs(root[:, 0]) < 0.02)
        alive &= (root[:, 2] < -style.recession) | (np.abs(root[:, 0]) < 0.04)
        alive &= cut > 0.2
        if style.under_hat:
            alive &= root[:, 1] < 0.035 - 0.25 * (0.03 - root[:, 2])
        width = np.zeros((STRIPS, POINTS))
        place = root + 0.001 * outward
        # neighbours bend alike: locks
        waves = random.normal(0, 70, (3, 3)), random.uniform(0, 7, 3)
        bend = np.sin(root @ waves[0] + waves[1]) * (0.15 + style.curl)
        for number in range(POINTS):
            points[:, number], tangents[:, number] = place, heading
            width[:, number] = alive
            turn = random.normal(0, 0.1 + 0.9 * style.curl**2, (STRIPS, 3))
            fall = (0.15 + 0.6 * number / POINTS) * (1 - 0.8 * style.curl)
            heading = heading + fall * _GRAVITY + 0.3 * turn + 0.3 * bend * np.sin(1.7 * number)
            heading /= np.linalg.norm(heading, axis=1, keepdims=True)
            rise = layer * min(1.0, 0.4 + number / 3)
            moved = self._pushed_out(place + heading * step[:, None], rise)
            ahead = moved - place
            heading = ahead / np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
            place = moved
            alive = alive & ~self._on_face(place, style)
        taper = np.interp(np.linspace(0, 1, POINTS), [0, 0.6, 1], [1, 0.95, 0.15])
        wide = np.interp(style.length, [0.01, 0.05, 0.12, 0.3], [0.005, 0.008, 0.012, 0.016])
        away = points - _CENTRE
        away[:, :, 1] *= np.clip(1 + 4 * away[:, :, 1] / 0.1, 0.15, 1)  # long hair hangs as a curtain
        return Hair(
            points=points,
            normals=away / np.linalg.norm(away, axis=2, keepdims=True),
            tangents=tangents,
            shade=random.lognormal(0, 0.28, STRIPS),
            width=width * taper * (wide * random.uniform(0.4, 1.2, STRIPS))[:, None],
        )

    def _roots(self, random: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        chosen = self._corners[random.choice(len(self._corners), STRIPS, p=self._share)]
        weight = random.dirichlet((1, 1, 1), STRIPS)
        root = np.einsum("nk,nkc->nc", weight, chosen)
        outward = root - _CENTRE
        return root, outward / np.linalg.norm(outward, axis=1, keepdims=True)

    def _first_heading(
        self, style: HairStyle, root: FloatArray, outward: FloatArray, random: np.random.Generator
    ) -> FloatArray:
        """Where hair sets out: from the parting or the whorl, back or down, or outwards when it is curly."""
        whorl = np.array([0.01, 0.1, -0.13])
        heading = root - whorl
        if style.parting is not None:
            side = np.sign(root[:, 0] - style.parting) + 1e-3
            heading = heading + np.outer(side, [0.12, 0, 0]) * np.exp(-np.abs(root[:, :1]) / 0.06)
        heading = heading * (1 - style.back) + np.array([0, -0.02, -0.1]) * style.back
        heading -= (heading * outward).sum(1, keepdims=True) * outward
        heading /= np.linalg.norm(heading, axis=1, keepdims=True) + 1e-9
        lift = min(0.2, 20 * style.thickness) * (1 + 5 * style.curl) + random.uniform(
            0, min(0.15, 10 * style.thickness), STRIPS
        )
        heading = heading + lift[:, None] * outward + random.normal(0, 0.08, (STRIPS, 3))
        unit: FloatArray = heading / np.linalg.norm(heading, axis=1, keepdims=True)
        return unit

    def _pushed_out(self, place: FloatArray, rise: FloatArray) -> FloatArray:
        """Points outside the head by at least ``rise``."""
        away = place - _CENTRE
        distance = np.linalg.norm(away, axis=1)
        row, column = _direction_cell(away / distance[:, None])
        least = self._skull[row, column] + rise
        outside: FloatArray = _CENTRE + away * np.maximum(1, least / distance)[:, None]
        return outside

    def _on_face(self, place: FloatArray, style: HairStyle) -> npt.NDArray[np.bool_]:
        """Whether hair has come where the face is to be seen."""
        across, up, depth = np.abs(place[:, 0]), place[:, 1], place[:, 2]
        front = (depth > -0.03) & (across < 0.08) & (up < style.fringe)
        cheek = (depth > -0.045) & (up < 0.02)
        return front | cheek

    def _radii(self, vertices: FloatArray) -> FloatArray:
        """Distance [rows, columns] of the head's surface from the centre in every direction."""
        away = vertices - _CENTRE
        distance = np.linalg.norm(away, axis=1)
        tree = cKDTree(away / distance[:, None])
        polar = (np.arange(_ROWS) + 0.5) / _ROWS * np.pi
        turn = (np.arange(_COLUMNS) + 0.5) / _COLUMNS * 2 * np.pi - np.pi
        grid = np.stack(
            [
                np.outer(np.sin(polar), np.sin(turn)),
                np.repeat(np.cos(polar)[:, None], _COLUMNS, 1),
                np.outer(np.sin(polar), np.cos(turn)),
            ],
            axis=-1,
        )
        near = tree.query(grid.reshape(-1, 3), k=5)[1]
        radii: FloatArray = distance[near].max(axis=1).reshape(_ROWS, _COLUMNS)
        return radii


def _direction_cell(unit: FloatArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    row = np.clip(np.arccos(np.clip(unit[:, 1], -1, 1)) / np.pi * _ROWS, 0, _ROWS - 1)
    column = np.clip((np.arctan2(unit[:, 0], unit[:, 2]) + np.pi) / (2 * np.pi) * _COLUMNS, 0, _COLUMNS - 1)
    return row.astype(np.int64), column.astype(np.int64)


def strip_triangles() -> npt.NDArray[np.int32]:
    """Triangles [N, 3] of the strips' vertices, which are ordered strip, point, left and right."""
    first = np.arange(STRIPS * POINTS).reshape(STRIPS, POINTS)[:, :-1].reshape(-1, 1) * 2
    corners = [first + np.array(three) for three in ([0, 1, 2], [2, 1, 3])]
    triangles: npt.NDArray[np.int32] = np.concatenate(corners).astype(np.int32)
    return triangles
