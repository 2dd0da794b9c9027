"""Damage that decoders pass over: changed line ends, and JPEG codes that do not fit their picture.

libjpeg makes a picture of anything, coloured blocks or grey, and Pillow keeps its warnings to itself.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import simplejpeg

#: Line feeds that all follow a carriage return, as one in 256 does in a compressed picture.
_LEAST_LINE_FEEDS: Final = 16
#: How often half of all bytes occur, where a line feed or a carriage return never does.
_LEAST_OF_HALF: Final = 128
#: libjpeg-turbo's words for damage among the codes; what else it says is of files that are odd but whole.
_DAMAGE: Final = re.compile(
    "bad Huffman code|bad arithmetic code|premature end of .*|found marker 0x.. instead of RST."
    "|(?P<length>[0-9]+) extraneous bytes before marker 0x(?P<marker>..)",
    re.IGNORECASE,
)
#: So many bytes before a marker, and any number of zeros or ones, are no damage: some cameras leave them.
_MOST_LEFT_OVER: Final = 16
#: Fewer zeros among codes are not looked into.
_LEAST_HOLE: Final = 64
#: Segments with Huffman tables, and what begins a scan.
_HUFFMAN_TABLES, _START_OF_SCAN = 0xC4, 0xDA
_NOT_SEQUENTIAL: Final = range(0xC2, 0xC4)
_AFTER_CODES: Final = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")


def changed_by_text_transfer(photo: bytes) -> bool:
    """Whether a transfer as text (FTP's ASCII mode, git's autocrlf) changed the line ends among a picture's
    bytes, of which all 256 occur by chance, in any order.
    """
    feeds = photo.count(b"\n")
    if feeds >= _LEAST_LINE_FEEDS:
        if photo.count(b"\r\n") == feeds:
            return True
        if b"\r" in photo:
            return False
    counts = np.bincount(np.frombuffer(photo, np.uint8), minlength=256)
    return bool(counts[[0x0A, 0x0D]].min() == 0 and np.median(counts) >= _LEAST_OF_HALF)


def jpeg_damage(photo: bytes) -> str | None:
    """What is wrong with the codes of a JPEG that is decoded all the same; None where nothing is seen to be.

    libjpeg-turbo says so, of most damage; of zeros that took the place of a block, as a broken disk or
    transfer leaves, the file's own tables do. It costs a decoding to an eighth of the size: 1 ms for half a
    megapixel, 17 ms for 12.
    """
    if bytes(_LEAST_HOLE) in photo and _zeros_are_damage(photo):
        return f"more than {_LEAST_HOLE} bytes in a row are zero where it should have codes"
    try:
        simplejpeg.decode_jpeg(photo, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        told = _DAMAGE.search(str(error))
        if told is None or (told["length"] and _is_filling(photo, int(told["length"]), told["marker"])):
            return None
        return told.group()
    return None


def _is_filling(photo: bytes, length: int, marker: str) -> bool:
    ends = re.finditer(re.escape(b"\xff" + bytes.fromhex(marker)), photo)
    return length <= _MOST_LEFT_OVER or any(
        end.start() >= length and not photo[end.start() - length : end.start()].strip(b"\0\xff")
        for end in ends
    )


def _zeros_are_damage(photo: bytes) -> bool:
    """Whether a run of zeros is among the codes of a sequential file which writes no flat area like that:
    in one of its tables of AC coefficients, zeros are not the code that ends a block (ITU-T T.81, annex C.2).
    """
    place, first_codes = 2, []
    while photo[place : place + 1] == b"\xff" and place + 4 <= len(photo):
        code, length = photo[place + 1], int.from_bytes(photo[place + 2 : place + 4], "big")
        if code == 0xFF:
            place += 1
            continue
        segment = photo[place + 4 : place + 2 + length]
        place += 2 + max(2, length)
        if code in _NOT_SEQUENTIAL:
            return False
        while code == _HUFFMAN_TABLES and len(segment) > 17:
            if segment[0] >> 4:
                first_codes.append(segment[17])
            segment = segment[17 + sum(segment[1:17]) :]
        if code == _START_OF_SCAN:
            end = _AFTER_CODES.search(photo, place)
            codes = photo[place : end.start() if end else len(photo)]
            return bytes(_LEAST_HOLE) in codes.rstrip(b"\0") and any(first_codes)
    return False
