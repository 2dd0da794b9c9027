"""The parametric head: identity and expression shapes, joints and skinning, landmarks and regions.

A ``HeadModel`` is read from the head model file of CONVENTIONS.md. All of it is in head space (metres,
right-handed, +X to the subject's left, +Y up, +Z out of the face).
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from facewright.core.arrays import Floats
from facewright.core.errors import FacewrightError
from facewright_client.contract import EXPRESSION_SIZE, IDENTITY_SIZE, LANDMARKS_COUNT, ErrorCode

IntArray = npt.NDArray[np.int32]
ByteArray = npt.NDArray[np.uint8]
StrArray = npt.NDArray[np.str_]

FORMAT_VERSION: Final = 2
#: No lining of an eye socket is farther than this from the iris, metres.
EYE_SOCKET: Final = 0.035

#: Key → dtype kind and shape; letters are sizes that must agree across keys, numbers are exact.
_LAYOUT: Final[dict[str, tuple[str, tuple[str | int, ...]]]] = {
    "metadata": ("U", ()),
    "vertices_mean": ("f4", ("V", 3)),
    "vertices_canonical": ("f4", ("V", 3)),
    "identity_basis": ("f4", (IDENTITY_SIZE, "V", 3)),
    "expression_names": ("U", (EXPRESSION_SIZE,)),
    "expression_basis": ("f4", (EXPRESSION_SIZE, "V", 3)),
    "triangles": ("i4", ("F", 3)),
    "part_names": ("U", ("P",)),
    "triangle_part": ("u1", ("F",)),
    "uv": ("f4", ("T", 2)),
    "uv_vertex": ("i4", ("T",)),
    "uv_triangles": ("i4", ("F", 3)),
    "lod1_uv_triangles": ("i4", ("F1", 3)),
    "lod2_uv_triangles": ("i4", ("F2", 3)),
    "lod1_part": ("u1", ("F1",)),
    "lod2_part": ("u1", ("F2",)),
    "joint_names": ("U", ("J",)),
    "joint_parents": ("i4", ("J",)),
    "joint_regressor": ("f4", ("J", "V")),
    "skin_weights": ("f4", ("V", "J")),
    "landmark_triangles": ("i4", (LANDMARKS_COUNT,)),
    "landmark_barycentrics": ("f4", (LANDMARKS_COUNT, 3)),
    "landmark_sigma": ("f4", (LANDMARKS_COUNT,)),
    "contour_landmarks": ("i4", ("C",)),
    "contour_candidates": ("i4", ("C", "K")),
    "mirror_vertex": ("i4", ("V",)),
    "region_names": ("U", ("R",)),
    "region_weights": ("f4", ("R", "V")),
    "iris_centre": ("f4", (2, 3)),
    "iris_radius": ("f4", (2,)),
}
#: Index arrays and the size that bounds them from above; −1 is allowed where the flag says so.
_INDEX_BOUNDS: Final[dict[str, tuple[str, bool]]] = {
    "triangles": ("V", False),
    "triangle_part": ("P", False),
    "uv_vertex": ("V", False),
    "uv_triangles": ("T", False),
    "lod1_uv_triangles": ("T", False),
    "lod2_uv_triangles": ("T", False),
    "lod1_part": ("P", False),
    "lod2_part": ("P", False),
    "joint_parents": ("J", True),
    "landmark_triangles": ("F", False),
    "contour_landmarks": (str(LANDMARKS_COUNT), False),
    "contour_candidates": ("V", False),
    "mirror_vertex": ("V", False),
}


@dataclass(frozen=True, eq=False)
class HeadModel:
    """A parametric head; the arrays are those of the head model file (CONVENTIONS.md) and are read-only."""

    metadata: dict[str, Any]
    vertices_mean: Floats
    vertices_canonical: Floats
    identity_basis: Floats
    expression_names: StrArray
    expression_basis: Floats
    triangles: IntArray
    part_names: StrArray
    triangle_part: ByteArray
    uv: Floats
    uv_vertex: IntArray
    uv_triangles: IntArray
    lod1_uv_triangles: IntArray
    lod2_uv_triangles: IntArray
    lod1_part: ByteArray
    lod2_part: ByteArray
    joint_names: StrArray
    joint_parents: IntArray
    joint_regressor: Floats
    skin_weights: Floats
    landmark_triangles: IntArray
    landmark_barycentrics: Floats
    landmark_sigma: Floats
    contour_landmarks: IntArray
    contour_candidates: IntArray
    mirror_vertex: IntArray
    region_names: StrArray
    region_weights: Floats
    iris_centre: Floats
    iris_radius: Floats

    @classmethod
    def load(cls, path: Path | str) -> HeadModel:
        """Read a head model file.

        Raises FacewrightError (``INTERNAL``) when the file cannot be read, has another format version, lacks
        a key, or holds an array of another dtype or shape, an index out of range or a number that is not
        finite.
        """
        arrays = _read_arrays(Path(path))
        version = arrays.pop("format_version", None)
        if version is None or version.shape != () or int(version) != FORMAT_VERSION:
            shown = "none" if version is None else str(version)
            raise _broken(path, f"format version {shown}; this release reads version {FORMAT_VERSION}")
        _check(arrays, path)
        for array in arrays.values():
            array.flags.writeable = False
        values: dict[str, Any] = {field.name: arrays[field.name] for field in fields(cls)}
        values["metadata"] = json.loads(str(arrays["metadata"]))
        return cls(**values)

    @property
    def vertex_count(self) -> int:
        """V, the number of vertices."""
        return len(self.vertices_mean)

    @property
    def vertex_uv(self) -> Floats:
        """f32 [V, 2], where each vertex reads UV maps: at its first UV vertex.

        Raises ValueError if a vertex has none.
        """
        with_uv, first = np.unique(self.uv_vertex, return_index=True)
        if len(with_uv) != self.vertex_count:
            raise ValueError(f"{self.vertex_count - len(with_uv)} vertices of the head have no UV")
        places: Floats = self.uv[first]
        return places

    def neutral(self, identity: npt.ArrayLike) -> Floats:
        """Vertices [V, 3] of the neutral head with ``identity`` coefficients [160] (N(0, 1) each).

        Raises ValueError if ``identity`` has another shape.
        """
        coefficients = _coefficients(identity, IDENTITY_SIZE, "identity")
        moved = coefficients @ self.identity_basis.reshape(IDENTITY_SIZE, -1)
        vertices: Floats = self.vertices_mean + moved.reshape(-1, 3)
        return vertices

    def shape(self, identity: npt.ArrayLike, expression: npt.ArrayLike) -> Floats:
        """Vertices [V, 3] with ``identity`` [160] and ``expression`` weights [52] (0–1 each, ARKit order).

        Raises ValueError if a coefficient vector has another shape.
        """
        weights = _coefficients(expression, EXPRESSION_SIZE, "expression")
        moved = weights @ self.expression_basis.reshape(EXPRESSION_SIZE, -1)
        vertices: Floats = self.neutral(identity) + moved.reshape(-1, 3)
        return vertices

    def joints(self, vertices: Floats) -> Floats:
        """Joint positions [J, 3] of neutral ``vertices`` [V, 3]."""
        positions: Floats = self.joint_regressor @ self._checked(vertices)
        return positions

    def skin(self, vertices: Floats, joints: Floats, rotations: Floats) -> Floats:
        """Linear blend skinning: ``vertices`` [V, 3] posed by joint ``rotations`` [J, 3, 3]; float32 [V, 3].

        A rotation turns what hangs on its joint about the joint's rest position ``joints`` [J, 3], relative
        to the parent joint; the identity leaves the head as it is. Raises ValueError on other shapes.
        """
        count = len(self.joint_names)
        if np.shape(joints) != (count, 3) or np.shape(rotations) != (count, 3, 3):
            raise ValueError(
                f"joints must have shape [{count}, 3] and rotations [{count}, 3, 3], "
                f"not {np.shape(joints)} and {np.shape(rotations)}"
            )
        # world transform of each joint as x → turn @ x + shift; parents come before their children
        turns = np.empty((count, 3, 3), np.float32)
        shifts = np.empty((count, 3), np.float32)
        for joint, parent in enumerate(self.joint_parents):
            local_shift = joints[joint] - rotations[joint] @ joints[joint]
            if parent < 0:
                turns[joint], shifts[joint] = rotations[joint], local_shift
            else:
                turns[joint] = turns[parent] @ rotations[joint]
                shifts[joint] = turns[parent] @ local_shift + shifts[parent]
        blended_turns = (self.skin_weights @ turns.reshape(count, 9)).reshape(-1, 3, 3)
        turned = np.matmul(blended_turns, self._checked(vertices)[:, :, None])[:, :, 0]
        posed: Floats = turned + self.skin_weights @ shifts
        return posed

    def landmarks(self, vertices: Floats) -> Floats:
        """The 478 landmarks [478, 3] of the landmark network on ``vertices`` [V, 3]."""
        corners = self._checked(vertices)[self.landmark_vertices]
        points: Floats = np.einsum("lk,lkc->lc", self.landmark_barycentrics, corners)
        return points

    @cached_property
    def landmark_vertices(self) -> IntArray:
        """The three vertices [478, 3] between which each landmark lies."""
        vertices: IntArray = self.triangles[self.landmark_triangles]
        return vertices

    @cached_property
    def outer_triangles(self) -> IntArray:
        """The triangles [N, 3] of the skin without what lines the mouth and the eye sockets."""
        skin = self.triangles[self.part_triangles("skin")]
        # near an eye, a vertex of no region of the outside lines its socket
        outside = ~np.isin(self.region_names, ("mouth_inside", "eyeballs"))
        nowhere = self.region_weights[outside].max(axis=0) == 0
        from_eyes = np.linalg.norm(self.vertices_mean[:, None] - self.iris_centre, axis=2).min(axis=1)
        lining = (self.region("mouth_inside") > 0) | (nowhere & (from_eyes < EYE_SOCKET))
        outer: IntArray = skin[~lining[skin].any(axis=1)]
        return outer

    def region(self, name: str) -> Floats:
        """Soft mask [V] (0–1) of a region; raises ValueError for a name that the head does not have."""
        found = np.flatnonzero(self.region_names == name)
        if not len(found):
            raise ValueError(f"no region {name!r}; this head has {', '.join(self.region_names)}")
        weights: Floats = self.region_weights[found[0]]
        return weights

    def part_triangles(self, name: str) -> IntArray:
        """Indices [N] of the triangles of a part; raises ValueError for a name the head does not have."""
        found = np.flatnonzero(self.part_names == name)
        if not len(found):
            raise ValueError(f"no part {name!r}; this head has {', '.join(self.part_names)}")
        return np.flatnonzero(self.triangle_part == found[0]).astype(np.int32)

    def _checked(self, vertices: Floats) -> Floats:
        if np.shape(vertices) != self.vertices_mean.shape:
            raise ValueError(f"vertices must have shape {self.vertices_mean.shape}, not {np.shape(vertices)}")
        return vertices


def _coefficients(values: npt.ArrayLike, size: int, name: str) -> Floats:
    coefficients = np.asarray(values, np.float32)
    if coefficients.shape != (size,):
        raise ValueError(f"{name} must have shape [{size}], not {coefficients.shape}")
    return coefficients


def _broken(path: Path | str, what: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.INTERNAL,
        f"head model {path}: {what}",
        "build the open assets again; CONVENTIONS.md describes the file",
    )


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        # opened here, because NumPy leaves a file open that turns out to be no archive
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            # one array at a time: the file is uncompressed, so this is one copy from the page cache
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise _broken(path, f"cannot be read ({error})") from error


def _check(arrays: dict[str, npt.NDArray[Any]], path: Path | str) -> None:
    """Raise unless every array of ``_LAYOUT`` is there with its dtype, agreeing sizes and valid contents."""
    sizes: dict[str, int] = {str(LANDMARKS_COUNT): LANDMARKS_COUNT}
    for key, (dtype, shape) in _LAYOUT.items():
        if key not in arrays:
            raise _broken(path, f"key {key} is missing")
        array = arrays[key]
        if (array.dtype.kind if dtype == "U" else array.dtype.str[1:]) != dtype:
            raise _broken(path, f"{key} has dtype {array.dtype}, expected {dtype}")
        expected = tuple(size if isinstance(size, int) else sizes.get(size, size) for size in shape)
        if array.ndim != len(shape) or any(
            isinstance(size, int) and size != actual
            for size, actual in zip(expected, array.shape, strict=True)
        ):
            raise _broken(path, f"{key} has shape {list(array.shape)}, expected {list(expected)}")
        sizes.update(
            {size: actual for size, actual in zip(shape, array.shape, strict=True) if isinstance(size, str)}
        )
        if dtype == "f4" and not np.isfinite(array).all():
            raise _broken(path, f"{key} holds numbers that are not finite")
    for key, (size, may_be_missing) in _INDEX_BOUNDS.items():
        array = arrays[key]
        if (
            array.size
            and not (-1 if may_be_missing else 0) <= int(array.min()) <= int(array.max()) < sizes[size]
        ):
            raise _broken(path, f"{key} has an index outside 0–{sizes[size] - 1}")
    if np.any(arrays["joint_parents"] >= np.arange(sizes["J"])):
        raise _broken(path, "joint_parents: a parent must come before its children")
    try:
        json.loads(str(arrays["metadata"]))
    except json.JSONDecodeError as error:
        raise _broken(path, f"metadata is not JSON ({error})") from error
