"""A small made-up head in the head model's file format: smooth, symmetric, random, with known properties.

For tests that must know the truth or must not depend on the built open head.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facewright.fit.expression_prior import WIDTHS

Arrays = dict[str, NDArray[Any]]

ROWS, COLUMNS = 36, 48  # of the skin's grid
CENTRE, RADII = np.array([0.0, -0.02, -0.085]), np.array([0.075, 0.115, 0.095])
EYES = np.array([[0.031, 0.0, -0.008], [-0.031, 0.0, -0.008]])
EYE_RADIUS, IRIS_RADIUS = 0.0125, 0.0058
SIDED = [
    ["eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide"],
    ["mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch"],
    ["mouthPress", "mouthLowerDown", "mouthUpperUp", "browDown"],
    ["browOuterUp"],
    ["cheekSquint", "noseSneer"],
]
REGIONS = [
    "face",
    "forehead",
    "brow_left",
    "brow_right",
    "eyelids",
    "nose",
    "lips",
    "mouth_inside",
    "cheeks",
    "chin",
    "jaw",
    "ears",
    "scalp",
    "neck",
    "eyeballs",
]


def arkit_names() -> list[str]:
    """The 52 names in Apple's order."""
    eyes = [stem + side for side in ("Left", "Right") for stem in SIDED[0]]
    middle = [
        "jawForward",
        "jawLeft",
        "jawRight",
        "jawOpen",
        "mouthClose",
        "mouthFunnel",
        "mouthPucker",
        "mouthLeft",
        "mouthRight",
    ]
    mouth = [stem + side for stem in SIDED[1] for side in ("Left", "Right")]
    lips = ["mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"]
    rest = [stem + side for stem in SIDED[2] for side in ("Left", "Right")]
    brows = ["browInnerUp", *(stem + side for stem in SIDED[3] for side in ("Left", "Right"))]
    cheeks = ["cheekPuff", *(stem + side for stem in SIDED[4] for side in ("Left", "Right"))]
    names = [*eyes, *middle, *mouth, *lips, *rest, *brows, *cheeks, "tongueOut"]
    assert len(names) == 52
    assert {n.removesuffix("Left").removesuffix("Right") if n not in WIDTHS else n for n in names} == set(
        WIDTHS
    )
    return names


