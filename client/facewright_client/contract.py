"""Tensor names, shapes, dtypes, options and error codes of the Facewright service.

The single source of truth (standard library only): the server's stages, every ``config.pbtxt`` and the client
are held to this module by ``tests/contract``. Shapes exclude the batch dimension; -1 is a dimension that
depends on the head model. Frames and units: CONVENTIONS.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


@dataclass(frozen=True)
class Tensor:
    """One named tensor of a model: Triton data type and shape without the batch dimension."""

    name: str
    dtype: str
    shape: tuple[int, ...]


LANDMARKS_COUNT: Final = 478
IDENTITY_SIZE: Final = 160
EXPRESSION_SIZE: Final = 52
CROP_SIZE: Final = 1024
LANDMARK_INPUT_SIZE: Final = 192
MAX_PHOTO_BYTES: Final = 32 * 1024 * 1024  # of an encoded photo

PHOTO: Final = Tensor("PHOTO", "TYPE_UINT8", (-1,))  # encoded bytes: JPEG, PNG or WebP

FACE_CROP: Final = Tensor("FACE_CROP", "TYPE_UINT8", (CROP_SIZE, CROP_SIZE, 3))  # sRGB
CROP_TO_PHOTO: Final = Tensor("CROP_TO_PHOTO", "TYPE_FP32", (3, 3))
LANDMARK_INPUT: Final = Tensor("LANDMARK_INPUT", "TYPE_FP32", (3, LANDMARK_INPUT_SIZE, LANDMARK_INPUT_SIZE))
LANDMARK_TO_CROP: Final = Tensor("LANDMARK_TO_CROP", "TYPE_FP32", (3, 3))  # landmark-input px -> crop px
PERSON_MASK: Final = Tensor("PERSON_MASK", "TYPE_UINT8", (256, 256))  # probability x 255, over FACE_CROP
PHOTO_INFO: Final = Tensor("PHOTO_INFO", "TYPE_UINT8", (-1,))  # JSON: facewright.photo.photo_info

NETWORK_LANDMARKS: Final = Tensor("NETWORK_LANDMARKS", "TYPE_FP32", (LANDMARKS_COUNT, 3))  # input px, z as x
FACE_SCORE: Final = Tensor("FACE_SCORE", "TYPE_FP32", (1,))  # probability that the input shows a face

LANDMARKS: Final = Tensor("LANDMARKS", "TYPE_FP32", (LANDMARKS_COUNT, 2))  # photo pixels
IDENTITY: Final = Tensor("IDENTITY", "TYPE_FP32", (IDENTITY_SIZE,))
EXPRESSION: Final = Tensor("EXPRESSION", "TYPE_FP32", (EXPRESSION_SIZE,))  # ARKit order, 0-1
EYE_ROTATION: Final = Tensor("EYE_ROTATION", "TYPE_FP32", (2, 2))  # left, right: yaw, pitch; radians
INTRINSICS: Final = Tensor("INTRINSICS", "TYPE_FP32", (3, 3))  # crop pixels
HEAD_TO_CAMERA: Final = Tensor("HEAD_TO_CAMERA", "TYPE_FP32", (3, 4))  # [R | t], metres
FITTED_VERTICES: Final = Tensor("FITTED_VERTICES", "TYPE_FP32", (-1, 3))  # head space, with expression
NEUTRAL_VERTICES: Final = Tensor("NEUTRAL_VERTICES", "TYPE_FP32", (-1, 3))  # head space, without expression
FIT_INFO: Final = Tensor("FIT_INFO", "TYPE_UINT8", (-1,))  # JSON, see facewright.fit.fit_head.FitInfo

TEXTURE: Final = Tensor("TEXTURE", "TYPE_UINT8", (-1,))  # encoded sRGB albedo texture, as embedded in the GLB
SH_LIGHT: Final = Tensor("SH_LIGHT", "TYPE_FP32", (9, 3))
TEXTURE_INFO: Final = Tensor(
    "TEXTURE_INFO", "TYPE_UINT8", (-1,)
)  # JSON, see facewright.texture.bake_texture.TextureInfo

GLB: Final = Tensor("GLB", "TYPE_UINT8", (-1,))
REPORT: Final = Tensor("REPORT", "TYPE_UINT8", (-1,))  # JSON
#: 1 when the file is done. For the order alone: steps of an ensemble that run side by side and both fail
#: crash Triton 2.51, so every step waits for the one before.
PACKAGED: Final = Tensor("PACKAGED", "TYPE_UINT8", (1,))
PREVIEW: Final = Tensor("PREVIEW", "TYPE_UINT8", (-1,))  # PNG

FACE_MASK: Final = Tensor("FACE_MASK", "TYPE_UINT8", (256, 256))  # probability of face x 255, over FACE_CROP
W_PLUS: Final = Tensor("W_PLUS", "TYPE_FP32", (14, 512))  # latents of the generator
REFINED_W_PLUS: Final = Tensor("REFINED_W_PLUS", "TYPE_FP32", (14, 512))
REFINED_HEAD_TO_CAMERA: Final = Tensor("REFINED_HEAD_TO_CAMERA", "TYPE_FP32", (3, 4))
REFINED_SH_LIGHT: Final = Tensor("REFINED_SH_LIGHT", "TYPE_FP32", (9, 3))
#: Of each iteration: total, latent, perceptual, identity; the terms before they are weighted.
REFINEMENT_LOSSES: Final = Tensor("REFINEMENT_LOSSES", "TYPE_FP32", (-1, 4))
REFINEMENT_INFO: Final = Tensor(
    "REFINEMENT_INFO", "TYPE_UINT8", (-1,)
)  # JSON, facewright.refine.loop.RefinementInfo
#: How far a refinement is; the tensors above are left out until the last answer.
REFINEMENT_PROGRESS: Final = Tensor("REFINEMENT_PROGRESS", "TYPE_UINT8", (-1,))  # JSON: iteration, losses
REFINEMENT_PREVIEW: Final = Tensor(
    "REFINEMENT_PREVIEW", "TYPE_UINT8", (-1,)
)  # JPEG; empty where none was asked

FIND_FACE: Final = (
    (PHOTO,),
    (FACE_CROP, CROP_TO_PHOTO, LANDMARK_INPUT, LANDMARK_TO_CROP, PERSON_MASK, PHOTO_INFO),
)
FACE_LANDMARKS: Final = ((LANDMARK_INPUT,), (NETWORK_LANDMARKS, FACE_SCORE))
FIT_HEAD: Final = (
    (NETWORK_LANDMARKS, FACE_SCORE, LANDMARK_TO_CROP, CROP_TO_PHOTO, PERSON_MASK, PHOTO_INFO),
    (
        LANDMARKS,
        IDENTITY,
        EXPRESSION,
        EYE_ROTATION,
        INTRINSICS,
        HEAD_TO_CAMERA,
        FITTED_VERTICES,
        NEUTRAL_VERTICES,
        FIT_INFO,
    ),
)
BAKE_TEXTURE: Final = (
    (FACE_CROP, PERSON_MASK, INTRINSICS, HEAD_TO_CAMERA, FITTED_VERTICES, NEUTRAL_VERTICES, FIT_INFO),
    (TEXTURE, SH_LIGHT, TEXTURE_INFO),
)
PACKAGE_AVATAR: Final = (
    (
        NEUTRAL_VERTICES,
        IDENTITY,
        EXPRESSION,
        TEXTURE,
        SH_LIGHT,
        PHOTO_INFO,
        FIT_INFO,
        TEXTURE_INFO,
    ),
    (GLB, REPORT, PACKAGED),
)
RENDER_PREVIEW: Final = (
    (
        FACE_CROP,
        INTRINSICS,
        HEAD_TO_CAMERA,
        FITTED_VERTICES,
        NEUTRAL_VERTICES,
        TEXTURE,
        FIT_INFO,
        PACKAGED,
    ),
    (PREVIEW,),
)

REFINE_LATENT: Final = (
    (FACE_CROP, FACE_MASK, INTRINSICS, HEAD_TO_CAMERA, SH_LIGHT, W_PLUS),
    (REFINED_W_PLUS, REFINED_HEAD_TO_CAMERA, REFINED_SH_LIGHT, REFINEMENT_LOSSES, REFINEMENT_INFO),
)
#: Answers many times for one request: REFINEMENT_PROGRESS and REFINEMENT_PREVIEW now and then, and at last
#: everything that ``refine_latent`` answers.
REFINE_LATENT_PROGRESS: Final = (
    REFINE_LATENT[0],
    (*REFINE_LATENT[1], REFINEMENT_PROGRESS, REFINEMENT_PREVIEW),
)

#: What every ``avatar_*`` ensemble takes and gives; PREVIEW and the tensors cost only when they are asked
#: for.
AVATAR: Final = (
    (PHOTO,),
    (
        GLB,
        REPORT,
        PREVIEW,
        LANDMARKS,
        IDENTITY,
        EXPRESSION,
        EYE_ROTATION,
        INTRINSICS,
        HEAD_TO_CAMERA,
        NEUTRAL_VERTICES,
        SH_LIGHT,
    ),
)

STAGES: Final = {
    "find_face": FIND_FACE,
    "face_landmarks": FACE_LANDMARKS,
    "fit_head": FIT_HEAD,
    "bake_texture": BAKE_TEXTURE,
    "package_avatar": PACKAGE_AVATAR,
    "render_preview": RENDER_PREVIEW,
    "refine_latent": REFINE_LATENT,
    "refine_latent_progress": REFINE_LATENT_PROGRESS,
}


class ErrorCode(StrEnum):
    """Wire form of a failure: ``{"code", "stage", "message", "hint"}`` as JSON in the gRPC status message."""

    BAD_PHOTO = "BAD_PHOTO"
    PHOTO_TOO_LARGE = "PHOTO_TOO_LARGE"
    NO_FACE = "NO_FACE"
    FACE_TOO_SMALL = "FACE_TOO_SMALL"
    BAD_OPTION = "BAD_OPTION"
    OVERLOADED = "OVERLOADED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    ENGINE_MISMATCH = "ENGINE_MISMATCH"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True)
class Option:
    """A request parameter: its type, default, and the values allowed (inclusive range, or a closed set)."""

    kind: type[int] | type[float] | type[bool] | type[str]
    default: int | float | bool | str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[int | str, ...] = ()
    meaning: str = ""


#: Options of ``avatar_twin``. Floats may also travel as decimal strings (Triton's gRPC parameters have no
#: float in older clients).
OPTIONS: Final[dict[str, Option]] = {
    "face_index": Option(
        int, -1, -1, 99, meaning="which face, left to right from 0; -1: largest and most central"
    ),
    "texture_size": Option(int, 1024, choices=(512, 1024, 2048, 4096), meaning="texels per side"),
    "texture_format": Option(str, "jpeg", choices=("jpeg", "webp", "png"), meaning="encoding inside the GLB"),
    "delight": Option(
        float, 0.5, 0.0, 1.0, meaning="share of the estimated lighting divided out of the texture"
    ),
    "lods": Option(int, 0, 0, 2, meaning="how many lower levels of detail the GLB also carries"),
    "visemes": Option(bool, True, meaning="add the 15 Oculus visemes as named morph targets"),
    "focal_px": Option(
        float, 0.0, 0.0, 100000.0, meaning="focal length in photo pixels; 0: from EXIF or estimated"
    ),
    "deadline_ms": Option(
        int, 0, 0, 600000, meaning="give up this long after the server took the photo; 0: never"
    ),
}

#: Options of ``refine_latent``; the loss is eq. 2 of the normalized paper.
REFINE_OPTIONS: Final[dict[str, Option]] = {
    "iterations": Option(int, 200, 1, 2000, meaning="steps of Adam"),
    "learning_rate": Option(float, 0.02, 1e-6, 1.0, meaning="largest step of a latent"),
    "warm_up": Option(float, 0.05, 0.0, 1.0, meaning="share of the iterations in which the rate rises"),
    "ramp_down": Option(float, 0.25, 0.0, 1.0, meaning="share of the iterations in which it falls to 0"),
    "latent_weight": Option(float, 0.02, 0.0, 1e4, meaning="weight of the distance from the start"),
    "perceptual_weight": Option(float, 1.0, 0.0, 1e4, meaning="lambda 1: weight of LPIPS"),
    "identity_weight": Option(float, 0.5, 0.0, 1e4, meaning="lambda 2: weight of the identity distance"),
    "optimize_camera": Option(bool, False, meaning="also turn and move the head"),
    "optimize_light": Option(bool, False, meaning="also change the light"),
    "patience": Option(
        int, 0, 0, 2000, meaning="stop after this many iterations without a better loss; 0: never"
    ),
    "latent_noise": Option(float, 0.0, 0.0, 1.0, meaning="deviation of the noise on the latents at first"),
    "seed": Option(int, 0, 0, 2**31 - 1, meaning="of that noise"),
    "deadline_ms": Option(
        int, 0, 0, 600000, meaning="answer with the best so far this long after the stage began; 0: never"
    ),
    "preview_every": Option(
        int, 10, 0, 2000, meaning="iterations between two pictures of the progress; 0: no pictures"
    ),
}
