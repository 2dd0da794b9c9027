"""Decodes a photo from bytes: upright, RGB, with its limits checked before any pixel is decoded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import shorten
from threading import Lock
from typing import Any, Literal
from warnings import WarningMessage, catch_warnings, simplefilter

import numpy as np
import numpy.typing as npt
from PIL import AvifImagePlugin, ExifTags, Image, UnidentifiedImageError

from facewright.core.errors import FacewrightError
from facewright.core.file_kind import PhotoFormat, is_sequence, other_kind, photo_format
from facewright.photo.colour_profile import (
    ColourProfileError,
    ColourTransform,
    colour_transform,
    profile_space,
    to_srgb,
)
from facewright.photo.declared_colours import declared_profile
from facewright.photo.heic_decoder import open_heic
from facewright.photo.heif_structure import HeifHeader, read_heif_header
from facewright.photo.photo_damage import changed_by_text_transfer, jpeg_damage
from facewright.photo.photo_structure import check_structure
from facewright_client.contract import MAX_PHOTO_BYTES, PHOTO_FORMATS, ErrorCode

F64 = npt.NDArray[np.float64]

MAX_PIXELS = 60_000_000
_PIXEL_LIMIT = f"{MAX_PIXELS // 1_000_000} megapixels"
#: With so many colours in its palette a picture gives lips those of skin.
FEW_COLOURS = 64
#: A photo that is nowhere more opaque hardly shows: maybe another than its sender sees.
FAINT = 64
MIN_SIDE = 32  # pixels; a face in less has no features
#: Where the photo is transparent: neutral, so that cut-out hair gets neither a light nor a dark fringe.
BACKGROUND = (128, 128, 128)
# The diagonal of the 36 × 24 mm film frame that "35 mm equivalent" refers to.
_FILM_DIAGONAL_MM = 43.27
_HINT = f"send a whole {PHOTO_FORMATS} file"
# Tiles hang over the border of a picture, a whole row and column of them at most.
_MAX_TILED_PIXELS = 2 * MAX_PIXELS
# A header and a directory without entries, bytes.
_LARGEST_EMPTY_EXIF = 32
_ONE_AT_A_TIME = Lock()
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


# Orientations whose last column, or row, comes first: there a pixel that the photo fills in part is.
_FROM_THE_RIGHT, _FROM_BELOW = (2, 3, 6, 7), (3, 4, 7, 8)


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Args:
        image: upright RGB; 1 / ``reduction`` of the photo's size, rounded up.
        reduction: photo pixels for each pixel of ``image``: 1, 2, 4 or 8.
        origin: of ``image``, photo pixels: (0, 0), or a little less where an orientation turned a border that
            the photo fills in part to the left or the top.
        width, height: the whole upright photo, pixels.
        focal_px: focal length in photo pixels from EXIF, None where unknown.
        colours: what makes sRGB of the image's colours; None where they are sRGB already. Whoever looks at a
            small part converts that alone: all of a large photo takes longer than to find a face in it.
        opacity: of ``image``, mode L, 255 where it is most opaque; None where nothing is transparent.
        looked_at: which of several pictures this is, such as "the first of the 8 frames of this animation";
            None where the file holds one.
        few_colours: whether its palette has no more than `FEW_COLOURS`.
        warnings: sentences for the report.
    """

    image: Image.Image
    reduction: int
    origin: tuple[int, int]
    width: int
    height: int
    focal_px: float | None
    colours: ColourTransform | None
    opacity: Image.Image | None = None
    looked_at: str | None = None
    few_colours: bool = False
    warnings: tuple[str, ...] = ()

    def to_photo(self, points: F64) -> F64:
        """Pixels ``[..., 2]`` of `image` as photo pixels (CONVENTIONS.md)."""
        return points * self.reduction + self.origin

    def from_photo(self, points: F64) -> F64:
        """The inverse of `to_photo`."""
        return (points - self.origin) / self.reduction

    def overview(self, side: int) -> tuple[Image.Image, int]:
        """The whole image in sRGB, averaged down by the largest whole number that leaves its longer side at
        least ``side`` pixels; and that number.
        """
        factor = max(1, max(self.image.size) // side)
        return to_srgb(self.image.reduce(factor) if factor > 1 else self.image, self.colours), factor


def decode_photo(photo: bytes, enough_side: int = 1536, reduction: int | None = None) -> Photo:
    """Decode a JPEG, PNG, WebP, AVIF or HEIC photo.

    Handles orientation (EXIF, or the file's own in AVIF and HEIC), colour profiles, grey, palette, CMYK, 16
    bits (the upper 8 are kept) and transparency (over `BACKGROUND`); an animation gives its first frame, a
    collection its primary picture. Large JPEGs are decoded at a fraction of their size, which costs a
    fraction of the time.

    Args:
        photo: the encoded file.
        enough_side: decode a JPEG to the smallest size whose longer side is at least this, pixels.
        reduction: decode to exactly this reduction instead, where the format can.

    Raises:
        FacewrightError: BAD_PHOTO when it is empty, not one of the formats (the message names what it is),
            damaged, truncated, transparent all over or smaller than `MIN_SIDE`, or built to keep a decoder
            busy (`check_structure`, `read_heif_header`); PHOTO_TOO_LARGE above `MAX_PHOTO_BYTES`, or above
            `MAX_PIXELS`, told from the header.
    """
    if len(photo) > MAX_PHOTO_BYTES:
        raise _too_large(f"{len(photo)} bytes", f"{MAX_PHOTO_BYTES // 2**20} MiB")
    if len(photo) == 0:
        raise FacewrightError(ErrorCode.BAD_PHOTO, "the photo is empty (0 bytes)", _HINT)
    kind = photo_format(photo)
    if kind is None:
        raise other_kind(photo)
    if changed_by_text_transfer(photo):
        raise FacewrightError(
            ErrorCode.BAD_PHOTO,
            f"the photo ({len(photo)} bytes) is a {kind} picture that was damaged by a transfer as text: its "
            "line ends were changed",
            "send it again, as binary; where git changed it, mark such files as binary in .gitattributes",
        )
    heif = read_heif_header(photo, _MAX_TILED_PIXELS) if kind in ("AVIF", "HEIC") else None
    size = (heif.width, heif.height) if heif else check_structure(photo)
    if size is not None:
        _check_size(*size)
    # Who asks for a reduction has decoded it before.
    if kind == "JPEG" and reduction is None and (damage := jpeg_damage(photo)):
        raise FacewrightError(
            ErrorCode.BAD_PHOTO,
            f"the photo ({len(photo)} bytes) is a damaged JPEG picture: {damage}",
            "send it again, as binary; where it is damaged at its source, send another copy",
        )
    try:
        return _decode(photo, kind, heif, enough_side, reduction)
    except FacewrightError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large("too many pixels", _PIXEL_LIMIT) from error
    except MemoryError as error:
        raise FacewrightError(ErrorCode.BAD_PHOTO, "the photo does not fit into memory", _HINT) from error
    except UnidentifiedImageError as error:  # its own words name a Python object
        raise FacewrightError(
            ErrorCode.BAD_PHOTO, f"the photo ({len(photo)} bytes) is damaged: its header is unreadable", _HINT
        ) from error
    except Exception as error:  # damaged files make decoders raise anything, from struct.error to SyntaxError
        cause = shorten(str(error), 120, placeholder=" …") or "it cannot be decoded"
        if "MAX_TEXT" in cause:  # Pillow's bound against texts that inflate
            cause = "its texts or its colour profile are larger than a photo's"
        raise FacewrightError(
            ErrorCode.BAD_PHOTO, f"the photo ({len(photo)} bytes) is damaged: {cause}", _HINT
        ) from error


def _opened(photo: bytes, kind: PhotoFormat) -> Image.Image:
    if kind == "HEIC":
        return open_heic(photo)
    if kind == "AVIF":
        # Stages run beside each other, so each keeps to one core.
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        # Of an animation the picture that `read_heif_header` looked at, and not the first of its track.
        photo = photo[:8] + photo[8:12].replace(b"avis", b"avif") + photo[12:]
    image = Image.open(io.BytesIO(photo), formats=(kind.upper(),))
    if kind == "AVIF":
        # The file turns the picture itself, which Pillow writes into the Exif tag. It would also read XMP's.
        image.info.pop("xmp", None)
    return image


def _too_large(size: str, limit: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.PHOTO_TOO_LARGE,
        f"the photo has {size}; the limit is {limit}",
        "scale it down: a face 1000 pixels wide is as much as the texture can use",
    )


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large(f"{width} x {height} pixels", _PIXEL_LIMIT)
    if min(width, height) < MIN_SIDE:
        raise FacewrightError(
            ErrorCode.BAD_PHOTO,
            f"the photo has only {width} x {height} pixels",
            f"send a photo of at least {MIN_SIDE} x {MIN_SIDE} pixels; 500 or more across the face are good",
        )


def _decode(
    photo: bytes, kind: PhotoFormat, heif: HeifHeader | None, enough_side: int, reduction: int | None
) -> Photo:
    with _told_by_pillow() as told:
        image = _opened(photo, kind)
    width, height = image.size
    _check_size(width, height)
    if kind != "JPEG":
        image.load()  # before Pillow does, while it looks for EXIF, and takes damaged pixels for damaged EXIF
    warnings: list[str] = []
    exif = _read_exif(image, told, warnings)
    profile = _declared(image, photo, exif, heif, warnings)
    scale = 1
    if kind == "JPEG":
        scale = reduction or _reduction_for(max(width, height), enough_side)
        # Pillow divides by whole numbers: rounding the wanted size down is what selects this scale.
        image.draft(None, (width // scale, height // scale))
        scale = round(width / image.size[0])
    image.load()
    few = image.getcolors(FEW_COLOURS) if image.mode == "P" else None
    if few:
        warnings.append(
            f"The photo has only {len(few)} colours: patchy texture, and what covers the face is not "
            "looked for."
        )
    flat, opacity = _flattened(image, warnings)
    upright, colours = _in_colours(flat, profile, warnings)
    beyond_x, beyond_y = scale * upright.width - width, scale * upright.height - height
    orientation = exif.get(ExifTags.Base.Orientation)
    if orientation in _TRANSPOSE:
        upright = upright.transpose(_TRANSPOSE[orientation])
        opacity = opacity.transpose(_TRANSPOSE[orientation]) if opacity else None
        if orientation >= 5:
            width, height = height, width
            beyond_x, beyond_y = beyond_y, beyond_x
    origin = (
        -beyond_x if orientation in _FROM_THE_RIGHT else 0,
        -beyond_y if orientation in _FROM_BELOW else 0,
    )
    return Photo(
        image=upright,
        reduction=scale,
        origin=origin,
        width=width,
        height=height,
        focal_px=_focal_px(exif, width, height, warnings),
        colours=colours,
        opacity=opacity,
        looked_at=_looked_at(image, photo, kind),
        few_colours=few is not None,
        warnings=tuple(warnings),
    )


def _reduction_for(side: int, enough_side: int) -> int:
    for reduction in (8, 4, 2):
        if side >= enough_side * reduction:
            return reduction
    return 1


def _looked_at(image: Image.Image, photo: bytes, kind: PhotoFormat) -> str | None:
    """JPEG files hold thumbnails, depth and gain maps beside their picture, and these say nothing of it."""
    count = getattr(image, "n_frames", 1) if kind in ("PNG", "WebP") else 1
    if count > 1:
        return f"the first of the {count} frames of this animation"
    return "one frame of this animation" if is_sequence(photo) else None


def _flattened(image: Image.Image, warnings: list[str]) -> tuple[Image.Image, Image.Image | None]:
    """Without transparency, as RGB, L or CMYK; and how opaque it is, where it is not everywhere the same.

    What is faint all over is looked at as if its most opaque part were opaque.

    Raises:
        FacewrightError: BAD_PHOTO where all of it is transparent.
    """
    if image.mode == "I;16":
        # Converting alone would clip to 8 bits instead of scaling.
        return image.point(lambda level: level * (1 / 256)).convert("L"), None
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        opacity = with_alpha.getchannel("A")
        levels = np.asarray(opacity)
        least, most = int(levels.min()), int(levels.max())
        if most == 0:
            raise FacewrightError(
                ErrorCode.BAD_PHOTO,
                "the photo is transparent all over: nothing is seen in it",
                "save it without transparency (alpha channel), as JPEG for instance",
            )
        if most < FAINT:
            warnings.append(
                f"The photo is nearly transparent all over (alpha {most} of 255 at most): that was taken as "
                "opaque."
            )
        if least == most:
            opaque = with_alpha.convert("RGB")
            return (opaque.getchannel("R") if grey else opaque), None
        if most < 255:
            opacity = opacity.point(lambda level: round(level * 255 / most))
            with_alpha.putalpha(opacity)
        over = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        over.alpha_composite(with_alpha)
        return (over.getchannel("R") if grey else over.convert("RGB")), opacity
    if image.mode in ("RGB", "L", "CMYK"):
        return image, None
    return image.convert("L" if grey else "RGB"), None


def _declared(
    image: Image.Image, photo: bytes, exif: dict[int, Any], heif: HeifHeader | None, warnings: list[str]
) -> bytes | None:
    try:
        return declared_profile(image, photo, exif, heif.nclx if heif else None, warnings)
    except ColourProfileError as error:
        warnings.append(f"The photo's colour space {error}: its colours were taken as sRGB.")
        return None


def _in_colours(
    flat: Image.Image, profile: bytes | None, warnings: list[str]
) -> tuple[Image.Image, ColourTransform | None]:
    """The image as RGB, and what makes sRGB of it. Grey and CMYK become sRGB at once: they are rare."""
    mode: Literal["RGB", "L", "CMYK"] = "CMYK" if flat.mode == "CMYK" else "L" if flat.mode == "L" else "RGB"
    if profile is None:
        if mode == "CMYK":
            warnings.append("The photo is CMYK without a colour profile: its colours are a guess.")
        return flat.convert("RGB"), None
    if mode == "L" and profile_space(profile) == b"RGB ":
        # Editors keep the profile when they take the colour out: each grey is then one of its greys.
        flat, mode = flat.convert("RGB"), "RGB"
    try:
        colours = colour_transform(profile, mode)
    except ColourProfileError as error:
        warnings.append(f"The photo's colour profile {error}: its colours were taken as sRGB.")
        colours = None
    if mode == "RGB":
        return flat, colours
    return (to_srgb(flat, colours) if colours else flat.convert("RGB")), None


def _read_exif(image: Image.Image, told_before: list[WarningMessage], warnings: list[str]) -> dict[int, Any]:
    """The tags that matter, from the main, the Exif and the interoperability directory; what is damaged is
    left out.
    """
    tags: dict[int, Any] = {}
    with _told_by_pillow() as told:
        try:
            exif = image.getexif()
            tags = {**exif, **exif.get_ifd(ExifTags.IFD.Exif), **exif.get_ifd(ExifTags.IFD.Interop)}
            lost = not tags and len(image.info.get("exif") or b"") > _LARGEST_EMPTY_EXIF
        except Exception:  # a damaged EXIF block is no reason to refuse a good photo
            lost = True
    if lost or any("TiffImagePlugin" in message.filename for message in (*told_before, *told)):
        warnings.append("The photo's EXIF data is damaged: orientation and focal length may be unknown.")
    return tags


@contextmanager
def _told_by_pillow() -> Iterator[list[WarningMessage]]:
    """Pillow tells of damaged metadata by Python's warnings, which would go to standard error.

    Python has one list of filters for all threads: ours take turns.
    """
    with _ONE_AT_A_TIME, catch_warnings(record=True) as told:
        simplefilter("always")
        yield told


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
