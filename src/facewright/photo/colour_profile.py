"""Photos' colours as sRGB: profiles are judged by what they compute, not by their names.

A profile comes with the file (ICC), or is written here for a colour space that the file only names: by
numbers of ITU-T H.273 (AVIF, HEIC, PNG's cICP), by primaries and a gamma (PNG's cHRM and gAMA), or by Exif
(Adobe RGB).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

F64 = npt.NDArray[np.float64]
ColourTransform = ImageCms.ImageCmsTransform

#: The largest CMYK profiles of printers have 2.5 MB.
MAX_PROFILE_BYTES: Final = 4 * 1024 * 1024
# Transforms of larger profiles are made anew each time: what is kept has a bound.
_KEPT_BYTES, _KEPT = 64 * 1024, 32
_SPACES: Final = {"RGB": b"RGB ", "L": b"GRAY", "CMYK": b"CMYK"}
# Levels by which a profile may differ from sRGB and be taken for it.
_SAME = 1
# ICC.1:2022, 9.2.36-39: chains of any length of float operations, 8 bytes each where they repeat one.
_FLOAT_TAGS: Final = (b"D2B0", b"D2B1", b"D2B2", b"D2B3")
_D50: Final = (0.9642, 1.0, 0.8249)
_D65: Final = (0.3127, 0.3290)

#: x, y of the red, green and blue primary and of white.
Chromaticities = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]
#: Code value 0-1 to linear light 0-1.
Curve = Callable[[F64], F64]

BT709: Final[Chromaticities] = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65)
ADOBE_RGB: Final[Chromaticities] = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), _D65)
#: ITU-T H.273, table 2.
_PRIMARIES: Final[dict[int, Chromaticities]] = {
    1: BT709,
    2: BT709,  # unspecified
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), _D65),
    7: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), _D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
}
#: White of a page, cd/m²: ITU-R BT.2408, section 2.2. What is brighter is clipped.
_REFERENCE_WHITE: Final = 203.0


class ColourProfileError(ValueError):
    """A profile that cannot be used; the message goes on after "the photo's colour profile"."""


def to_srgb(image: Image.Image, colours: ColourTransform | None) -> Image.Image:
    """The image's colours as sRGB, mode RGB; ``colours`` is None where they are already."""
    if colours is None:
        return image
    converted = ImageCms.applyTransform(image, colours)
    assert converted is not None  # not in place
    return converted


def colour_transform(profile: bytes, mode: Literal["RGB", "L", "CMYK"]) -> ColourTransform | None:
    """What makes sRGB of pixels that an ICC profile describes; None where it moves none by more than one
    level.

    Raises:
        ColourProfileError: the profile is for another kind of pixels, damaged, or built to keep a processor
            busy.
    """
    if len(profile) > MAX_PROFILE_BYTES:
        raise ColourProfileError(f"has {len(profile)} bytes; the limit is {MAX_PROFILE_BYTES // 2**20} MiB")
    return _transform(profile, mode) if len(profile) > _KEPT_BYTES else _kept_transform(profile, mode)


def profile_space(profile: bytes) -> bytes:
    """The header's data colour space, such as ``b"RGB "``."""
    return profile[16:20]


