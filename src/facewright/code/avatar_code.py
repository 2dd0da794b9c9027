"""What a person's avatar can be made of again, and merged with others, when the photo is gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from facewright.core.arrays import Floats
from facewright.pipelines.tensors import (
    EXPRESSION_PRIOR,
    IDENTITY_PRIOR,
    LANDMARK_BIAS,
    PERSON_MASK,
    SHAPE_DISTANCE,
    TEXEL_CONFIDENCE,
)
from facewright_client.contract import CROP_SIZE, EXPRESSION_SIZE, IDENTITY_SIZE, LANDMARKS_COUNT, W_PLUS

#: Metres that one step of a vertex's coordinate stands for: half of it is the most that is lost.
VERTEX_STEP: Final = 1e-5
#: What a code has of a generator where none took part.
NO_LATENTS: Final = np.zeros(W_PLUS.shape, np.float32)


@dataclass(frozen=True)
class Origin:
    """Where a code comes from.

    Attributes:
        pipeline: that made it.
        version: of Facewright.
        models: weights -> sha256 of the file that took part.
        warnings: the report's, of the photo.
    """

    pipeline: str
    version: str
    models: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class AvatarCode:
    """One photo's face: what was measured, the head and camera that were fitted, the texture.

    Arrays are of the shapes of `ARRAYS`, and finite. Frames and units: CONVENTIONS.md.

    Attributes:
        origin: what made it.
        head_sha256: of the head model's file; 64 hexadecimal digits.
        network_landmarks: f32 ``[478, 3]``, landmark-input pixels.
        face_score: f32 ``[1]``, the network's probability of a face.
        identity_prior: f32 ``[160, 2]``, expression_prior: f32 ``[52, 2]``, landmark_bias: f32 ``[468, 2]``,
            shape_distance: f32 ``[1]``: what was regressed from the face, the tensors of those names.
        landmark_to_crop, crop_to_photo: f32 ``[3, 3]``, similarities.
        photo_size: i32 ``[2]``, width and height of the upright photo, pixels.
        valid_box: i32 ``[4]``, the part of the crop that shows the photo, crop pixels.
        focal_px: f32 ``[2]``, EXIF's focal length and the caller's, photo pixels; 0: unknown.
        intrinsics: f32 ``[3, 3]``, crop pixels.
        head_to_camera: f32 ``[3, 4]``, metres.
        identity: f32 ``[160]``.
        expression: f32 ``[52]``, 0-1.
        eye_rotation: f32 ``[2, 2]``.
        neutral: i16 ``[V, 3]``, the neutral's vertices in steps of `VERTEX_STEP`, corrective field and hair
            included.
        sh_light: f32 ``[9, 3]``, in which the texture shows the photo.
        person: u8 ``[256, 32]``, the person's silhouette over the crop, eight pixels in a byte, the leftmost
            in its highest bit.
        confidence: u8 ``[2, 256, 256]``, how well the photo shows each texel, and its mirror point where that
            stood in.
        w_plus: f32 ``[14, 512]``, latents of the generator that made it; all 0 where none did.
        texture: a JPEG file, sRGB, of a side of `CODE_TEXTURE_SIZES`.
    """

    origin: Origin
    head_sha256: str
    network_landmarks: Floats
    face_score: Floats
    identity_prior: Floats
    expression_prior: Floats
    landmark_bias: Floats
    shape_distance: Floats
    landmark_to_crop: Floats
    crop_to_photo: Floats
    photo_size: NDArray[np.int32]
    valid_box: NDArray[np.int32]
    focal_px: Floats
    intrinsics: Floats
    head_to_camera: Floats
    identity: Floats
    expression: Floats
    eye_rotation: Floats
    neutral: NDArray[np.int16]
    sh_light: Floats
    person: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    w_plus: Floats
    texture: bytes = field(repr=False)

    @property
    def neutral_vertices(self) -> Floats:
        """f32 ``[V, 3]``, metres, head space."""
        vertices: Floats = self.neutral.astype(np.float32) * np.float32(VERTEX_STEP)
        return vertices

    @property
    def person_mask(self) -> NDArray[np.uint8]:
        """u8 ``[256, 256]``: 255 on the person, 0 beside."""
        mask: NDArray[np.uint8] = np.unpackbits(self.person, axis=1) * np.uint8(255)
        return mask


def packed_vertices(vertices: Floats) -> NDArray[np.int16]:
    """Vertices ``[V, 3]``, metres, as a code has them."""
    steps: NDArray[np.int16] = np.clip(np.rint(vertices / VERTEX_STEP), -32767, 32767).astype(np.int16)
    return steps


def packed_person(person_mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A person mask ``[256, 256]`` as a code has it."""
    return np.packbits(person_mask > 127, axis=1)


