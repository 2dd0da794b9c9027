"""Which colours a photo's file says that it has: an ICC profile, or a name for which one is made."""

from __future__ import annotations

import struct
from typing import Any, Final

from PIL import ExifTags, Image

from facewright.photo.colour_profile import (
    ADOBE_RGB,
    BT709,
    Chromaticities,
    ColourProfileError,
    coded_profile,
    gamma,
    is_hdr,
    matrix_profile,
    srgb_curve,
)

# Where PNG's own gamma is that of a monitor of the time, 1 / 2.2, it stands for sRGB.
_SRGB_GAMMA: Final = (0.43, 0.47)
_PNG_GAMMAS: Final = (0.3, 1.05)
_ADOBE_RGB: Final = 2  # Exif's ColorSpace, by convention
_UNCALIBRATED: Final = 0xFFFF
_UNSPECIFIED: Final = 2  # of ITU-T H.273


def declared_profile(
    image: Image.Image, photo: bytes, exif: dict[int, Any], nclx: tuple[int, int] | None, warnings: list[str]
) -> bytes | None:
    """An ICC profile of the image's colours; None where they are sRGB, or nothing is said.

    An ICC profile goes before what else is said, except in PNG's cICP, which goes before all (PNG, third
    edition, section 4.3).

    Args:
        image: opened; for its format and ``info``.
        photo: its file.
        exif: tags of its main, Exif and interoperability directories.
        nclx: primaries and transfer of an AVIF or HEIC file.
        warnings: sentences for the report; may grow.

    Raises:
        ColourProfileError: numbers of no known colour space.
    """
    # Pillow gives None for a profile that it could not put together.
    embedded = (image.info["icc_profile"] or b"") if "icc_profile" in image.info else None
    if image.format == "PNG":
        coded = _cicp(photo)
        if embedded is not None and coded is not None and not _says_something(coded):
            coded = None
        if coded is None and embedded is None and "srgb" not in image.info:
            return _png_profile(image.info, warnings) or _exif_profile(exif, warnings)
        nclx, embedded = coded, (embedded if coded is None else None)
    if isinstance(embedded, bytes):
        return embedded
    if nclx is not None:
        if is_hdr(nclx[1]):
            warnings.append("The photo is HDR: what is brighter than white paper was clipped.")
        return coded_profile(*nclx)
    return _exif_profile(exif, warnings)


def _says_something(coded: tuple[int, int]) -> bool:
    """Whether numbers name a colour space: where they do not, what the file says beside them counts."""
    try:
        coded_profile(*coded)
    except ColourProfileError:
        return False
    return _UNSPECIFIED not in coded


def _exif_profile(exif: dict[int, Any], warnings: list[str]) -> bytes | None:
    """Cameras that are set to Adobe RGB embed no profile: DCF 2.0 has them write R03."""
    space = exif.get(ExifTags.Base.ColorSpace)
    if space == _ADOBE_RGB or str(exif.get(ExifTags.Interop.InteropIndex, "")).startswith("R03"):
        return matrix_profile(ADOBE_RGB, gamma(563 / 256))
    if space == _UNCALIBRATED:
        warnings.append(
            "The photo does not say which colours it has (uncalibrated): they were taken as sRGB."
        )
    return None


def _png_profile(info: dict[str | tuple[int, int], Any], warnings: list[str]) -> bytes | None:
    """Of gAMA and cHRM; both, as in browsers, or the first alone."""
    file_gamma = info.get("gamma")
    if not isinstance(file_gamma, float):
        return None
    if not _PNG_GAMMAS[0] <= file_gamma <= _PNG_GAMMAS[1]:
        warnings.append(f"The photo's gamma {file_gamma:g} is impossible: its colours were taken as sRGB.")
        return None
    white, red, green, blue = _chromaticities(info.get("chromaticity"))
    primaries: Chromaticities = (red, green, blue, white)
    curve = srgb_curve if _SRGB_GAMMA[0] <= file_gamma <= _SRGB_GAMMA[1] else gamma(1 / file_gamma)
    return None if primaries == BT709 and curve is srgb_curve else matrix_profile(primaries, curve)


def _chromaticities(values: Any) -> list[tuple[float, float]]:
    """White, red, green and blue of cHRM; sRGB's where there are none, or none that span a triangle."""
    standard = [BT709[3], *BT709[:3]]
    if not isinstance(values, tuple) or len(values) != 8:
        return standard
    points = list(zip(values[::2], values[1::2], strict=True))
    (rx, ry), (gx, gy), (bx, by) = points[1:]
    area = (gx - rx) * (by - ry) - (bx - rx) * (gy - ry)
    return points if area > 0.01 and all(0 <= x <= 1 and 0.01 <= y <= 1 for x, y in points) else standard


def _cicp(photo: bytes) -> tuple[int, int] | None:
    """Primaries and transfer of a PNG's cICP chunk, which stands before its pixels."""
    place = 8
    while place + 8 <= len(photo):
        length, kind = struct.unpack_from(">I4s", photo, place)
        if kind in (b"IDAT", b"IEND"):
            return None
        if kind == b"cICP" and length == 4:
            return photo[place + 8], photo[place + 9]
        place += 12 + length
    return None
