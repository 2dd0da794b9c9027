"""Lay the open head on a source's mean and write down where each of its vertices came to lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from facewright.fit.camera import similarity
from facewright.head.correspondence import HeadCorrespondence, triangle_frames
from facewright.head.head_model import HeadModel
from facewright_export.head_correspondence.correspondence_error import CorrespondenceError
from facewright_export.head_correspondence.expression_matrices import expression_matrices
from facewright_export.head_correspondence.landmarks import RIGID, open_landmarks
from facewright_export.head_correspondence.matched_curves import matched_curves, source_face
from facewright_export.head_correspondence.open_skin import OpenSkin, open_face
from facewright_export.head_correspondence.registration import (
    STAGES,
    Matches,
    Stage,
    Template,
    register,
    turned_over,
)
from facewright_export.head_correspondence.seen_curves import lip_sides
from facewright_export.head_correspondence.source_head import SourceHead
from facewright_export.head_correspondence.surface import Surface, SurfacePoints, unit_vertex_normals
from facewright_export.head_correspondence.tearing import torn_vertices

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: How far the ears, whose folds differ, follow the source's.
EAR_TRUST: Final = 0.3
#: A vertex is known where the source's surface is nearer than the first and unknown beyond the second,
#: metres, and where its normal agrees to this cosine.
KNOWN_WITHIN: Final = (0.001, 0.003)
KNOWN_COSINE: Final = 0.3
#: Units that a source without a stated one may have, metres, and by what factor heads differ at most.
UNITS: Final = (1.0, 0.1, 0.01, 0.001, 0.0254)
LARGEST_RATIO: Final = 1.3
#: The gate, metres, on the face; and the share of the face that the source must have.
MOST_MEDIAN: Final = 0.0005
MOST_P95: Final = 0.0015
LEAST_COVER: Final = 0.85


@dataclass(frozen=True)
class BuiltCorrespondence:
    """What was built.

    Attributes:
        correspondence: to be written.
        vertices: float64 [N, 3], the open head's outer skin on the source, posed and scaled as the open head.
        skin: which that is.
        distance: float64 [N], metres from the source's surface; infinite where it has none.
        source_vertices: float64 [M, 3], the source posed so, too.
        source_triangles: int64 [F, 3].
    """

    correspondence: HeadCorrespondence
    vertices: FloatArray
    skin: OpenSkin
    distance: FloatArray
    source_vertices: FloatArray
    source_triangles: IntArray


def build_correspondence(
    head: HeadModel, head_sha256: str, source: SourceHead, stages: Sequence[Stage] = STAGES
) -> BuiltCorrespondence:
    """The correspondence of a source with the open head.

    Args:
        head: the open head.
        head_sha256: of its file.
        source: the other head's mean.
        stages: of the registration.

    Raises:
        CorrespondenceError: the source is no head of a known unit, or the gate is missed; the message names
            where.
    """
    scale, rotation, shift = _pose(head, source)
    unit = _unit(scale, source)
    posed = scale * source.vertices @ rotation.T + shift  # in head space, as large as the open head
    skin = OpenSkin.of(head)
    face = source_face(source, posed)
    surface = Surface(posed, face.skin, ends_at_border=True, lips=lip_sides(face))
    own_lips = lip_sides(open_face(head, head.vertices_mean.astype(np.float64)))[skin.vertices]
    placed = _registered(head, skin, source, posed, surface, own_lips, stages)

    template = skin.columns[skin.triangles]
    normals = unit_vertex_normals(placed, template)
    points, distance, _ = surface.closest(placed, normals, KNOWN_COSINE, own_lips)
    _require_gate(head, skin, distance, placed, source)

    confidence = np.zeros(head.vertex_count, np.float32)
    torn = torn_vertices(placed, template, points, source.expressions * unit)
    confidence[skin.vertices] = np.where(torn, 0.0, np.interp(distance, KNOWN_WITHIN, (1.0, 0.0)))
    corners = np.zeros((head.vertex_count, 3), np.int32)
    barycentrics = np.tile(np.array([1, 0, 0], np.float32), (head.vertex_count, 1))
    offset = np.zeros((head.vertex_count, 3), np.float32)
    corners[skin.vertices], barycentrics[skin.vertices] = points.corners, points.weights
    in_source = (placed - shift) @ rotation / scale
    frames = triangle_frames(source.vertices[points.corners])
    offset[skin.vertices] = np.einsum("vkc,vc->vk", frames, in_source - points.of(source.vertices))
    offset[confidence == 0] = 0
    carried = HeadCorrespondence(
        _metadata(head, head_sha256, skin, distance, source),
        corners,
        barycentrics,
        offset,
        confidence,
        _source_uv(head, skin, points, source, confidence),
        (unit * rotation).astype(np.float32),
        np.zeros((len(head.expression_names), 0), np.float32),
        np.zeros((0, len(head.expression_names)), np.float32),
    )
    return BuiltCorrespondence(
        expression_matrices(carried, head, source), placed, skin, distance, posed, source.triangles
    )


def _pose(head: HeadModel, source: SourceHead) -> tuple[float, FloatArray, FloatArray]:
    """Scale, rotation and shift from the source to head space, by brows, nose and eyes."""
    return similarity(
        source.landmarks.of(source.vertices)[RIGID], open_landmarks(head).of(head.vertices_mean)[RIGID]
    )


def _unit(scale: float, source: SourceHead) -> float:
    """Metres per unit of the source: what it says, or the unit in which it has a head's size."""
    if source.metres_per_unit is not None and not source.metres_per_unit > 0:
        raise CorrespondenceError(
            f"{source.metres_per_unit} metres per unit are no length", "give a positive number"
        )
    known = UNITS if source.metres_per_unit is None else (source.metres_per_unit,)
    unit = min(known, key=lambda one: abs(np.log(scale / one)))
    if abs(np.log(scale / unit)) > np.log(LARGEST_RATIO):
        raise CorrespondenceError(
            f"{source.name} would be a head of usual size at {scale:.4g} metres per unit, not {unit:g}",
            "check the landmarks' numbers and the unit",
        )
    return unit


