"""Codes of people who were never photographed."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facewright.code.avatar_code import ARRAYS, NO_LATENTS, AvatarCode, Origin, packed_vertices
from facewright.head.head_model import HeadModel

HEAD_SHA256 = "ab" * 32
Floats = NDArray[np.float32]


def code_of(
    head: HeadModel,
    vertices: Floats,
    sh_light: Floats,
    w_plus: Floats = NO_LATENTS,
    colour: tuple[int, int, int] = (200, 150, 130),
    models: dict[str, str] | None = None,
) -> AvatarCode:
    """The code of a person of a form, in a light, of one colour."""
    arrays = {
        array.name: np.zeros([head.vertex_count if size == -1 else size for size in array.shape], array.dtype)
        for array in ARRAYS
    }
    turned = np.concatenate([np.diag([1.0, -1.0, -1.0]), [[0], [0], [1]]], axis=1).astype(np.float32)
    arrays |= {
        "identity_prior": np.ones(arrays["identity_prior"].shape, np.float32),
        "expression_prior": np.ones(arrays["expression_prior"].shape, np.float32),
        "landmark_to_crop": np.eye(3, dtype=np.float32),
        "crop_to_photo": np.eye(3, dtype=np.float32),
        "photo_size": np.array([1024, 1024], np.int32),
        "valid_box": np.array([0, 0, 1024, 1024], np.int32),
        "intrinsics": np.array([[900, 0, 512], [0, 900, 512], [0, 0, 1]], np.float32),
        "head_to_camera": turned,
        "neutral": packed_vertices(vertices),
        "sh_light": sh_light.astype(np.float32),
        "w_plus": w_plus,
    }
    file = io.BytesIO()
    Image.new("RGB", (512, 512), colour).save(file, "JPEG", subsampling=0)
    origin = Origin("avatar_normalized", "1.2", models or {"head.npz": HEAD_SHA256})
    return AvatarCode(origin, HEAD_SHA256, **arrays, texture=file.getvalue())  # type: ignore[arg-type]
