"""The binary chunk of a glTF file while it is built: bufferViews, accessors and sparse vectors.

Specification: Khronos glTF 2.0, section 3.6. Every bufferView starts at a multiple of four bytes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Json = dict[str, Any]

UINT8: Final = 5121
UINT16: Final = 5123
UINT32: Final = 5125
FLOAT32: Final = 5126
#: bufferView.target
VERTICES: Final = 34962
INDICES: Final = 34963


class BufferBuilder:
    """Collects bufferViews and accessors of the only buffer of a GLB."""

    def __init__(self) -> None:
        self.views: list[Json] = []
        self.accessors: list[Json] = []
        self._chunks: list[bytes] = []
        self._length = 0

    def content(self) -> bytes:
        """The bytes of all views added so far, each padded to a multiple of four."""
        return b"".join(self._chunks)

    def add_view(self, content: bytes, target: int | None = None, stride: int | None = None) -> int:
        """Appends a bufferView with its bytes; ``stride`` is needed where accessors of vertices share it."""
        view = self.reserve_view(len(content), target, stride)
        self._chunks.append(content + bytes(-len(content) % 4))
        return view

    def reserve_view(self, length: int, target: int | None = None, stride: int | None = None) -> int:
        """Appends a bufferView whose bytes are written later, behind those of `content`."""
        view: Json = {"buffer": 0, "byteOffset": self._length, "byteLength": length}
        if target is not None:
            view["target"] = target
        if stride is not None:
            view["byteStride"] = stride
        self.views.append(view)
        self._length += length + -length % 4
        return len(self.views) - 1

    def accessor(self, view: int | None, offset: int, component: int, kind: str, count: int) -> int:
        """Appends an accessor; without a view its values are zero but for what a sparse part says."""
        accessor: Json = {"componentType": component, "count": count, "type": kind}
        if view is not None:
            accessor = {"bufferView": view, "byteOffset": offset, **accessor}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


class SparseVectors:
    """Sparse displacements of positions and normals; all share a bufferView of indices and one of values."""

    def __init__(self, buffer: BufferBuilder) -> None:
        self._buffer = buffer
        self._indices: list[bytes] = []
        self._values: list[bytes] = []
        self._index_bytes = 0
        self._value_bytes = 0
        self._pending: list[Json] = []

    def add(
        self,
        count: int,
        moved: npt.NDArray[np.intp],
        positions: npt.NDArray[np.float32],
        normals: npt.NDArray[np.float32],
    ) -> tuple[int, int]:
        """Accessors of positions and normals f32 [count, 3] that are zero but at ``moved`` [N].

        ``positions`` and ``normals`` [N, 3] are the values there; the two accessors share their indices.
        """
        bounds = (
            positions if len(moved) == count else np.append(positions, np.zeros((1, 3), np.float32), axis=0)
        )
        position = self._buffer.accessor(None, 0, FLOAT32, "VEC3", count)
        self._buffer.accessors[position]["min"] = bounds.min(axis=0).tolist()
        self._buffer.accessors[position]["max"] = bounds.max(axis=0).tolist()
        normal = self._buffer.accessor(None, 0, FLOAT32, "VEC3", count)
        if len(moved) == 0:
            return position, normal
        wide = count > 0xFFFF
        index = moved.astype("<u4" if wide else "<u2").tobytes()
        index += bytes(-len(index) % 4)
        for accessor, values in ((position, positions), (normal, normals)):
            sparse: Json = {
                "count": len(moved),
                "indices": {
                    "byteOffset": self._index_bytes,
                    "componentType": UINT32 if wide else UINT16,
                },
                "values": {"byteOffset": self._value_bytes},
            }
            self._buffer.accessors[accessor]["sparse"] = sparse
            self._pending.append(sparse)
            content = np.ascontiguousarray(values, "<f4").tobytes()
            self._values.append(content)
            self._value_bytes += len(content)
        self._indices.append(index)
        self._index_bytes += len(index)
        return position, normal

    def finish(self) -> None:
        """Adds the two bufferViews once all displacements are known."""
        if not self._pending:
            return
        index_view = self._buffer.add_view(b"".join(self._indices))
        value_view = self._buffer.add_view(b"".join(self._values))
        for sparse in self._pending:
            sparse["indices"]["bufferView"] = index_view
            sparse["values"]["bufferView"] = value_view
