"""The binary chunk of a glTF file while it is built: bufferViews and accessors.

Specification: Khronos glTF 2.0, section 3.6. Every bufferView starts at a multiple of four bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

Json = dict[str, Any]
#: bufferView, and byteOffset in it.
Place = tuple[int, int]

UINT8: Final = 5121
UINT16: Final = 5123
UINT32: Final = 5125
FLOAT32: Final = 5126
#: bufferView.target
VERTICES: Final = 34962
INDICES: Final = 34963


class BufferBuilder:
    """Collects bufferViews and accessors of the only buffer of a GLB.

    Attributes:
        views: glTF's ``bufferViews``.
        accessors: glTF's ``accessors``.
        chunks: the buffer's bytes, in pieces, each view padded to a multiple of four.
        byte_length: of the buffer, without the padding behind its last view.
    """

    def __init__(self) -> None:
        self.views: list[Json] = []
        self.accessors: list[Json] = []
        self.chunks: list[bytes] = []
        self.byte_length = 0

    def add_view(self, content: bytes, target: int | None = None, stride: int | None = None) -> int:
        """Appends a bufferView with its bytes; its index."""
        return self.add_shared_view([content], target, stride)[0][0]

    def add_shared_view(
        self, contents: Sequence[bytes], target: int | None = None, stride: int | None = None
    ) -> list[Place]:
        """Appends one bufferView of all contents, one after the other; where each of them begins.

        ``stride`` is needed where accessors of vertices share the view. Where all contents are empty, nothing
        is appended.
        """
        length = sum(map(len, contents))
        view = len(self.views)
        if length:
            start = self.byte_length + -self.byte_length % 4
            described: Json = {"buffer": 0, "byteOffset": start, "byteLength": length}
            if target is not None:
                described["target"] = target
            if stride is not None:
                described["byteStride"] = stride
            self.views.append(described)
            self.chunks += [*contents, bytes(-length % 4)]
            self.byte_length = start + length
        return [(view, offset) for offset in accumulate(map(len, contents[:-1]), initial=0)]

    def add_accessor(self, place: Place, component: int, kind: str, count: int) -> int:
        """Appends an accessor of the values at ``place``; its index."""
        view, offset = place
        self.accessors.append(
            {
                "bufferView": view,
                "byteOffset": offset,
                "componentType": component,
                "count": count,
                "type": kind,
            }
        )
        return len(self.accessors) - 1
