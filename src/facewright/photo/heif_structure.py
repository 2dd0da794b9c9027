"""The header of AVIF and HEIC files, read before a decoder sees them.

Decoders of these formats are large, and a file of a few kilobytes can ask them for any number of tiles,
layers and copies of its metadata. What cameras and editors write is one coded picture, or a grid of coded
tiles; only that passes.

Sources: ISO/IEC 14496-12 (boxes; 8.11 for items), ISO/IEC 23008-12 (6.5 for properties, 6.6.2.3 for grids).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from facewright.core.errors import FacewrightError
from facewright.photo.av1_sequence import Av1Error, largest_frame
from facewright_client.contract import ErrorCode

#: Items of a file: 48 megapixels of a phone are 192 tiles, and its gain map 48 more.
MAX_ITEMS: Final = 1024
#: Pictures in their own right: a burst, or a phone's photo and what belongs to it.
MAX_PICTURES: Final = 64
#: Bytes of Exif and XMP: they are copied for each picture.
MAX_METADATA: Final = 1024 * 1024
_MAX_BOXES: Final = 4096
_CODED: Final = (b"hvc1", b"hev1", b"av01")
_METADATA: Final = (b"Exif", b"mime", b"uri ")
_ALPHA: Final = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")


class _BadStructureError(Exception):
    """The header is not what the standards say."""


@dataclass(frozen=True)
class HeifHeader:
    """What is known before decoding.

    Args:
        width, height: before any rotation, pixels.
        nclx: colour primaries and transfer characteristics (ITU-T H.273); None where not given.
    """

    width: int
    height: int
    nclx: tuple[int, int] | None


@dataclass
class _Items:
    """What the ``meta`` box says of the file's items."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    extents: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # place in the file, length
    references: list[tuple[bytes, int, tuple[int, ...]]] = field(default_factory=list)
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    associations: dict[int, list[int]] = field(default_factory=dict)

    def property(self, item: int, kind: bytes, start: bytes = b"") -> bytes | None:
        """The content of an item's first property of a kind that begins with ``start``."""
        for index in self.associations.get(item, ()):
            if 1 <= index <= len(self.properties):
                found, content = self.properties[index - 1]
                if found == kind and content.startswith(start):
                    return content
        return None

    def size(self, item: int) -> tuple[int, int]:
        """``ispe``: width and height, pixels."""
        width, height = struct.unpack_from(">II", self.property(item, b"ispe") or b"", 4)
        return width, height

    def of_reference(self, kind: bytes, source: int) -> tuple[int, ...]:
        """What an item refers to."""
        return tuple(
            to
            for found, item, targets in self.references
            if (found, item) == (kind, source)
            for to in targets
        )

    def alphas(self) -> list[int]:
        """Auxiliary pictures that are the transparency of the primary one."""
        return [
            item
            for kind, item, targets in self.references
            if kind == b"auxl"
            and self.primary in targets
            and (self.property(item, b"auxC") or b"")[4:].startswith(_ALPHA)
        ]


def read_heif_header(photo: bytes, max_pixels: int) -> HeifHeader:
    """Read and check the header of an AVIF or HEIC file.

    Args:
        photo: the file.
        max_pixels: the most that the tiles of its picture may have together; they may hang over its border,
            so the caller allows for more than in the picture itself.

    Raises:
        FacewrightError: BAD_PHOTO when the header is damaged, or made of more or of other parts than cameras
            and editors write.
    """
    try:
        items = _read_items(photo)
        width, height = items.size(items.primary)
        _check(photo, items, max_pixels)
    except (_BadStructureError, Av1Error, struct.error, IndexError) as error:
        raise FacewrightError(
            ErrorCode.BAD_PHOTO,
            f"the photo ({len(photo)} bytes) is damaged: its header is unreadable",
            "send the whole file, or open it in an image editor and save it anew",
        ) from error
    nclx = items.property(items.primary, b"colr", b"nclx")
    return HeifHeader(width, height, struct.unpack_from(">HH", nclx, 4) if nclx else None)


def _check(photo: bytes, items: _Items, max_pixels: int) -> None:
    if len(items.kinds) > MAX_ITEMS:
        raise _refusal(photo, f"{len(items.kinds)} parts, more than {MAX_ITEMS}")
    tiles = {to for kind, _, targets in items.references if kind == b"dimg" for to in targets}
    shown = [
        item
        for item, kind in items.kinds.items()
        if kind not in _METADATA and item not in items.hidden and item not in tiles
    ]
    if len(shown) > MAX_PICTURES:
        raise _refusal(photo, f"{len(shown)} pictures, more than {MAX_PICTURES}")
    metadata = sum(
        length
        for item, kind in items.kinds.items()
        if kind in _METADATA
        for _, length in items.extents.get(item, ())
    )
    if metadata > MAX_METADATA:
        raise _refusal(photo, f"{metadata} bytes of metadata, more than {MAX_METADATA}")
    for item in (items.primary, *items.alphas()):
        _check_picture(photo, items, item, max_pixels)


