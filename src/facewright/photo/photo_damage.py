"""Damage that decoders pass over: changed line ends, and JPEG codes that do not fit their picture.

libjpeg makes a picture of anything, coloured blocks or grey, and Pillow keeps its warnings to itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

#: Line feeds that all follow a carriage return, as one in 256 does in a compressed picture.
_LEAST_LINE_FEEDS: Final = 16
#: How often half of all bytes occur, where a line feed or a carriage return never does.
_LEAST_OF_HALF: Final = 128
#: Codes of a JPEG that are walked, bytes: 0.6 s.
_MOST_CODES: Final = 1_000_000

#: Fewer zeros among codes are not looked into.
_LEAST_HOLE: Final = 64

_START_OF_SCAN, _END_OF_IMAGE, _HUFFMAN_TABLES, _RESTART_INTERVAL = 0xDA, 0xD9, 0xC4, 0xDD
_SEQUENTIAL: Final = (0xC0, 0xC1)
_AFTER_CODES: Final = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_RESTART: Final = re.compile(rb"\xff+[\xd0-\xd7]")
_INVALID: Final = -1
#: Of an entry of a table: its low bits are how many coefficients it passes, none at the end of a block.
_STEP_BITS, _STEP = 7, 127
_COEFFICIENTS: Final = 64


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

    Walks the Huffman codes of a sequential file with one scan (ITU-T T.81, annex F.2.2), without their
    values: a good file's fill their picture to the last bit. Of damage that leaves the number of blocks as it
    was, of progressive files and of those with more than 1 MB of codes it says nothing.
    """
    scan = _Scan.of(photo)
    if scan is None:
        return None
    end = _AFTER_CODES.search(photo, scan.start)
    if end is None:
        return "its codes have no end"
    if end.group()[-1] != _END_OF_IMAGE:
        return "a marker is out of place among its codes"
    codes = photo[scan.start : end.start()]
    if len(codes) > _MOST_CODES:
        return None
    parts = _RESTART.split(codes) if scan.interval else [codes]
    remaining = scan.units
    for part in parts:
        units = min(scan.interval or remaining, remaining)
        if fault := scan.walk(part.replace(b"\xff\x00", b"\xff"), units):
            return fault
        remaining -= units
    return "its codes end before its picture does" if remaining else None


def zero_hole(photo: bytes) -> tuple[int, int] | None:
    """Where among the codes of a JPEG zeros took the place of a block, as a broken disk or transfer leaves:
    its first byte and its length; None where nothing is seen to be wrong.

    Flat areas give runs of zeros, too, where their tables make 0 the code of a block without coefficients;
    then the codes fit their picture. Of progressive files it says nothing.
    """
    scan = _Scan.of(photo) if bytes(_LEAST_HOLE) in photo else None
    if scan is None:
        return None
    end = _AFTER_CODES.search(photo, scan.start)
    hole = photo.find(bytes(_LEAST_HOLE), scan.start, end.start() if end else len(photo))
    if hole < 0:
        return None
    flat = not any(ac[0] & _STEP for _, ac in scan.blocks)
    if flat and jpeg_damage(photo) is None:
        return None
    return hole, len(photo) - hole - len(photo[hole:].lstrip(b"\0"))


