"""Register a template's skin to another head's: non-rigid iterative closest points.

Source: Amberg, Romdhani, Vetter 2007, "Optimal Step Nonrigid ICP Algorithms for Surface Registration": for
each of several decreasing stiffnesses, closest points and an optimal deformation in turn.

=================================  ==================================  =======================================
paper                              here                                why
=================================  ==================================  =======================================
an affine map for each vertex,     a displacement for each vertex,     the template is posed and scaled first;
differences of neighbours'         bilaplacian energy of the field     smooth curvature costs nothing
penalised
distance to the closest point      to its tangent plane; 5 % of it     the surface slides to where it fits
                                   to the point itself
landmark term that fades           the same; lines of lids and lips    lids and lips have to be exact at the
                                   stay to the end                     end
a point without a partner drops    so do points whose normals agree    the other head may have another nostril
                                   with nothing near, and, where the
                                   target says so, those beyond its
                                   border
–                                  a line may count less along it      the corners where it ends are not the
                                   than across it                      same points on any two heads

–                                  both halves are averaged in each    the open head and ICT-FaceKit's mean
                                   round where the template says so    are symmetric
=================================  ==================================  =======================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu

from facewright.fit.corrective_field import bilaplacian_energy
from facewright_export.head_correspondence.surface import (
    Surface,
    triangle_normals,
    unit_vertex_normals,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Stage:
    """One stiffness: ``sigma`` of the displacement in metres, how much landmarks and the surface count,
    rounds."""

    sigma: float
    landmarks: float
    surface: float
    rounds: int


STAGES: Final = (
    Stage(0.01, 1.0, 0.0, 3),
    Stage(0.01, 0.6, 0.2, 4),
    Stage(0.02, 0.3, 0.5, 5),
    Stage(0.04, 0.1, 1.0, 6),
    Stage(0.06, 0.03, 1.0, 6),
    Stage(0.06, 0.0, 1.0, 6),
)
#: Distance over which the displacement decorrelates, metres.
LENGTH: Final = 0.03
#: 1 sigma of the surface, of the lines and of landmarks, metres, as weights against the field's energy.
SURFACE_SIGMA: Final = 0.0022
LINE_SIGMA: Final = 0.0009
LANDMARK_SIGMA: Final = 0.002
#: Weight along a curve beside that across it, where the curve's direction is given.
ALONG_SHARE: Final = 0.03
#: Share of the distance to the point itself beside that to its plane.
POINT_SHARE: Final = 0.05
#: A closest point counts half at this distance and nothing beyond the second, metres.
ROBUST: Final = 0.004
FARTHEST: Final = 0.03
LEAST_COSINE: Final = 0.5


@dataclass(frozen=True)
class Template:
    """What is registered: ``vertices`` float64 [N, 3], posed; ``triangles`` int64 [F, 3]; ``mirror`` int64
    [N], None where the other head need not be symmetric; ``trust`` float64 [N], how much each vertex follows
    the other surface; ``lips`` int8 [N], as `Surface` takes it, or None.
    """

    vertices: FloatArray
    triangles: IntArray
    mirror: IntArray | None
    trust: FloatArray
    lips: npt.NDArray[np.int8] | None = None


@dataclass(frozen=True)
class Matches:
    """Points of the template (``maps`` [M, N]) and where they belong (``places`` float64 [M, 3]).

    Of points of curves, ``along`` float64 [M, 3] has the curve's directions: where along it a point belongs
    is known less well than that it lies on it.
    """

    maps: sparse.csr_array
    places: FloatArray
    along: FloatArray | None = None

    def blocks(self) -> FloatArray:
        """How much each of the points counts in each direction, float64 [M, 3, 3]."""
        whole = np.tile(np.eye(3), (len(self.places), 1, 1))
        if self.along is None:
            return whole
        return whole - (1 - ALONG_SHARE) * self.along[:, :, None] * self.along[:, None]


def register(
    template: Template,
    target: Surface,
    lines: Matches,
    landmarks: Matches,
    stages: Sequence[Stage] = STAGES,
) -> FloatArray:
    """The template's vertices float64 [N, 3] on the target; no triangle is turned over.

    Raises ValueError where some stay so: the template then does not fit.
    """
    energy = bilaplacian_energy(template.vertices, template.triangles, LENGTH)
    placed = template.vertices.copy()
    for stage in stages:
        for _ in range(stage.rounds):
            placed = _deformed(template, placed, target, (lines, landmarks), stage, energy)
            if template.mirror is not None:
                placed = (placed + placed[template.mirror] * [-1, 1, 1]) / 2
    return _unfolded(template, placed, energy)


def turned_over(template: Template, placed: FloatArray) -> BoolArray:
    """Triangles [F] whose normals point the other way than on the template."""
    before = triangle_normals(template.vertices, template.triangles)
    after = triangle_normals(placed, template.triangles)
    turned: BoolArray = (before * after).sum(axis=1) < 0
    return turned


def _deformed(
    template: Template,
    placed: FloatArray,
    target: Surface,
    matches: tuple[Matches, Matches],
    stage: Stage,
    energy: sparse.csr_array,
) -> FloatArray:
    """The best displacement for the closest points of ``placed``."""
    start = template.vertices
    normals = unit_vertex_normals(placed, template.triangles)
    found, distance, facing = target.closest(placed, normals, LEAST_COSINE, template.lips)
    near = distance < FARTHEST
    trust = np.where(near, template.trust / (1 + (np.where(near, distance, 0) / ROBUST) ** 2), 0.0)
    trust = trust * stage.surface / SURFACE_SIGMA**2
    lines, landmarks = matches
    shared = energy / stage.sigma**2
    across = lines.blocks() / LINE_SIGMA**2
    pull = lines.maps.T @ np.einsum("mij,mj->mi", across, lines.places - lines.maps @ start)
    if stage.landmarks > 0:
        weight = stage.landmarks / LANDMARK_SIGMA**2
        shared = shared + weight * (landmarks.maps.T @ landmarks.maps)
        pull = pull + weight * (landmarks.maps.T @ (landmarks.places - landmarks.maps @ start))
    # point to plane, with a little of point to point: a 3 x 3 block for each vertex
    blocks = trust[:, None, None] * (facing[:, :, None] * facing[:, None] + POINT_SHARE * np.eye(3))
    gap = found.of(target.vertices) - start
    pull = pull + np.einsum("nij,nj->ni", blocks, gap)
    rows = [
        [
            sparse.diags_array(blocks[:, i, j])
            + lines.maps.T @ sparse.diags_array(across[:, i, j]) @ lines.maps
            + (shared if i == j else 0 * shared)
            for j in range(3)
        ]
        for i in range(3)
    ]
    moved = _factorised(sparse.block_array(rows)).solve(pull.T.ravel())
    deformed: FloatArray = start + moved.reshape(3, -1).T
    return deformed


def _factorised(matrix: sparse.csr_array) -> SuperLU:
    """Of a symmetric positive definite matrix: a third of the time of one that knows nothing of it."""
    options = {"SymmetricMode": True}
    return splu(sparse.csc_matrix(matrix), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)


def _unfolded(template: Template, placed: FloatArray, energy: sparse.csr_array) -> FloatArray:
    """Smooth the displacement around triangles that are turned over, ring by ring, until none is.

    Raises ValueError where that does not help: the template then does not fit.
    """
    placed = placed.copy()
    adjacency = _adjacency(template.triangles, len(placed))
    loose = np.zeros(len(placed), bool)
    for _ in range(10):
        turned = turned_over(template, placed)
        if not turned.any():
            return placed
        loose[template.triangles[turned]] = True
        loose |= (adjacency @ loose) > 0
        if template.mirror is not None:
            loose |= loose[template.mirror]
        free, held = np.flatnonzero(loose), np.flatnonzero(~loose)
        displacement = placed - template.vertices
        inner = _factorised(energy[free][:, free])
        displacement[free] = inner.solve(-(energy[free][:, held] @ displacement[held]))
        placed = template.vertices + displacement
    raise ValueError(f"{int(turned.sum())} triangles stay turned over: the template does not fit the target")


def _adjacency(triangles: IntArray, count: int) -> sparse.csr_array:
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = np.concatenate([edges, edges[:, ::-1]])
    return sparse.csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
