"""Poisson completion on the head's surface: what is known spreads smoothly over what is not.

The membrane of Pérez et al. 2003, "Poisson image editing" (eqs 7–9: the difference between foreground and
background, interpolated harmonically), solved over the welded mesh instead of over texels. Its UV cuts do
not exist on the surface, so the two sides of a seam agree by construction, and one solve has thousands of
unknowns instead of a million.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from facewright.core.arrays import Floats


class SurfaceDiffusion:
    """Screened Poisson equation on a triangle mesh.

    Minimises Σ_v w_v |x_v − y_v|² + Σ_edges k_e |x_i − x_j|² + ε Σ_v |x_v|², with k_e a clamped
    cotangent-like weight (1 / edge length, normalised to mean 1): a mesh that is denser on the face still
    diffuses evenly.

    Args:
        triangles: i32 ``[F, 3]``, welded.
        vertices: f32 ``[V, 3]``, any unit.
    """

    def __init__(self, triangles: NDArray[np.int32], vertices: Floats) -> None:
        count = len(vertices)
        edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        edges = np.unique(edges, axis=0)
        length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
        strength = 1.0 / np.maximum(length, 0.25 * np.median(length))
        strength /= strength.mean()
        i, j = edges[:, 0], edges[:, 1]
        adjacency = sparse.coo_matrix((strength, (i, j)), shape=(count, count))
        adjacency = (adjacency + adjacency.T).tocsr().astype(np.float32)
        counts = np.bincount(edges.ravel(), minlength=count)
        lengths = np.bincount(edges.ravel(), np.repeat(length, 2), minlength=count)
        #: Mean length of the edges at each vertex, f32 ``[V]``, in the vertices' unit; 0 at a lone vertex.
        self.edge_length: Floats = (lengths / np.maximum(counts, 1)).astype(np.float32)
        self._degree: Floats = np.asarray(adjacency.sum(axis=1), np.float32).ravel()
        self._adjacency = adjacency
        self._rows = np.repeat(np.arange(count), np.diff(adjacency.indptr))

    def complete(
        self,
        known: NDArray[np.floating],
        weights: NDArray[np.floating],
        screening: float = 1e-4,
        iterations: int = 80,
    ) -> Floats:
        """Harmonic completion of ``known`` ``[V, C]`` where ``weights`` ``[V]`` ≥ 0 vanish.

        Args:
            known: values to keep; ignored where the weight is 0 (NaN is not allowed even there).
            weights: confidence relative to one mesh edge; about 10 pins a vertex.
            screening: pull to zero far from anything known.
            iterations: at most this many steps of Jacobi-preconditioned conjugate gradients; stops at a
                relative residual of 0.003.

        Returns:
            f32 ``[V, C]``.
        """
        # One row per channel, and unknowns scaled by the root of the diagonal: the same steps as with a
        # Jacobi preconditioner, in fewer passes over memory.
        weight = weights.astype(np.float32)
        values = np.ascontiguousarray(known.T, np.float32)
        scale = 1.0 / np.sqrt(self._degree + weight + np.float32(screening))
        scaled = self._adjacency.copy()
        scaled.data *= scale[self._rows]
        scaled.data *= scale[scaled.indices]
        right = weight * values
        # Start from the weighted mean: unknown regions are far from any data, and it is the best constant.
        mean = right.sum(axis=1, keepdims=True) / np.maximum(weight.sum(), 1e-9)
        start = np.where(weight > 0.5, values, mean)
        solved = _conjugate_gradients(scaled, right * scale, start / scale, scale, iterations)
        return np.ascontiguousarray((solved * scale).T)

    def smooth(self, values: Floats, weights: Floats, rounds: int) -> Floats:
        """``rounds`` steps of weighted averaging over neighbours of ``[V, C]``; weight 0 does not
        contribute."""
        weight = weights.astype(np.float32)[:, None]
        mass = weight.copy()
        total = values * weight
        for _ in range(rounds):
            total = 0.5 * total + 0.5 * (self._adjacency @ total) / self._degree[:, None].clip(1e-9)
            mass = 0.5 * mass + 0.5 * (self._adjacency @ mass) / self._degree[:, None].clip(1e-9)
        result: Floats = (total / np.maximum(mass, 1e-6)).astype(np.float32)
        return result


def _conjugate_gradients(
    scaled: sparse.csr_matrix, right: Floats, x: Floats, scale: Floats, iterations: int
) -> Floats:
    """Solves (1 − ``scaled``) x = ``right`` for each row of f32 ``[C, V]`` from a first guess, to a relative
    residual of 0.003 in the unknowns before they were divided by ``scale``."""
    square = np.ascontiguousarray(1.0 / scale**2)
    target = 1e-5 * np.maximum((right * right) @ square, 1e-12)
    residual = right - x + _each(scaled, x)
    direction = residual.copy()
    energy = _dot(residual, residual)
    for _ in range(iterations):
        if bool(((residual * residual) @ square <= target).all()):
            break
        product = direction - _each(scaled, direction)
        step = energy / np.maximum(_dot(direction, product), 1e-20)
        x += step[:, None] * direction
        residual -= step[:, None] * product
        following = _dot(residual, residual)
        direction *= (following / np.maximum(energy, 1e-20))[:, None]
        direction += residual
        energy = following
    return x


def _each(matrix: sparse.csr_matrix, rows: Floats) -> Floats:
    """The matrix times each row of f32 ``[C, V]``."""
    result: Floats = np.stack([matrix @ row for row in rows])
    return result


def _dot(first: Floats, second: Floats) -> Floats:
    """Inner product of each row, f32 ``[C]``."""
    result: Floats = np.array([a @ b for a, b in zip(first, second, strict=True)])
    return result