def _transform(profile: bytes, mode: Literal["RGB", "L", "CMYK"]) -> ColourTransform | None:
    if len(profile) < 132 or profile[36:40] != b"acsp":
        raise ColourProfileError("is damaged")
    if profile_space(profile) != _SPACES[mode]:
        space = profile_space(profile).decode("ascii", "backslashreplace").strip()
        raise ColourProfileError(f"is for {space} pixels, but these are {_SPACES[mode].decode().strip()}")
    count = int.from_bytes(profile[128:132], "big")
    names = {profile[132 + 12 * tag : 136 + 12 * tag] for tag in range(min(count, len(profile) // 12))}
    if names.intersection(_FLOAT_TAGS):
        raise ColourProfileError("computes with floating point numbers, which is not supported")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        probe = _probe(mode)
        given = np.asarray(to_srgb(probe, transform)).astype(int)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise ColourProfileError("is damaged") from error
    black, white = given[0, [0, -1]]
    if white.min() < 192 or black.max() > 96:
        raise ColourProfileError(
            f"is damaged: it makes {tuple(white.tolist())} of white and {tuple(black.tolist())} of black"
        )
    if mode != "CMYK" and np.abs(given - np.asarray(probe.convert("RGB"))).max() <= _SAME:
        return None
    return transform


_kept_transform = lru_cache(maxsize=_KEPT)(_transform)


def _probe(mode: Literal["RGB", "L", "CMYK"]) -> Image.Image:
    """One row of colours: greys from black to white behind a lattice whose first is black."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    if mode == "CMYK":
        inks = np.array([[0, 0, 0, 255], [0, 0, 0, 0]], np.uint8)
        return Image.frombytes("CMYK", (2, 1), inks.tobytes())
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    lattice = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    return Image.fromarray(np.concatenate([lattice, greys])[None])


def matrix_profile(primaries: Chromaticities, curve: Curve) -> bytes:
    """An ICC profile of an additive RGB space.

    Source: ICC.1:2022, sections 7.2, 9.2 and 10.6; white is adapted to D50 by Bradford's matrix (annex E).
    """
    xyz = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    to_xyz = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    gain = (bradford @ np.array(_D50)) / (bradford @ xyz[:, 3])
    columns = np.linalg.solve(bradford, gain[:, None] * (bradford @ to_xyz)).T
    levels = np.rint(curve(np.linspace(0.0, 1.0, 1024)).clip(0, 1) * 65535).astype(">u2")
    trc = b"curv" + struct.pack(">II", 0, len(levels)) + levels.tobytes()
    bodies = [_xyz_tag(_D50), *(_xyz_tag(column) for column in columns), trc]
    offsets = np.cumsum([132 + 12 * 7, *map(len, bodies)])
    tags = [(b"wtpt", 0), (b"rXYZ", 1), (b"gXYZ", 2), (b"bXYZ", 3), (b"rTRC", 4), (b"gTRC", 4), (b"bTRC", 4)]
    table = b"".join(name + struct.pack(">II", offsets[body], len(bodies[body])) for name, body in tags)
    header = struct.pack(">IIIIII", int(offsets[-1]), 0, 0x04300000, *struct.unpack(">III", b"mntrRGB XYZ "))
    header = (header + bytes(12) + b"acsp").ljust(68, b"\0") + _xyz_tag(_D50)[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + b"".join(bodies)


def _xyz_tag(xyz: npt.ArrayLike) -> bytes:
    return b"XYZ \0\0\0\0" + bytes(np.rint(np.asarray(xyz) * 65536).astype(">i4"))


def gamma(exponent: float) -> Curve:
    """A pure power."""
    return lambda code: code**exponent


def srgb_curve(code: F64) -> F64:
    """IEC 61966-2-1."""
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


@lru_cache(maxsize=64)
def coded_profile(primaries: int, transfer: int) -> bytes | None:
    """The profile of a colour space given by the numbers of ITU-T H.273; None where it is sRGB.

    Raises:
        ColourProfileError: numbers that no photo has.
    """
    curves: dict[int, Curve] = {4: gamma(2.2), 5: gamma(2.8), 8: gamma(1.0), 16: _pq, 18: _hlg}
    # Television's curves, and what is unspecified, are shown as sRGB by every viewer.
    curves |= dict.fromkeys((1, 2, 6, 13, 14, 15), srgb_curve)
    if primaries not in _PRIMARIES or transfer not in curves:
        raise ColourProfileError(f"has the unknown numbers {primaries} and {transfer}")
    if _PRIMARIES[primaries] == BT709 and curves[transfer] is srgb_curve:
        return None
    return matrix_profile(_PRIMARIES[primaries], curves[transfer])


def is_hdr(transfer: int) -> bool:
    """Whether a transfer number of ITU-T H.273 is that of light beyond white."""
    return transfer in (16, 18)


def _pq(code: F64) -> F64:
    """SMPTE ST 2084, relative to `_REFERENCE_WHITE`."""
    root = code ** (1 / 78.84375)
    light = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    return np.asarray(light * 10000 / _REFERENCE_WHITE)


def _hlg(code: F64) -> F64:
    """ITU-R BT.2100 on a screen of 1000 cd/m², relative to `_REFERENCE_WHITE`."""
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return np.asarray(scene**1.2 * 1000 / _REFERENCE_WHITE)
