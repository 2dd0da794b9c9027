"""Where each vertex of the open head lies on another model's head: ``<model>_to_open.npz``.

The file is built on the owner's machine (``facewright export correspondence``), holds nothing that a server
sends on, and fits one open head. The open head's own correspondence is the identity and needs no file.

===============================  ====================  =======================================================
key                              dtype, shape          meaning
===============================  ====================  =======================================================
``format_version``               int64 ``[]``          1
``metadata``                     str ``[]``            JSON: ``source`` (its name), ``source_files`` (name and
                                                       sha256 of each), ``head_sha256``, ``source_vertices``,
                                                       ``residual_mm``, ``versions``
``corners``                      i32 ``[V,3]``         vertices of the source's triangle
``barycentrics``                 f32 ``[V,3]``
``offset``                       f32 ``[V,3]``         in the triangle's frame (`triangle_frames`), the
                                                       source's unit
``confidence``                   f32 ``[V]``           0 where the source has no surface, 1 where it is known
``source_uv``                    f32 ``[T,2]``         of each UV vertex; glTF's convention; zeros where there
                                                       is no surface; ``[0,2]`` for a source without UV
``source_to_head``               f32 ``[3,3]``         rotation times metres per unit
``arkit_from_source``            f32 ``[52,K]``        expression coefficients by least squares, either way; K
``source_from_arkit``            f32 ``[K,52]``        is 0 for a source without expressions
===============================  ====================  =======================================================
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from facewright.core.arrays import Floats
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright_client.contract import EXPRESSION_SIZE, ErrorCode

FORMAT_VERSION: Final = 1
#: What follows the source's name in the file's.
SUFFIX: Final = "_to_open.npz"
BUILD_COMMAND: Final = "facewright export correspondence --weights FILE …"

_LAYOUT: Final[dict[str, tuple[str, tuple[str | int, ...]]]] = {
    "corners": ("i4", ("V", 3)),
    "barycentrics": ("f4", ("V", 3)),
    "offset": ("f4", ("V", 3)),
    "confidence": ("f4", ("V",)),
    "source_uv": ("f4", ("T", 2)),
    "source_to_head": ("f4", (3, 3)),
    "arkit_from_source": ("f4", (EXPRESSION_SIZE, "K")),
    "source_from_arkit": ("f4", ("K", EXPRESSION_SIZE)),
}


@dataclass(frozen=True, eq=False)
class HeadCorrespondence:
    """The arrays of the file; see the module."""

    metadata: Mapping[str, Any]
    corners: npt.NDArray[np.int32]
    barycentrics: Floats
    offset: Floats
    confidence: Floats
    source_uv: Floats
    source_to_head: Floats
    arkit_from_source: Floats
    source_from_arkit: Floats

    @classmethod
    def identity(cls, head: HeadModel) -> HeadCorrespondence:
        """That of networks which give the open head's own vertices."""
        count = head.vertex_count
        own = np.eye(EXPRESSION_SIZE, dtype=np.float32)
        return cls(
            {"source": "open", "source_vertices": count},
            np.tile(np.arange(count, dtype=np.int32)[:, None], 3),
            np.tile(np.array([1, 0, 0], np.float32), (count, 1)),
            np.zeros((count, 3), np.float32),
            np.ones(count, np.float32),
            head.uv,
            np.eye(3, dtype=np.float32),
            own,
            own,
        )

    @classmethod
    def load(cls, path: Path, head_file: Path) -> HeadCorrespondence:
        """Read a file for the open head that ``head_file`` holds.

        Raises:
            FacewrightError: ENGINE_MISMATCH when it is for another open head; INTERNAL when it cannot be
                read, or holds what no such file does.
        """
        arrays = _read(path)
        version = arrays.pop("format_version", None)
        if version is None or version.shape != () or int(version) != FORMAT_VERSION:
            raise _broken(path, f"has format version {version}; this release reads {FORMAT_VERSION}")
        try:
            metadata = json.loads(str(arrays.pop("metadata")))
            count, head_sha256 = int(metadata["source_vertices"]), str(metadata["head_sha256"])
        except (KeyError, ValueError, TypeError) as error:
            raise _broken(path, f"has no metadata of a correspondence ({error!r})") from error
        if head_sha256 != file_sha256(head_file):
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"{path.name} was built for another open head ({head_sha256[:12]}…) than {head_file}",
                f"build it again: {BUILD_COMMAND}",
            )
        _check(arrays, path, count)
        return cls(metadata, **{field.name: arrays[field.name] for field in fields(cls)[1:]})

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What the file holds, in order."""
        return {
            "format_version": np.array(FORMAT_VERSION, np.int64),
            "metadata": np.array(json.dumps(dict(self.metadata), sort_keys=True)),
            **{name: getattr(self, name) for name in _LAYOUT},
        }

    @property
    def source(self) -> str:
        """The source's name."""
        return str(self.metadata["source"])

    @property
    def source_count(self) -> int:
        """N, the number of the source's vertices."""
        return int(self.metadata["source_vertices"])

    def carried(self, source: npt.NDArray[np.floating]) -> Floats:
        """The open head's vertices on those of a source: f32 [V, 3], metres, along the axes of head space but
        about the source's origin. Where the confidence is 0 they mean nothing.

        Args:
            source: [N, 3], the source's unit and frame.

        Raises:
            FacewrightError: ENGINE_MISMATCH when they are not N vertices; INTERNAL when they are not finite.
        """
        if np.shape(source) != (self.source_count, 3):
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"the source has vertices {list(np.shape(source))}; "
                f"the correspondence of {self.source} is of [{self.source_count}, 3]",
                f"build the correspondence of the model that is served: {BUILD_COMMAND}",
            )
        if not np.isfinite(source).all():
            raise FacewrightError(
                ErrorCode.INTERNAL,
                f"the vertices of {self.source} hold numbers that are not finite",
                "the step before has a defect, or its network's weights are damaged",
            )
        corners = np.asarray(source, np.float32)[self.corners]  # [V, 3, 3]
        points = np.einsum("vk,vkc->vc", self.barycentrics, corners)
        known = self._offset_rows
        frames = triangle_frames(corners[known])
        points[known] += np.einsum("vkc,vk->vc", frames, self.offset[known])
        carried: Floats = points @ self.source_to_head.T
        return carried

    @cached_property
    def _offset_rows(self) -> npt.NDArray[np.int64]:
        return np.flatnonzero(np.abs(self.offset).any(axis=1))


