"""The texture as it is embedded in the GLB: JPEG, WebP or PNG bytes."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

#: Pillow's arguments for each ``texture_format``. Chroma is not subsampled in JPEG: at half resolution the
#: lips' red and the irises' colour bleed over island borders. WebP effort 2 and PNG level 3 are where more
#: time stops buying much size (1024²: WebP 40 ms, PNG 80 ms; JPEG 4 ms).
_SAVE = {
    "jpeg": {"format": "JPEG", "quality": 90, "subsampling": 0},
    "webp": {"format": "WEBP", "quality": 90, "method": 2},
    "png": {"format": "PNG", "compress_level": 3},
}


def encode_texture(texture: NDArray[np.uint8], texture_format: str) -> bytes:
    """sRGB u8 ``[S, S, 3]`` → file bytes without metadata (the bytes depend on the texels alone).

    Raises:
        FacewrightError: BAD_OPTION for another format than jpeg, webp and png.
    """
    arguments = _SAVE.get(texture_format)
    if arguments is None:
        raise FacewrightError(
            ErrorCode.BAD_OPTION, f"texture_format is {texture_format!r}", f"use one of {', '.join(_SAVE)}"
        )
    buffer = io.BytesIO()
    Image.fromarray(texture).save(buffer, **arguments)  # type: ignore[arg-type]
    return buffer.getvalue()