def _registered(
    head: HeadModel,
    skin: OpenSkin,
    source: SourceHead,
    posed: FloatArray,
    surface: Surface,
    own_lips: npt.NDArray[np.int8],
    stages: Sequence[Stage],
) -> FloatArray:
    """The outer skin's vertices [N, 3] on the source, in head space."""
    lines, places, along = matched_curves(head, skin, source, posed)
    landmarks = open_landmarks(head)
    on_skin = np.flatnonzero((skin.columns[landmarks.corners] >= 0).all(axis=1))
    template = Template(
        head.vertices_mean[skin.vertices].astype(np.float64),
        skin.columns[skin.triangles],
        None,
        np.where(head.region("ears")[skin.vertices] > 0.3, EAR_TRUST, 1.0),
        own_lips,
    )
    count = len(skin.vertices)
    try:
        return register(
            template,
            surface,
            Matches(lines.matrix(skin.columns, count), places, along),
            Matches(
                landmarks.taken(on_skin).matrix(skin.columns, count), source.landmarks.of(posed)[on_skin]
            ),
            stages,
        )
    except ValueError as error:
        raise CorrespondenceError(
            f"the open head does not lie on {source.name} unfolded ({error})",
            "check the landmarks' order and that the mesh is a neutral head with its mouth closed",
        ) from error


def _require_gate(
    head: HeadModel, skin: OpenSkin, distance: FloatArray, placed: FloatArray, source: SourceHead
) -> None:
    """Refuse what lies too far from the source, on too little of it, or folded; say where."""
    template = Template(
        head.vertices_mean[skin.vertices].astype(np.float64),
        skin.columns[skin.triangles],
        None,
        np.ones(len(skin.vertices)),
    )
    folded = int(np.count_nonzero(turned_over(template, placed)))
    face = head.region("face")[skin.vertices] > 0.5
    found = face & np.isfinite(distance)
    cover = np.count_nonzero(found) / np.count_nonzero(face)
    if cover < LEAST_COVER:
        raise CorrespondenceError(
            f"{source.name} has a surface for {cover:.0%} of the face only, least at the "
            f"{_worst_region(head, skin, np.where(np.isfinite(distance), 0.0, 1.0))[0]}",
            "check the landmarks' order, the triangles' winding (outwards) and that the mesh is a whole face",
        )
    median, p95 = np.percentile(distance[found], [50, 95])
    # less than a twentieth of the face may lie far off, but no feature
    region, mean = _worst_region(head, skin, np.where(found, distance, 0.0))
    if median >= MOST_MEDIAN or max(p95, mean) >= MOST_P95 or folded:
        raise CorrespondenceError(
            f"the open head lies {median * 1e3:.2f} mm (median) and {p95 * 1e3:.2f} mm (95 %) from the face "
            f"of {source.name}, with {folded} folded triangles; allowed are {MOST_MEDIAN * 1e3:.1f} and "
            f"{MOST_P95 * 1e3:.1f} mm and none; farthest at the {region}, by {mean * 1e3:.1f} mm",
            "check the landmarks there; a neutral face with closed mouth and open eyes is wanted",
        )


def _worst_region(head: HeadModel, skin: OpenSkin, error: FloatArray) -> tuple[str, float]:
    """The region of the face with the largest mean error, and that."""
    names = [name for name in head.region_names if name not in ("face", "scalp", "neck", "ears", "eyeballs")]
    means = {}
    for name in names:
        weights = head.region(str(name))[skin.vertices]
        means[str(name)] = float(weights @ error / max(float(weights.sum()), 1e-9))
    worst = max(means, key=lambda name: means[name])
    return worst.replace("_", " "), means[worst]


def _metadata(
    head: HeadModel, head_sha256: str, skin: OpenSkin, distance: FloatArray, source: SourceHead
) -> dict[str, Any]:
    found = (head.region("face")[skin.vertices] > 0.5) & np.isfinite(distance)
    median, p95, most = np.percentile(distance[found], [50, 95, 100]) * 1e3
    return {
        "source": source.name,
        "source_files": list(source.files),
        "source_vertices": len(source.vertices),
        "head_sha256": head_sha256,
        "residual_mm": {
            name: round(float(x), 4) for name, x in (("median", median), ("p95", p95), ("max", most))
        },
        "versions": {name: version(name) for name in ("facewright", "numpy", "scipy")},
    }


def _source_uv(
    head: HeadModel, skin: OpenSkin, points: SurfacePoints, source: SourceHead, confidence: npt.NDArray[Any]
) -> npt.NDArray[np.float32]:
    """The source's UV [T, 2] of each UV vertex."""
    if source.uv is None:
        return np.zeros((0, 2), np.float32)
    row = {tuple(corners): number for number, corners in enumerate(source.triangles.tolist())}
    triangle = np.array([row[tuple(corners)] for corners in points.corners.tolist()])
    of_skin = np.einsum("nk,nkc->nc", points.weights, source.uv.uv[source.uv.triangles[triangle]])
    of_vertices = np.zeros((head.vertex_count, 2))
    of_vertices[skin.vertices] = of_skin
    of_vertices[confidence == 0] = 0
    return of_vertices[head.uv_vertex].astype(np.float32)