def triangle_frames(corners: npt.NDArray[np.floating]) -> Floats:
    """The frames f32 [N, 3, 3] of triangles ``corners`` [N, 3, 3]: rows are the first side's direction, the
    normal's cross product with it, and the normal. A rotation of the triangles rotates them.
    """
    first = corners[:, 1] - corners[:, 0]
    normal = np.cross(first, corners[:, 2] - corners[:, 0])
    along, up = (
        side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-20) for side in (first, normal)
    )
    frames: Floats = np.stack([along, np.cross(up, along), up], axis=1).astype(np.float32)
    return frames


def file_sha256(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _broken(path: Path, what: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.INTERNAL, f"the correspondence {path} {what}", f"build it again: {BUILD_COMMAND}"
    )


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise _broken(path, f"cannot be read ({error})") from error


def _check(arrays: Mapping[str, npt.NDArray[Any]], path: Path, count: int) -> None:
    sizes: dict[str, int] = {}
    for key, (dtype, shape) in _LAYOUT.items():
        array = arrays.get(key)
        if array is None:
            raise _broken(path, f"has no {key}")
        fits = array.ndim == len(shape) and all(
            have == (size if isinstance(size, int) else sizes.setdefault(size, have))
            for size, have in zip(shape, array.shape, strict=True)
        )
        if array.dtype.str[1:] != dtype or not fits:
            raise _broken(path, f"has {key} {array.dtype} {list(array.shape)}, not {dtype} {list(shape)}")
        if dtype == "f4" and not np.isfinite(array).all():
            raise _broken(path, f"has {key} that is not finite")
    corners, confidence = arrays["corners"], arrays["confidence"]
    if corners.size and not 0 <= int(corners.min()) <= int(corners.max()) < count:
        raise _broken(path, f"has corners outside 0–{count - 1}")
    if confidence.size and not 0 <= float(confidence.min()) <= float(confidence.max()) <= 1:
        raise _broken(path, "has a confidence outside 0–1")