def synthetic_head(seed: int = 0) -> Arrays:
    """The arrays of a head model file."""
    rng = np.random.default_rng(seed)
    skin, skin_triangles, mirror = _skin()
    eye, eye_triangles = _sphere(12, 16)
    count, eye_count = len(skin), len(eye)
    eye_right = eye * [-1, 1, 1]
    vertices = np.concatenate([skin, EYES[0] + EYE_RADIUS * eye, EYES[1] + EYE_RADIUS * eye_right])
    triangles = np.concatenate(
        [skin_triangles, eye_triangles + count, eye_triangles[:, ::-1] + count + eye_count]
    )
    mirror = np.concatenate([mirror, count + eye_count + np.arange(eye_count), count + np.arange(eye_count)])
    part = np.repeat([0, 1, 2], [len(skin_triangles), len(eye_triangles), len(eye_triangles)])
    total = len(vertices)

    identity = np.stack(
        [_smooth_field(vertices, mirror, rng, 0.05 - 0.0002 * k) * 0.0015 * 0.97**k for k in range(160)]
    )
    for eyes in (slice(count, count + eye_count), slice(count + eye_count, total)):
        identity[:, eyes] = identity[:, eyes].mean(axis=1, keepdims=True)
    skin_weights = np.zeros((total, 6), np.float32)
    skin_weights[:, 2] = 1
    skin_weights[count : count + eye_count] = np.eye(6)[4]
    skin_weights[count + eye_count :] = np.eye(6)[5]
    regressor = np.zeros((6, total))
    regressor[:4, :count] = 1 / count
    regressor[4, count : count + eye_count] = regressor[5, count + eye_count :] = 1 / eye_count
    regions = np.zeros((len(REGIONS), total))
    for name, centre, radius in (
        ("face", (0, -0.03, 0.0), 0.07),
        ("eyelids", (0.031, 0, 0.0), 0.02),
        ("eyelids", (-0.031, 0, 0.0), 0.02),
        ("nose", (0, -0.04, 0.02), 0.02),
        ("lips", (0, -0.075, 0.0), 0.02),
    ):
        distance = np.linalg.norm(skin - centre, axis=1)
        index = REGIONS.index(name)
        regions[index, :count] = np.maximum(regions[index, :count], np.clip(2 - distance / radius, 0, 1))
    regions[REGIONS.index("eyeballs"), count:] = 1

    landmark_triangles, barycentrics, landmark_positions = _landmarks(vertices, triangles, part, rng)
    contour, candidates = _contour(landmark_positions, skin)
    uv = np.stack(np.divmod(np.arange(total), 64), axis=1) / 64.0
    return {
        "format_version": np.array(2),
        "metadata": np.array(json.dumps({"source": "synthetic", "licence": "Apache-2.0"})),
        "vertices_mean": vertices.astype(np.float32),
        "vertices_canonical": vertices.astype(np.float32),
        "identity_basis": identity.astype(np.float32),
        "expression_names": np.array(arkit_names()),
        "expression_basis": _expressions(vertices, count, eye_count).astype(np.float32),
        "triangles": triangles.astype(np.int32),
        "part_names": np.array(["skin", "eye_left", "eye_right", "teeth_upper", "teeth_lower", "tongue"]),
        "triangle_part": part.astype(np.uint8),
        "uv": np.clip(uv, 0, 1).astype(np.float32),
        "uv_vertex": np.arange(total, dtype=np.int32),
        "uv_triangles": triangles.astype(np.int32),
        "lod1_uv_triangles": triangles[::2].astype(np.int32),
        "lod2_uv_triangles": triangles[::4].astype(np.int32),
        "lod1_part": part[::2].astype(np.uint8),
        "lod2_part": part[::4].astype(np.uint8),
        "joint_names": np.array(["root", "neck", "head", "jaw", "eye_left", "eye_right"]),
        "joint_parents": np.array([-1, 0, 1, 2, 2, 2], np.int32),
        "joint_regressor": regressor.astype(np.float32),
        "skin_weights": skin_weights,
        "landmark_triangles": landmark_triangles.astype(np.int32),
        "landmark_barycentrics": barycentrics.astype(np.float32),
        "landmark_sigma": np.full(478, 0.0005, np.float32),
        "contour_landmarks": contour.astype(np.int32),
        "contour_candidates": candidates.astype(np.int32),
        "mirror_vertex": mirror.astype(np.int32),
        "region_names": np.array(REGIONS),
        "region_weights": regions.astype(np.float32),
        "iris_centre": (EYES + np.array([0, 0, EYE_RADIUS])).astype(np.float32),
        "iris_radius": np.full(2, IRIS_RADIUS, np.float32),
    }


def save_synthetic_head(path: Path, seed: int = 0) -> Path:
    """Writes the file; returns ``path``."""
    np.savez(path, **synthetic_head(seed))  # type: ignore[arg-type]
    return path