@dataclass(frozen=True)
class _Scan:
    """The one scan of a sequential JPEG.

    Attributes:
        start: of its codes, bytes of the file.
        units: MCUs of the picture.
        interval: MCUs between restart markers; 0 without.
        blocks: of an MCU, the tables of each, for DC and AC.
    """

    start: int
    units: int
    interval: int
    blocks: list[tuple[list[int], list[int]]]

    @classmethod
    def of(cls, photo: bytes) -> _Scan | None:
        """None where there is another kind of scan, or none."""
        place, interval = 2, 0
        frame = b""
        tables: dict[int, list[int]] = {}
        while photo[place : place + 1] == b"\xff" and place + 1 < len(photo):
            code = photo[place + 1 : place + 2]
            length = int.from_bytes(photo[place + 2 : place + 4], "big")
            segment = photo[place + 4 : place + 2 + length]
            if code == b"\xff":
                place += 1
                continue
            if code[0] in _SEQUENTIAL:
                frame = segment
            elif code[0] == _HUFFMAN_TABLES:
                _read_tables(segment, tables)
            elif code[0] == _RESTART_INTERVAL:
                interval = int.from_bytes(segment[:2], "big")
            place += 2 + max(2, length)
            if code[0] == _START_OF_SCAN:
                return cls._of_segments(place, interval, frame, segment, tables)
        return None

    @classmethod
    def _of_segments(
        cls, start: int, interval: int, frame: bytes, scan: bytes, tables: dict[int, list[int]]
    ) -> _Scan | None:
        if len(frame) < 9 or len(frame) < 6 + 3 * frame[5] or len(scan) != 4 + 2 * frame[5] or frame[0] != 8:
            return None
        height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
        sampling = {
            frame[at]: (frame[at + 1] >> 4, frame[at + 1] & 15) for at in range(6, 6 + 3 * frame[5], 3)
        }
        if frame[5] == 1:  # not interleaved: a block each
            sampling = dict.fromkeys(sampling, (1, 1))
        blocks = []
        for at in range(1, 1 + 2 * frame[5], 2):
            across, down = sampling.get(scan[at], (0, 0))
            dc, ac = tables.get(scan[at + 1] >> 4), tables.get(16 + (scan[at + 1] & 15))
            if not across or not down or dc is None or ac is None:
                return None
            blocks += [(dc, ac)] * (across * down)
        wide, high = (8 * max(size[axis] for size in sampling.values()) for axis in (0, 1))
        return cls(start, -(-width // wide) * -(-height // high), interval, blocks)

    def walk(self, codes: bytes, units: int) -> str | None:
        """What is wrong with the codes of so many MCUs, without stuffed bytes."""
        padded = codes + b"\xff\xff\xff"
        windows = [
            high << 16 | middle << 8 | low
            for high, middle, low in zip(padded, padded[1:], padded[2:], strict=False)
        ]
        end = 8 * len(codes)
        bit = 0
        for _ in range(units):
            for dc, ac in self.blocks:
                if bit >= end:
                    return "its codes end before its picture does"
                entry = dc[windows[bit >> 3] >> (8 - (bit & 7)) & 0xFFFF]
                if entry == _INVALID:
                    return "a code is none of its table"
                bit += entry >> _STEP_BITS
                coefficient = 1
                while coefficient < _COEFFICIENTS:
                    if bit >= end:
                        return "its codes end before its picture does"
                    entry = ac[windows[bit >> 3] >> (8 - (bit & 7)) & 0xFFFF]
                    if entry == _INVALID:
                        return "a code is none of its table"
                    bit += entry >> _STEP_BITS
                    if not entry & _STEP:
                        break
                    coefficient += entry & _STEP
                if coefficient > _COEFFICIENTS:
                    return "a block has too many coefficients"
        if codes[(bit + 7) >> 3 :].strip(b"\0\xff"):  # some cameras fill up
            return "it has codes behind its picture"
        return None


def _read_tables(segment: bytes, tables: dict[int, list[int]]) -> None:
    """Of a DHT segment, keyed by class x 16 + number: for each 16 bits that codes may begin with, how many
    bits code and value take and how many coefficients they pass (T.81, annexes B.2.4.2 and C.2).
    """
    place = 0
    while place + 17 <= len(segment):
        key = segment[place]
        lengths = segment[place + 1 : place + 17]
        symbols = segment[place + 17 : place + 17 + sum(lengths)]
        place += 17 + sum(lengths)
        table: list[int] = []
        of_length = (length for length, count in enumerate(lengths, 1) for _ in range(count))
        for length, symbol in zip(of_length, symbols, strict=False):
            run, size = (0, symbol) if key < 16 else (symbol >> 4, symbol & 15)
            passed = run + 1 if size or run == 15 else 0
            table += [(length + size) << _STEP_BITS | passed] * (1 << 16 - length)
        tables[key] = (table + [_INVALID] * 65536)[:65536]
