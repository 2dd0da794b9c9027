"""Soft region masks of the open head, from MakeHuman sliders, UV islands and measures of the mean head."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from facewright_export.open_head.makehuman_data import VERTEX_COUNT, BaseMesh, MakeHumanData
from facewright_export.open_head.neck_cut import NECK_OFFSET, NECK_SLOPE, HeadTopology

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

REGION_NAMES: Final = (
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
)

#: Middle height and half width of a brow over the distance from the midline, all in millimetres on the
#: canonical head.
BROW_HEIGHT: Final = ((8, 14, 24, 38, 50, 56), (11, 13.5, 16.5, 19.5, 15.5, 12))
BROW_HALF_WIDTH: Final = ((8, 14, 40, 56), (4.0, 4.5, 3.5, 1.5))


def cavities(base: BaseMesh, topology: HeadTopology) -> tuple[BoolArray, BoolArray]:
    """Vertices inside the mouth and inside the eye sockets, bool [V] each, without the rims they share with
    the skin.

    MakeHuman lays the mouth's bag and the two eye sockets out as UV islands of their own; on the head they
    are the three islands of the skin besides the largest ones (face and body).
    """
    skin = base.quad_group == "body"
    corners = base.quad_uv[skin]
    edges = np.concatenate([corners[:, [i, i + 1]] for i in range(3)])
    size = int(base.quad_uv.max()) + 1
    _, island_of_uv = connected_components(
        csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(size, size)), directed=False
    )
    quad_island = island_of_uv[corners[:, 0]]
    body = np.asarray(topology.from_body.sum(axis=0)).ravel() > 0
    mouth, sockets = np.zeros(VERTEX_COUNT, bool), np.zeros(VERTEX_COUNT, bool)
    outer = np.zeros(VERTEX_COUNT, bool)
    for island in np.unique(quad_island):
        vertices = np.unique(base.quads[skin][quad_island == island])
        if not body[vertices].all() or len(vertices) > 1000:
            outer[vertices] = True  # the face, and what reaches below the neck's cut
        elif np.ptp(np.sign(base.vertices[vertices, 0])) > 0:
            mouth[vertices] = True
        else:
            sockets[vertices] = True

    def on_head(mask: BoolArray) -> BoolArray:
        result: BoolArray = np.asarray(topology.from_body @ (mask & ~outer).astype(np.float64)) > 0.5
        return result

    return on_head(mouth), on_head(sockets)


def region_weights(
    makehuman: MakeHumanData, base: BaseMesh, topology: HeadTopology, mean: FloatArray
) -> FloatArray:
    """Weights [15, V] in 0–1 in the order of ``REGION_NAMES``; ``mean`` [V, 3] is the mean head."""
    part = np.zeros(len(mean), np.int64)
    part[topology.triangles.ravel()] = np.repeat(topology.triangle_part, 3)
    in_mouth, in_socket = cavities(base, topology)
    outer = (part == 0) & ~in_mouth & ~in_socket
    across, up, front = np.abs(mean[:, 0]) * 1e3, mean[:, 1] * 1e3, mean[:, 2] * 1e3

    def slider(*names: str) -> FloatArray:
        """Largest displacement by any of the targets, 1 at each target's peak."""
        strength = np.zeros(len(mean))
        for name in names:
            target = makehuman.target(name)
            body = np.zeros((VERTEX_COUNT, 3))
            body[target.vertices] = target.offsets
            length = np.linalg.norm(topology.carry(body), axis=1)
            strength = np.maximum(strength, length / length.max())
        return np.maximum(strength, strength[topology.mirror])

    # MakeHuman shifts the whole ear as one and lets the skin around it follow
    ears = _step(slider("ears/l-ear-trans-up"), 0.9, 0.985)
    nose = _step(
        slider(
            "nose/nose-volume-incr",
            "nose/nose-scale-horiz-incr",
            "nose/nose-width2-incr",
            "nose/nose-hump-incr",
        ),
        0.15,
        0.5,
    )
    # the lips' red: from the rim of the mouth's bag up to the cupid's bow and down to the mentolabial side
    rim = _rim(topology, in_mouth, outer)
    slit_height = np.interp(across, *_height_profile(mean[rim]))
    taper = np.sqrt(np.clip(1 - (across / 25.5) ** 2, 0, None))
    above, below = up - slit_height, slit_height - up
    lips = (
        _step(np.maximum(above - 7.5 * taper, below - 10.5 * taper), 1.5, -1.0)
        * (across < 25.5)
        * (front > 0)
    )
    lid_distance = _distance(mean, _rim(topology, in_socket, outer))
    eyelids = _step(lid_distance, 0.011, 0.005) * outer

    # the hair line as a height that depends on depth: forehead, temples, before the ear, behind it, nape
    hair_line = np.interp(
        front, [-170, -120, -95, -80, -62, -45, -20, 10, 30], [-80, -72, -45, 0, 5, 30, 48, 62, 66]
    )
    scalp = _step(up - hair_line, -6, 6) * (1 - ears)
    neck_height = up + NECK_SLOPE * front - NECK_OFFSET * 1e3
    under_jaw = np.interp(front, [-110, -80, -45, -10, 15], [-55, -72, -92, -112, -116])
    neck = _step(under_jaw - up, -6, 8) * (1 - scalp) * (neck_height < 200)
    brow = brow_mask(mean)
    face = (1 - ears) * (1 - scalp) * (1 - neck) * _step(front, -75, -55)
    forehead = face * _step(up, 20, 30) * _step(front, -50, -25)
    chin = face * _step(up, -84, -92) * _step(across, 32, 22)
    jaw = face * _step(up, -40, -65) * _step(across, 30, 42)
    cheeks = face * _step(up, -12, -20) * _step(up, -95, -80) * _step(across, 18, 28) * (1 - nose) * (1 - jaw)

    outer_masks = {
        "face": face,
        "forehead": forehead,
        "brow_left": brow * (mean[:, 0] > 0),
        "brow_right": brow * (mean[:, 0] < 0),
        "eyelids": eyelids,
        "nose": nose,
        "lips": lips,
        "cheeks": cheeks * (1 - lips),
        "chin": chin * (1 - lips),
        "jaw": jaw,
        "ears": ears,
        "scalp": scalp,
        "neck": neck,
    }
    weights = np.zeros((len(REGION_NAMES), len(mean)))
    for name, mask in outer_masks.items():
        weights[REGION_NAMES.index(name)] = mask * outer
    weights[REGION_NAMES.index("mouth_inside")] = in_mouth | (part >= 3)
    weights[REGION_NAMES.index("eyeballs")] = (part == 1) | (part == 2)
    return np.clip(weights, 0.0, 1.0)


