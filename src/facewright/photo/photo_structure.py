"""Refuses files that are built to keep a decoder busy, and JPEGs and WebPs that were written in part,
before the decoder sees them.

Pillow reads a JPEG's markers byte by byte and a PNG's chunks one by one, in Python, and libjpeg passes over
all pixels for each scan: padding, empty segments or scans of 90 bytes would keep a core busy for seconds to
hours. No camera and no editor writes such files.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Final

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

#: Bytes in a JPEG's header that belong to no segment.
MAX_JPEG_JUNK: Final = 64 * 1024
#: Segments before a JPEG's pixels; a depth map in the metadata is split over some hundred of 64 KB.
MAX_JPEG_SEGMENTS: Final = 4096
MAX_JPEG_HEADER: Final = 16 * 1024 * 1024  # bytes before the pixels
#: Encoders write 10 for a progressive photo. Each costs 0.06 s on 60 megapixels, however short it is.
MAX_JPEG_SCANS: Final = 32
#: Chunks of a PNG. Encoders write 8 KB and more into each: 4096 in the largest photo.
MAX_PNG_CHUNKS: Final = 65536
#: Equal bytes at the end of a JPEG without an end-of-image marker, or of a WebP's codes: room that was
#: reserved and never written. Flat areas give runs of zeros in JPEGs too, but the marker follows them; in
#: WebPs 3 bytes at most.
_LEAST_UNWRITTEN: Final = 64

_FILL, _START_OF_SCAN = 0xFF, 0xDA
_FRAMES: Final = frozenset(
    (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
)  # SOF
# Markers that Pillow takes to have no length: JPG, RST0-7, SOI, EOI, JPG0-13.
_BARE_MARKERS: Final = frozenset((0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)))
# Among a scan's codes FF is followed by 00 or a restart marker.
_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def check_structure(photo: bytes) -> tuple[int, int] | None:
    """Walk a JPEG's segments and scans, or a PNG's chunks; of a WebP only the size and the end are read.

    Up to the pixels it looks at no more than 2 · (`MAX_JPEG_JUNK` + 2 · `MAX_JPEG_SEGMENTS`) bytes of a JPEG,
    and 4 · `MAX_PNG_CHUNKS` of a PNG. A file that is damaged otherwise passes: its decoder says so.

    Returns:
        Width and height that the header states, before any decoder allocates them; the largest, where a JPEG
        states several. None where none is found.

    Raises:
        FacewrightError: BAD_PHOTO above one of the limits, and for a JPEG or WebP whose end was not written.
    """
    if photo[:2] == b"\xff\xd8":
        return _walk_jpeg(photo)
    if photo[:4] == b"\x89PNG":
        return _walk_png(photo)
    if photo[12:16] in (b"VP8 ", b"VP8L"):
        _check_written(photo, "WebP", min(20 + int.from_bytes(photo[16:20], "little"), len(photo)))
    return _webp_size(photo)


def _walk_jpeg(photo: bytes) -> tuple[int, int] | None:
    place, junk, segments = 2, 0, 0
    sizes: list[tuple[int, int]] = []
    while place + 2 <= len(photo):
        if place > MAX_JPEG_HEADER:
            raise _refusal(photo, f"more than {MAX_JPEG_HEADER // 2**20} MiB before its pixels")
        marker = photo[place + 1]
        if photo[place] != _FILL or marker in (0x00, _FILL):
            junk += 1
            if junk > MAX_JPEG_JUNK:
                raise _refusal(photo, f"more than {MAX_JPEG_JUNK // 1024} KB between its JPEG segments")
            place += 1
            continue
        segments += 1
        if segments > MAX_JPEG_SEGMENTS:
            raise _refusal(photo, f"more than {MAX_JPEG_SEGMENTS} JPEG segments before its pixels")
        if marker == _START_OF_SCAN:
            _count_scans(photo, place)
            if photo.find(b"\xff\xd9", place) < 0:
                _check_written(photo, "JPEG", len(photo))
            break
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", photo[place + 5 : place + 9].ljust(4, b"\0"))
            sizes.append((width, height))
        place = place + 2 if marker in _BARE_MARKERS else _segment_end(photo, place)
    return max(sizes, key=math.prod, default=None)


def _count_scans(photo: bytes, place: int) -> None:
    """From the first scan's marker on."""
    # The quick look also counts scans of a second image behind the first, and chance hits in a film there.
    if photo.count(b"\xff\xda", place) <= MAX_JPEG_SCANS:
        return
    scans = 1
    while found := _AFTER_SCAN.search(photo, _segment_end(photo, place)):
        place = found.start()
        if photo[place + 1] == 0xD9:  # end of image
            return
        scans += photo[place + 1] == _START_OF_SCAN
        if scans > MAX_JPEG_SCANS:
            raise _refusal(photo, f"more than {MAX_JPEG_SCANS} JPEG scans")


def _check_written(photo: bytes, kind: str, end: int) -> None:
    """Refuse a picture whose codes end in what was never written: decoders make grey of it, or smears."""
    missing = end - len(photo[:end].rstrip(photo[end - 1 : end]))
    if missing >= _LEAST_UNWRITTEN:
        raise FacewrightError(
            ErrorCode.BAD_PHOTO,
            f"the photo ({len(photo)} bytes) is a damaged {kind} picture: its last {missing} bytes are all "
            f"{photo[end - 1]:#04x} and its codes have no end, as after a transfer that was broken off",
            "send it again, as binary; where it is damaged at its source, send another copy",
        )


def _segment_end(photo: bytes, place: int) -> int:
    return place + 2 + max(2, int.from_bytes(photo[place + 2 : place + 4], "big"))


def _walk_png(photo: bytes) -> tuple[int, int] | None:
    place, chunks = 8, 0
    while place + 8 <= len(photo):
        chunks += 1
        if chunks > MAX_PNG_CHUNKS:
            raise _refusal(photo, f"more than {MAX_PNG_CHUNKS} PNG chunks")
        place += 12 + int.from_bytes(photo[place : place + 4], "big")
    return struct.unpack(">II", photo[16:24]) if photo[12:16] == b"IHDR" and len(photo) >= 24 else None


def _webp_size(photo: bytes) -> tuple[int, int] | None:
    """Source: RFC 9649, sections 2.5-2.7."""
    chunk, content = photo[12:16], photo[20:30]
    if len(content) < 10:
        return None
    if chunk == b"VP8X":
        return 1 + int.from_bytes(content[4:7], "little"), 1 + int.from_bytes(content[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(content[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        width, height = struct.unpack("<HH", content[6:10])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _refusal(photo: bytes, excess: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.BAD_PHOTO,
        f"the photo ({len(photo)} bytes) has {excess}",
        "open it in an image editor and save it anew",
    )