def _sphere(rows: int, columns: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A unit sphere with poles at +-Y, triangles counter-clockwise seen from outside."""
    latitude = np.pi * (np.arange(1, rows) / rows - 0.5)
    longitude = 2 * np.pi * np.arange(columns) / columns
    ring = np.stack(
        [
            np.cos(latitude)[:, None] * np.sin(longitude),
            np.repeat(np.sin(latitude)[:, None], columns, axis=1),
            np.cos(latitude)[:, None] * np.cos(longitude),
        ],
        axis=-1,
    ).reshape(-1, 3)
    points = np.concatenate([ring, [[0, -1, 0], [0, 1, 0]]])
    index = np.arange((rows - 1) * columns).reshape(rows - 1, columns)
    a, b = index[:-1], np.roll(index, -1, axis=1)[:-1]
    c, d = np.roll(index, -1, axis=1)[1:], index[1:]
    south, north = len(ring), len(ring) + 1
    first, last = index[0], index[-1]
    triangles = [np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))]
    triangles.append(np.stack([np.full(columns, south), np.roll(first, -1), first], axis=1))
    triangles.append(np.stack([np.full(columns, north), last, np.roll(last, -1)], axis=1))
    return points, np.concatenate(triangles)


def _skin() -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    sphere, triangles = _sphere(ROWS, COLUMNS)
    vertices = CENTRE + RADII * sphere
    from_nose = np.linalg.norm((vertices - [0, -0.04, 0.01])[:, :2], axis=1)
    front = vertices[:, 2] > CENTRE[2]
    vertices[front, 2] += 0.022 * np.exp(-0.5 * (from_nose[front] / 0.014) ** 2)
    grid = np.arange((ROWS - 1) * COLUMNS).reshape(ROWS - 1, COLUMNS)
    mirror = np.concatenate(
        [grid[:, (-np.arange(COLUMNS)) % COLUMNS].ravel(), [len(sphere) - 2, len(sphere) - 1]]
    )
    vertices = 0.5 * (vertices + vertices[mirror] * [-1, 1, 1])
    return vertices, triangles, mirror


def _smooth_field(
    vertices: NDArray[np.float64], mirror: NDArray[np.int64], rng: np.random.Generator, width: float
) -> NDArray[np.float64]:
    """A symmetric random displacement field of about unit size, [V, 3]."""
    centres = CENTRE + RADII * _unit(rng.standard_normal((24, 3)) + np.array([0, 0, 0.7]))
    weights = np.exp(-0.5 * np.sum((vertices[:, None] - centres) ** 2, axis=2) / max(width, 0.012) ** 2)
    field = weights @ rng.standard_normal((24, 3))
    field = 0.5 * (field + field[mirror] * [-1, 1, 1])
    return np.asarray(field / np.sqrt(np.mean(np.sum(field**2, axis=1))))


def _expressions(vertices: NDArray[np.float64], count: int, eye_count: int) -> NDArray[np.float64]:
    """Local bumps: each stem has its own place on the left half and direction; partners are mirror images."""
    rng = np.random.default_rng(7)
    basis = np.zeros((52, len(vertices), 3))
    stems: dict[str, tuple[Any, Any, float]] = {}
    for stem in WIDTHS:
        angle = rng.uniform(-0.9, 0.9, 2)
        place = CENTRE + RADII * np.array(
            [abs(np.sin(angle[0])) * 0.8, np.sin(angle[1]) - 0.1, np.cos(angle[0])]
        )
        stems[stem] = (place, 0.006 * _unit(rng.standard_normal(3)), 0.016)
    stems["eyeBlink"] = (np.array([0.031, 0.006, 0.005]), np.array([0, -0.009, 0.001]), 0.007)
    stems["mouthSmile"] = (np.array([0.028, -0.075, 0.0]), np.array([0.008, 0.007, -0.002]), 0.014)
    stems["jawOpen"] = (np.array([0.0, -0.105, -0.01]), np.array([0, -0.025, -0.008]), 0.022)
    stems["mouthClose"] = (np.array([0.0, -0.085, 0.0]), np.array([0, 0.010, 0.0]), 0.012)
    for index, name in enumerate(arkit_names()):
        stem = name if name in WIDTHS else name.removesuffix("Left").removesuffix("Right")
        place, direction, width = stems[stem]
        if name != stem and name.endswith("Right"):
            place, direction = place * [-1, 1, 1], direction * [-1, 1, 1]
        if stem.startswith("eyeLook"):
            basis[index] = _look(vertices, count, eye_count, stem, name.endswith("Right"))
            continue
        distance = np.linalg.norm(vertices[:count] - place, axis=1)
        basis[index, :count] = np.exp(-0.5 * (distance / width) ** 2)[:, None] * direction
    return basis


def _look(
    vertices: NDArray[np.float64], count: int, eye_count: int, stem: str, right: bool
) -> NDArray[np.float64]:
    """The linear addition that turns an eyeball by half a radian."""
    out = np.zeros_like(vertices)
    eye = slice(count + eye_count, None) if right else slice(count, count + eye_count)
    axis = {
        "eyeLookDown": [1, 0, 0],
        "eyeLookUp": [-1, 0, 0],
        "eyeLookOut": [0, 1, 0],
        "eyeLookIn": [0, -1, 0],
    }
    turn = np.array(axis[stem], float) * (-1 if right and stem in ("eyeLookOut", "eyeLookIn") else 1)
    out[eye] = np.cross(0.5 * turn, vertices[eye] - EYES[int(right)])
    return out


def _landmarks(
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int64],
    part: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """478 surface points: eye corners, lids and irises where gaze expects them, the rest spread."""
    corners = vertices[triangles]
    middle = corners.mean(axis=1)
    front = np.flatnonzero((part == 0) & (middle[:, 2] > -0.085) & (np.abs(middle[:, 1] + 0.03) < 0.085))
    chosen = rng.choice(front, 478, replace=len(front) < 478)
    weights = rng.dirichlet([2, 2, 2], 478)
    around_eye = {263: (0.016, 0), 362: (-0.016, 0), 386: (0, 0.005), 374: (0, -0.004)}
    around_eye |= {385: (-0.005, 0.0045), 380: (-0.005, -0.0036), 387: (0.005, 0.0045), 373: (0.005, -0.0036)}
    partner = {263: 33, 362: 133, 386: 159, 374: 145, 385: 158, 380: 153, 387: 160, 373: 144}
    for left, (x, y) in around_eye.items():
        for index, side in ((left, 1), (partner[left], -1)):
            target = np.array([side * (0.031 + x), y])
            chosen[index], weights[index] = _surface_point(corners, front, target)
    for side, (first, eye_part) in enumerate(((473, 1), (468, 2))):
        on_eye = np.flatnonzero((part == eye_part) & (middle[:, 2] > EYES[side][2]))
        for k, (x, y) in enumerate(((0, 0), (1, 0), (0, 1), (-1, 0), (0, -1))):
            target = EYES[side][:2] + IRIS_RADIUS * np.array([x, y])
            chosen[first + k], weights[first + k] = _surface_point(corners, on_eye, target)
    return chosen, weights, np.einsum("nk,nkd->nd", weights, corners[chosen])


def _surface_point(
    corners: NDArray[np.float64], among: NDArray[np.int64], target: NDArray[np.float64]
) -> tuple[int, NDArray[np.float64]]:
    """The triangle (of ``among``) over the point (x, y), and barycentric coordinates there."""
    flat = corners[among][:, :, :2]
    matrix = np.concatenate([flat.transpose(0, 2, 1), np.ones((len(among), 1, 3))], axis=1)
    with np.errstate(all="ignore"):
        usable = np.abs(np.linalg.det(matrix)) > 1e-12
    weights = np.full((len(among), 3), -np.inf)
    weights[usable] = np.linalg.solve(matrix[usable], np.array([*target, 1.0])[None, :, None])[..., 0]
    best = int(np.argmax(weights.min(axis=1)))
    clipped = np.clip(weights[best], 0, 1)
    return int(among[best]), clipped / clipped.sum()


def _contour(
    landmarks: NDArray[np.float64], skin: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The landmarks farthest to the sides, each free to slide along its row of the skin's grid."""
    sides = landmarks[:468, 0]
    contour = np.concatenate([np.argsort(sides)[:10], np.argsort(sides)[-10:]])
    candidates = []
    for index in contour:
        row = int(np.argmin(np.linalg.norm(skin[:-2] - landmarks[index], axis=1))) // COLUMNS
        side = np.sign(sides[index])
        longitude = (side * np.arange(4, 16)).astype(int) % COLUMNS
        candidates.append(row * COLUMNS + longitude)
    return contour, np.array(candidates)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
