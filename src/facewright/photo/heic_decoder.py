"""HEIC photos, by libheif: an extra of the package, loaded when the first of them comes."""

from __future__ import annotations

from typing import Any

from PIL import Image

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode


def open_heic(photo: bytes) -> Image.Image:
    """Decode a HEIC file's primary picture, turned and mirrored as the file says, whose Exif then no longer
    does.

    More than 8 bits per channel are reduced to 8. ``info`` has ``exif`` and ``icc_profile`` where the file
    does.

    Args:
        photo: a file that `heif_structure` has passed.

    Raises:
        FacewrightError: BAD_PHOTO where the decoder is not installed.
        OSError, ValueError, RuntimeError, EOFError, SyntaxError: the file is damaged.
    """
    try:
        image: Image.Image = _decoder().open_heif(photo).to_pillow()
    except IndexError as error:
        raise ValueError("there is no picture in it") from error
    return image


def _decoder() -> Any:
    try:
        import pi_heif
    except ImportError as error:
        raise FacewrightError(
            ErrorCode.BAD_PHOTO,
            "the photo is a HEIC picture, and this server was installed without a decoder for it",
            'send it as JPEG, or have the server\'s operator run: pip install "facewright[heif]"',
        ) from error
    # Of the primary picture alone; stages run beside each other, so each keeps to one core.
    pi_heif.options.THUMBNAILS = pi_heif.options.DEPTH_IMAGES = pi_heif.options.AUX_IMAGES = False
    pi_heif.options.DECODE_THREADS = 1
    return pi_heif
