"""How large the frames of an AV1 stream may be, by its sequence headers: a container may say less.

Source: AV1 Bitstream & Decoding Process Specification, 5.3 (units), 5.5 (sequence header).
"""

from __future__ import annotations

from typing import Final

_SEQUENCE_HEADER: Final = 1
_MAX_UNITS: Final = 4096


class Av1Error(ValueError):
    """The stream is not what the specification says."""


def largest_frame(stream: bytes) -> int:
    """Pixels of the largest frame that any sequence header allows.

    Raises:
        Av1Error: no sequence header is found, or more units than a picture has.
    """
    place, largest = 0, 0
    for _ in range(_MAX_UNITS):
        if place >= len(stream):
            break
        header = stream[place]
        place += 2 if header & 4 else 1
        size = len(stream) - place
        if header & 2:
            size, place = _leb128(stream, place)
        if header >> 3 & 15 == _SEQUENCE_HEADER:
            largest = max(largest, _frame_pixels(_Bits(stream[place : place + min(size, 256)])))
        place += size
    else:
        raise Av1Error
    if not largest:
        raise Av1Error
    return largest


def _leb128(stream: bytes, place: int) -> tuple[int, int]:
    value = 0
    for n in range(8):
        if place >= len(stream):
            raise Av1Error
        byte, place = stream[place], place + 1
        value |= (byte & 127) << 7 * n
        if not byte & 128:
            return value, place
    raise Av1Error


class _Bits:
    def __init__(self, content: bytes) -> None:
        self._left = 8 * len(content)
        self._value = int.from_bytes(content, "big")

    def read(self, count: int) -> int:
        """An unsigned number, its first bit the highest."""
        self._left -= count
        if self._left < 0:
            raise Av1Error
        return self._value >> self._left & ((1 << count) - 1)


def _frame_pixels(bits: _Bits) -> int:
    """``sequence_header_obu``, up to the frame's size."""
    bits.read(4)  # profile, still picture
    if bits.read(1):  # reduced still picture header
        bits.read(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return (bits.read(width_bits) + 1) * (bits.read(height_bits) + 1)


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.read(1):  # timing info
        bits.read(64)
        if bits.read(1):  # equal picture interval, as an unsigned Exp-Golomb number
            zeros = 0
            while not bits.read(1):
                zeros += 1
            bits.read(zeros if zeros < 32 else 0)
        if bits.read(1):  # decoder model info
            delay_bits = bits.read(5) + 1
            bits.read(32 + 5 + 5)
    initial_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if initial_delay and bits.read(1):
            bits.read(4)
