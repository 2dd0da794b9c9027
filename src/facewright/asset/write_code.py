"""Stage ``write_code``: what an avatar was made of, in bytes that make another one without the photo."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image

from facewright.code.avatar_code import TEXTURE_SIZES, Origin
from facewright.code.code_file import MOST_TEXTURE_BYTES
from facewright.core.errors import FacewrightError
from facewright.pipelines.request import Request
from facewright.pipelines.section import Section, merged_warnings
from facewright_client.contract import ErrorCode

#: JPEG's, from the best on, until a texture of noise is small enough, too.
_QUALITIES: Final = (90, 75, 50, 25)


def code_texture(texture: bytes) -> bytes:
    """An avatar's encoded texture as a code has it: as it is where that can be, else as a JPEG of 1024².

    Raises:
        FacewrightError: INTERNAL: it is no picture.
    """
    try:
        with Image.open(io.BytesIO(texture)) as picture:
            fits = picture.format == "JPEG" and picture.width in TEXTURE_SIZES
            if fits and len(texture) <= MOST_TEXTURE_BYTES:
                return texture
            decoded = picture.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise FacewrightError(
            ErrorCode.INTERNAL, f"the texture cannot be decoded: {error}", "an earlier stage made it: report it"
        ) from error
    if decoded.width > TEXTURE_SIZES[-1]:
        decoded = decoded.reduce(decoded.width // TEXTURE_SIZES[-1])
    for quality in _QUALITIES:
        file = io.BytesIO()
        decoded.save(file, "JPEG", quality=quality, subsampling=0)
        if file.tell() <= MOST_TEXTURE_BYTES:
            break
    return file.getvalue()


def code_origin(request: Request, earlier: Sequence[Section]) -> Origin:
    """Where a code comes from, of the request that it is made for and of what the stages before said."""
    made_with = request.provenance
    return Origin(request.pipeline, made_with.version, made_with.models, tuple(merged_warnings(earlier)))


def known_focal(exif_px: float | None, option_px: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Focal lengths as a code has them, f32 ``[2]``: EXIF's and the caller's, 0 where unknown."""
    return np.array([min(exif_px or 0.0, 1e9), option_px], np.float32)