def _check_picture(photo: bytes, items: _Items, item: int, max_pixels: int) -> None:
    """One coded picture, or a grid of them."""
    kind = items.kinds.get(item)
    if kind == b"grid":
        grid = _content(photo, items, item)
        columns_and_rows = (grid[2] + 1) * (grid[3] + 1)
        if struct.unpack_from(">II" if grid[1] & 1 else ">HH", grid, 4) != items.size(item):
            raise _BadStructureError
        parts = items.of_reference(b"dimg", item)
        if len(parts) != columns_and_rows:
            raise _BadStructureError
    else:
        parts = (item,)
    for part in set(parts):
        if items.kinds.get(part) not in _CODED:
            name = items.kinds.get(part, b"?").decode("ascii", "replace")
            raise _refusal(photo, f"a part of kind {name}, which is not read")
    # libheif refuses a coded picture larger than its item says; libavif scales it down.
    pixels = sum(
        largest_frame(_content(photo, items, part))
        if items.kinds[part] == b"av01"
        else math.prod(items.size(part))
        for part in parts
    )
    if pixels > max_pixels:
        raise _refusal(photo, f"tiles of {pixels} pixels together")


def _content(photo: bytes, items: _Items, item: int) -> bytes:
    return b"".join(photo[place : place + length] for place, length in items.extents.get(item, ()))


def _read_items(photo: bytes) -> _Items:
    items = _Items()
    meta = next((place for kind, *place in _boxes(photo, 0, len(photo)) if kind == b"meta"), None)
    if meta is None:
        raise _BadStructureError
    inside = {kind: (start, end) for kind, start, end in _boxes(photo, meta[0] + 4, meta[1])}
    if b"pitm" not in inside or b"iinf" not in inside or b"iprp" not in inside:
        raise _BadStructureError
    start, _ = inside[b"pitm"]
    items.primary = _number(photo, start + 4, 4 if photo[start] else 2)
    _read_infos(photo, *inside[b"iinf"], items)
    if b"iref" in inside:
        _read_references(photo, *inside[b"iref"], items)
    if b"iloc" in inside:
        _read_locations(photo, inside[b"iloc"][0], inside.get(b"idat", (0, 0))[0], items)
    for kind, start, end in _boxes(photo, *inside[b"iprp"]):
        if kind == b"ipco":
            items.properties = [(name, photo[low:high]) for name, low, high in _boxes(photo, start, end)]
        elif kind == b"ipma":
            _read_associations(photo, start, items)
    return items


def _boxes(photo: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of the content of each box."""
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        size, header = _number(photo, start, 4), 8
        if size == 1:
            size, header = _number(photo, start + 8, 8), 16
        stop = end if size == 0 else start + size
        if stop > end or stop < start + header:
            raise _BadStructureError
        yield photo[start + 4 : start + 8], start + header, stop
        start = stop
    raise _BadStructureError


def _read_infos(photo: bytes, start: int, end: int, items: _Items) -> None:
    entries = start + (8 if photo[start] else 6)
    for kind, low, _ in _boxes(photo, entries, end):
        version = photo[low]
        if kind != b"infe" or version < 2:
            continue
        width = 2 if version == 2 else 4
        item = _number(photo, low + 4, width)
        items.kinds[item] = photo[low + 6 + width : low + 10 + width]
        if photo[low + 3] & 1:
            items.hidden.add(item)


def _read_references(photo: bytes, start: int, end: int, items: _Items) -> None:
    width = 4 if photo[start] else 2
    for kind, low, _ in _boxes(photo, start + 4, end):
        source, count = _number(photo, low, width), _number(photo, low + width, 2)
        first = low + width + 2
        targets = tuple(_number(photo, first + width * n, width) for n in range(count))
        items.references.append((kind, source, targets))


def _read_locations(photo: bytes, start: int, idat: int, items: _Items) -> None:
    version, sizes = photo[start], _number(photo, start + 4, 2)
    offset_size, length_size, base_size, index_size = (
        sizes >> 12,
        sizes >> 8 & 15,
        sizes >> 4 & 15,
        sizes & 15,
    )
    wide = 4 if version == 2 else 2
    count, place = _number(photo, start + 6, wide), start + 6 + wide
    for _ in range(min(count, 2 * MAX_ITEMS)):
        item, place = _number(photo, place, wide), place + wide
        method = 0
        if version:
            method, place = _number(photo, place, 2) & 15, place + 2
        base, place = _number(photo, place + 2, base_size), place + 2 + base_size
        extents, place = _number(photo, place, 2), place + 2
        found = items.extents.setdefault(item, [])
        for _ in range(extents):
            place += index_size if version else 0
            offset, place = _number(photo, place, offset_size), place + offset_size
            length, place = _number(photo, place, length_size), place + length_size
            found.append((base + offset + (idat if method == 1 else 0), length))


def _read_associations(photo: bytes, start: int, items: _Items) -> None:
    wide, large = 4 if photo[start] else 2, photo[start + 3] & 1
    count, place = _number(photo, start + 4, 4), start + 8
    for _ in range(min(count, 2 * MAX_ITEMS)):
        item, place = _number(photo, place, wide), place + wide
        each, place = photo[place], place + 1
        found = items.associations.setdefault(item, [])
        for _ in range(each):
            # The first bit says that the property is essential.
            found.append(_number(photo, place, 2) & 0x7FFF if large else photo[place] & 0x7F)
            place += 2 if large else 1


def _number(photo: bytes, place: int, size: int) -> int:
    if place + size > len(photo):
        raise _BadStructureError
    return int.from_bytes(photo[place : place + size], "big")


def _refusal(photo: bytes, excess: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.BAD_PHOTO,
        f"the photo ({len(photo)} bytes) has {excess}",
        "open it in an image editor and save it anew, or send a JPEG",
    )
