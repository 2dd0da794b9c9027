"""Decodes a photo from bytes: upright, RGB, with its limits checked before any pixel is decoded."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from facewright.core.errors import FacewrightError
from facewright.photo.photo_structure import check_structure
from facewright_client.contract import MAX_PHOTO_BYTES, ErrorCode

MAX_PIXELS = 60_000_000
_PIXEL_LIMIT = f"{MAX_PIXELS // 1_000_000} megapixels"
MIN_SIDE = 32  # pixels; a face in less has no features
#: Where the photo is transparent: neutral, so that cut-out hair gets neither a light nor a dark fringe.
BACKGROUND = (128, 128, 128)
# The diagonal of the 36 × 24 mm film frame that "35 mm equivalent" refers to.
_FILM_DIAGONAL_MM = 43.27
_FORMATS = ("JPEG", "PNG", "WEBP")
_HINT = "send a whole JPEG, PNG or WebP file"
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Args:
        image: upright RGB; 1 / ``reduction`` of the photo's size, rounded up.
        reduction: photo pixels for each pixel of ``image``: 1, 2, 4 or 8. A point at (x, y) of ``image`` is
            (x, y) · reduction in photo pixels (CONVENTIONS.md).
        width, height: the whole upright photo, pixels.
        focal_px: focal length in photo pixels from EXIF, None where unknown.
        icc_profile: the colours' ICC profile where one is embedded, else None (sRGB).
        warnings: sentences for the report.
    """

    image: Image.Image
    reduction: int
    width: int
    height: int
    focal_px: float | None
    icc_profile: bytes | None
    warnings: tuple[str, ...] = ()


def decode_photo(photo: bytes, enough_side: int = 1536, reduction: int | None = None) -> Photo:
    """Decode a JPEG, PNG or WebP photo.

    Handles EXIF orientation, grey, palette, CMYK, 16 bits (the upper 8 are kept) and transparency (over
    `BACKGROUND`); an animation gives its first frame. Large JPEGs are decoded at a fraction of their size,
    which costs a fraction of the time.

    Args:
        photo: the encoded file.
        enough_side: decode a JPEG to the smallest size whose longer side is at least this, pixels.
        reduction: decode to exactly this reduction instead, where the format can.

    Raises:
        FacewrightError: BAD_PHOTO when it is empty, not one of the formats, damaged, truncated or smaller
            than `MIN_SIDE`, or built to keep a decoder busy (`check_structure`); PHOTO_TOO_LARGE above
            `MAX_PHOTO_BYTES`, or above `MAX_PIXELS`, told from the header.
    """
    if len(photo) > MAX_PHOTO_BYTES:
        raise _too_large(f"{len(photo)} bytes", f"{MAX_PHOTO_BYTES // 2**20} MiB")
    if len(photo) == 0:
        raise FacewrightError(ErrorCode.BAD_PHOTO, "the photo is empty (0 bytes)", _HINT)
    if not _has_known_magic(photo):
        raise FacewrightError(
            ErrorCode.BAD_PHOTO,
            f"the photo ({len(photo)} bytes) is not a JPEG, PNG or WebP file: it starts with "
            f"{photo[:8].hex(' ')}",
            _HINT,
        )
    check_structure(photo)
    try:
        return _decode(photo, enough_side, reduction)
    except FacewrightError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large("too many pixels", _PIXEL_LIMIT) from error
    except MemoryError as error:
        raise FacewrightError(ErrorCode.BAD_PHOTO, "the photo does not fit into memory", _HINT) from error
    except UnidentifiedImageError as error:  # its own words name a Python object
        raise FacewrightError(
            ErrorCode.BAD_PHOTO, f"the photo ({len(photo)} bytes) is damaged: its header is unreadable", _HINT
        ) from error
    except Exception as error:  # damaged files make decoders raise anything, from struct.error to SyntaxError
        cause = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise FacewrightError(
            ErrorCode.BAD_PHOTO, f"the photo ({len(photo)} bytes) is damaged: {cause}", _HINT
        ) from error


def _has_known_magic(photo: bytes) -> bool:
    return (
        photo[:3] == b"\xff\xd8\xff"
        or photo[:8] == b"\x89PNG\r\n\x1a\n"
        or (photo[:4] == b"RIFF" and photo[8:12] == b"WEBP")
    )


