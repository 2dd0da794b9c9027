"""Stage ``write_code``: what an avatar was made of, in bytes that make another one without the photo."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from PIL import Image

from facewright.code.avatar_code import Origin
from facewright.code.code_file import MOST_TEXTURE_BYTES
from facewright.core.errors import FacewrightError
from facewright.photo.photo_info import PhotoInfo
from facewright.pipelines.request import Request
from facewright.pipelines.section import Section, merged_warnings
from facewright.pipelines.tensors import CODE_TEXTURE_SIZES
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
            fits = picture.format == "JPEG" and picture.width in CODE_TEXTURE_SIZES
            if fits and len(texture) <= MOST_TEXTURE_BYTES:
                return texture
            decoded = picture.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise FacewrightError(
            ErrorCode.INTERNAL,
            f"the texture cannot be decoded: {error}",
            "an earlier stage made it: report it",
        ) from error
    if decoded.width > CODE_TEXTURE_SIZES[-1]:
        decoded = decoded.reduce(decoded.width // CODE_TEXTURE_SIZES[-1])
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


def photo_numbers(info: PhotoInfo, focal_px: float) -> dict[str, Any]:
    """What a code has of a photo's size and focal length: fields of `AvatarCode`.

    Args:
        info: of the photo.
        focal_px: the caller's, photo pixels; 0: unknown.
    """
    return {
        "photo_size": np.array([info.photo_width, info.photo_height], np.int32),
        "valid_box": np.array(info.crop_valid_box, np.int32),
        "focal_px": np.array([min(info.focal_px or 0.0, 1e9), focal_px], np.float32),
    }