def brow_mask(points: FloatArray) -> FloatArray:
    """Where the hairs of either brow grow, 0–1 [...], from points [..., 3] of the canonical head in
    metres."""
    across, up, front = np.abs(points[..., 0]) * 1e3, points[..., 1] * 1e3, points[..., 2] * 1e3
    height = np.interp(across, *BROW_HEIGHT)
    width = np.interp(across, *BROW_HALF_WIDTH)
    mask = _step(np.abs(up - height), width + 2, width) * _step(across, 8, 12) * _step(across, 57, 53)
    brow: FloatArray = mask * (front > -40)
    return brow


def _step(value: FloatArray, zero: float | FloatArray, one: float | FloatArray) -> FloatArray:
    """Smooth step: 0 at ``zero``, 1 at ``one`` (which may be smaller), with zero slope at both."""
    t = np.clip((value - zero) / (np.asarray(one) - zero), 0.0, 1.0)
    step: FloatArray = t * t * (3 - 2 * t)
    return step


def _rim(topology: HeadTopology, inside: BoolArray, outer: BoolArray) -> IntArray:
    """Outer vertices that share a triangle with the inside of a cavity; int64 [N]."""
    triangles = topology.triangles
    crossing = inside[triangles].any(axis=1) & outer[triangles].any(axis=1)
    vertices = np.unique(triangles[crossing])
    rim: IntArray = vertices[outer[vertices]]
    return rim


def _height_profile(rim: FloatArray) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The mouth slit's height in millimetres over the distance from the midline, in 3 mm bins."""
    across, up = np.abs(rim[:, 0]) * 1e3, rim[:, 1] * 1e3
    bins = np.round(across / 3).astype(np.int64)
    present = np.unique(bins)
    heights = np.array([up[bins == b].mean() for b in present], np.float64)
    return present * 3.0, heights


def _distance(points: FloatArray, targets: IntArray) -> FloatArray:
    distance: FloatArray = cKDTree(points[targets]).query(points)[0]
    return distance