def _too_large(size: str, limit: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.PHOTO_TOO_LARGE,
        f"the photo has {size}; the limit is {limit}",
        "scale it down: a face 1000 pixels wide is as much as the texture can use",
    )


def _decode(photo: bytes, enough_side: int, reduction: int | None) -> Photo:
    image = Image.open(io.BytesIO(photo), formats=_FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(f"{width} x {height} pixels", _PIXEL_LIMIT)
    if min(width, height) < MIN_SIDE:
        raise FacewrightError(
            ErrorCode.BAD_PHOTO,
            f"the photo has only {width} x {height} pixels",
            f"send a photo of at least {MIN_SIDE} x {MIN_SIDE} pixels; 500 or more across the face are good",
        )
    warnings: list[str] = []
    exif = _read_exif(image, warnings)
    icc_profile = image.info.get("icc_profile")
    scale = 1
    if image.format in ("JPEG", "MPO"):
        scale = reduction or _reduction_for(max(width, height), enough_side)
        # Pillow divides by whole numbers: rounding the wanted size down is what selects this scale.
        image.draft(None, (width // scale, height // scale))
        scale = round(width / image.size[0])
    image.load()
    upright = _to_rgb(image)
    orientation = exif.get(ExifTags.Base.Orientation)
    if orientation in _TRANSPOSE:
        upright = upright.transpose(_TRANSPOSE[orientation])
        if orientation >= 5:
            width, height = height, width
    return Photo(
        image=upright,
        reduction=scale,
        width=width,
        height=height,
        focal_px=_focal_px(exif, width, height, warnings),
        icc_profile=icc_profile if isinstance(icc_profile, bytes) and image.mode != "CMYK" else None,
        warnings=tuple(warnings),
    )


def _reduction_for(side: int, enough_side: int) -> int:
    for reduction in (8, 4, 2):
        if side >= enough_side * reduction:
            return reduction
    return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "I;16":
        # Converting alone would clip to 8 bits instead of scaling.
        return image.point(lambda level: level * (1 / 256)).convert("L").convert("RGB")
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        over = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        over.alpha_composite(with_alpha)
        return over.convert("RGB")
    return image.convert("RGB")


def _read_exif(image: Image.Image, warnings: list[str]) -> dict[int, Any]:
    """The tags that matter, from the main and the Exif directory; {} where EXIF is absent or damaged."""
    try:
        exif = image.getexif()
        return {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    except Exception:  # a damaged EXIF block is no reason to refuse a good photo
        warnings.append("The photo's EXIF data is damaged: orientation and focal length are unknown.")
        return {}


def _focal_px(exif: dict[int, Any], width: int, height: int, warnings: list[str]) -> float | None:
    """Focal length in photo pixels from the 35 mm equivalent, which refers to the uncropped frame's
    diagonal.
    """
    try:
        equivalent = float(exif[ExifTags.Base.FocalLengthIn35mmFilm])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if not 8 <= equivalent <= 1200:
        return None
    try:
        frame = (float(exif[ExifTags.Base.ExifImageWidth]), float(exif[ExifTags.Base.ExifImageHeight]))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        frame = (float(width), float(height))
    if min(frame) <= 0:
        return None
    aspect = (max(frame) / min(frame)) / (max(width, height) / min(width, height))
    if not 0.98 < aspect < 1.02:
        warnings.append("The photo was cropped after it was taken: EXIF's focal length was not used.")
        return None
    return float(equivalent / _FILM_DIAGONAL_MM * np.hypot(width, height))


def to_srgb(pixels: npt.NDArray[np.uint8], icc_profile: bytes | None) -> npt.NDArray[np.uint8]:
    """Pixels ``[H, W, 3]`` of an embedded ICC profile as sRGB; unchanged where there is none, or a broken
    one.
    """
    from PIL import ImageCms  # only photos with a profile pay for loading it

    if icc_profile is None or any(
        name in icc_profile[:4096] for name in (b"sRGB", "sRGB".encode("utf-16-be"))
    ):
        return pixels
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        image = Image.fromarray(pixels)
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return pixels
    return pixels if converted is None else np.asarray(converted)