@dataclass(frozen=True)
class CodeArray:
    """One of a code's arrays.

    Attributes:
        tag: four letters that name it in the file.
        dtype: little endian.
        shape: -1 is any number of rows.
        name: of the attribute of `AvatarCode`.
    """

    tag: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    name: str


def _array(tag: str, dtype: str, shape: tuple[int, ...], name: str) -> CodeArray:
    return CodeArray(tag, np.dtype(dtype), shape, name)


#: In the order of the file.
ARRAYS: Final = (
    _array("LMKS", "<f4", (LANDMARKS_COUNT, 3), "network_landmarks"),
    _array("SCOR", "<f4", (1,), "face_score"),
    _array("IDPR", "<f4", IDENTITY_PRIOR.shape, "identity_prior"),
    _array("EXPP", "<f4", EXPRESSION_PRIOR.shape, "expression_prior"),
    _array("BIAS", "<f4", LANDMARK_BIAS.shape, "landmark_bias"),
    _array("AWAY", "<f4", SHAPE_DISTANCE.shape, "shape_distance"),
    _array("L2CR", "<f4", (3, 3), "landmark_to_crop"),
    _array("C2PH", "<f4", (3, 3), "crop_to_photo"),
    _array("SIZE", "<i4", (2,), "photo_size"),
    _array("VBOX", "<i4", (4,), "valid_box"),
    _array("FOCL", "<f4", (2,), "focal_px"),
    _array("INTR", "<f4", (3, 3), "intrinsics"),
    _array("POSE", "<f4", (3, 4), "head_to_camera"),
    _array("IDEN", "<f4", (IDENTITY_SIZE,), "identity"),
    _array("EXPN", "<f4", (EXPRESSION_SIZE,), "expression"),
    _array("EYES", "<f4", (2, 2), "eye_rotation"),
    _array("NEUT", "<i2", (-1, 3), "neutral"),
    _array("LGHT", "<f4", (9, 3), "sh_light"),
    _array("PERS", "|u1", (PERSON_MASK.shape[0], PERSON_MASK.shape[1] // 8), "person"),
    _array("CONF", "|u1", TEXEL_CONFIDENCE.shape, "confidence"),
    _array("WPLS", "<f4", W_PLUS.shape, "w_plus"),
)


def impossible(code: AvatarCode) -> str:
    """What no face can have of a code's numbers, in words; "" where all are possible.

    A code comes from anywhere: what is computed of it must not be led astray by a single number.
    """
    for array in ARRAYS:
        value = getattr(code, array.name)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return f"{array.tag} holds numbers that are not finite"
    rotation = np.asarray(code.head_to_camera[:, :3], np.float64)
    left, top, right, bottom = map(int, code.valid_box)
    x, y, z = map(float, code.head_to_camera[:, 3])

    def affine(matrix: Floats) -> bool:
        return bool(np.abs(matrix[2] - [0.0, 0.0, 1.0]).max() < 1e-5)

    limits = {
        "LMKS": np.abs(code.network_landmarks).max() < 1e4,
        "SCOR": 0 <= float(code.face_score[0]) <= 1,
        "IDPR": _is_prior(code.identity_prior),
        "EXPP": _is_prior(code.expression_prior),
        "BIAS": np.abs(code.landmark_bias).max() < 100,
        "AWAY": 0 <= float(code.shape_distance[0]) < 1e6,
        "L2CR": affine(code.landmark_to_crop) and np.abs(code.landmark_to_crop).max() < 1e5,
        "C2PH": affine(code.crop_to_photo) and np.abs(code.crop_to_photo).max() < 1e6,
        "SIZE": ((code.photo_size > 0) & (code.photo_size < 1e6)).all(),
        "VBOX": 0 <= left < right <= CROP_SIZE and 0 <= top < bottom <= CROP_SIZE,
        "FOCL": ((code.focal_px >= 0) & (code.focal_px < 1e12)).all(),
        "INTR": affine(code.intrinsics) and code.intrinsics[0, 0] > 1 and np.abs(code.intrinsics).max() < 1e7,
        "POSE": np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-3
        and np.linalg.det(rotation) > 0
        and 0.05 < z < 1e3
        and max(abs(x), abs(y)) < z * 10,
        "IDEN": np.abs(code.identity).max() < 100,
        "EXPN": ((code.expression >= 0) & (code.expression <= 1)).all(),
        "EYES": np.abs(code.eye_rotation).max() < 4,
        "LGHT": np.abs(code.sh_light).max() < 1e4,
        "WPLS": np.abs(code.w_plus).max() < 50,
    }
    wrong = [tag for tag, holds in limits.items() if not holds]
    return f"{', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} no face's" if wrong else ""


def _is_prior(prior: Floats) -> bool:
    """Whether rows are a mean and a standard deviation that a coefficient may have."""
    return bool(np.abs(prior[:, 0]).max() < 100 and prior[:, 1].min() > 1e-6 and prior[:, 1].max() < 100)
