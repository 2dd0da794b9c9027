"""What a client needs to know of the service: tensors that it sends and gets, limits, error codes.

Standard library only. What passes between stages, and the options of each pipeline, are the server's
(``facewright.pipelines``; docs/pipelines.md lists the options). Shapes exclude the batch dimension; -1 is a
dimension that depends on the head model. Frames and units: CONVENTIONS.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


@dataclass(frozen=True)
class Tensor:
    """One named tensor of a model: Triton data type and shape without the batch dimension.

    ``optional`` belongs to a place, not to the tensor: a model may do without it.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    optional: bool = field(default=False, compare=False)


LANDMARKS_COUNT: Final = 478
IDENTITY_SIZE: Final = 160
EXPRESSION_SIZE: Final = 52
CROP_SIZE: Final = 1024
MAX_PHOTO_BYTES: Final = 32 * 1024 * 1024  # of an encoded photo
#: What an encoded photo may be, in words; for HEIC the server needs its extra `heif`.
PHOTO_FORMATS: Final = "JPEG, PNG, WebP, AVIF or HEIC"
CODE_MAGIC: Final = b"FWCODE\r\n"  # how every code begins
MAX_CODE_BYTES: Final = 2 * 1024 * 1024
MAX_CODES: Final = 8  # of one person in one request
AVATAR_PIPELINE: Final = "avatar_twin"  # that a client asks for where it names none
#: What makes one avatar of CODES, and those of a photo's options that it has, too.
MERGE_PIPELINE: Final = "merge_avatars"
MERGE_OPTIONS: Final = ("texture_size", "texture_format", "lods", "visemes")

#: What makes an avatar between those of CODES, and what shows one in another light.
INTERPOLATE_PIPELINE: Final = "interpolate_avatars"
RELIGHT_PIPELINE: Final = "relight_avatar"

PHOTO: Final = Tensor("PHOTO", "TYPE_UINT8", (-1,))  # encoded bytes: PHOTO_FORMATS

LANDMARKS: Final = Tensor("LANDMARKS", "TYPE_FP32", (LANDMARKS_COUNT, 2))  # photo pixels
IDENTITY: Final = Tensor("IDENTITY", "TYPE_FP32", (IDENTITY_SIZE,))
EXPRESSION: Final = Tensor("EXPRESSION", "TYPE_FP32", (EXPRESSION_SIZE,))  # ARKit order, 0-1
EYE_ROTATION: Final = Tensor("EYE_ROTATION", "TYPE_FP32", (2, 2))  # left, right: yaw, pitch; radians
INTRINSICS: Final = Tensor("INTRINSICS", "TYPE_FP32", (3, 3))  # crop pixels
HEAD_TO_CAMERA: Final = Tensor("HEAD_TO_CAMERA", "TYPE_FP32", (3, 4))  # [R | t], metres
NEUTRAL_VERTICES: Final = Tensor("NEUTRAL_VERTICES", "TYPE_FP32", (-1, 3))  # head space, without expression
SH_LIGHT: Final = Tensor("SH_LIGHT", "TYPE_FP32", (9, 3))  # texture x this light is the photo

GLB: Final = Tensor("GLB", "TYPE_UINT8", (-1,))
REPORT: Final = Tensor("REPORT", "TYPE_UINT8", (-1,))  # JSON
PREVIEW: Final = Tensor("PREVIEW", "TYPE_UINT8", (-1,))  # PNG
#: What an avatar was made of, without the photo: biometric data all the same. docs/avatar_code.md.
CODE: Final = Tensor("CODE", "TYPE_UINT8", (-1,))
#: Codes of one person's photos, one after the other: each says in its header how long it is.
CODES: Final = Tensor("CODES", "TYPE_UINT8", (-1,))

#: What every ``avatar_*`` pipeline gives for a PHOTO, and ours CODE, too; PREVIEW, CODE and the tensors cost
#: only when they are asked for.
AVATAR_OUTPUTS: Final = (
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
)

#: What ``relight_avatar`` takes beside CODES, one of them or none, and gives.
LIGHT: Final = Tensor("LIGHT", "TYPE_FP32", (9, 3))  # SH, convolved with the cosine lobe, head space
ENVIRONMENT: Final = Tensor("ENVIRONMENT", "TYPE_UINT8", (-1,))  # an encoded equirectangular picture
PICTURE: Final = Tensor("PICTURE", "TYPE_UINT8", (-1,))  # PNG
RELIT_TEXTURE: Final = Tensor("RELIT_TEXTURE", "TYPE_UINT8", (-1,))  # PNG: the texture times the light

FACE_CROP: Final = Tensor("FACE_CROP", "TYPE_UINT8", (CROP_SIZE, CROP_SIZE, 3))  # sRGB
FACE_MASK: Final = Tensor("FACE_MASK", "TYPE_UINT8", (256, 256))  # probability of face x 255, over FACE_CROP
W_PLUS: Final = Tensor("W_PLUS", "TYPE_FP32", (14, 512))  # latents of the generator
REFINED_W_PLUS: Final = Tensor("REFINED_W_PLUS", "TYPE_FP32", (14, 512))
REFINED_HEAD_TO_CAMERA: Final = Tensor("REFINED_HEAD_TO_CAMERA", "TYPE_FP32", (3, 4))
REFINED_SH_LIGHT: Final = Tensor("REFINED_SH_LIGHT", "TYPE_FP32", (9, 3))
#: Of each iteration: total, latent, perceptual, identity; the terms before they are weighted.
REFINEMENT_LOSSES: Final = Tensor("REFINEMENT_LOSSES", "TYPE_FP32", (-1, 4))
REFINEMENT_INFO: Final = Tensor("REFINEMENT_INFO", "TYPE_UINT8", (-1,))  # JSON: refine.service.RefinementInfo
#: How far a refinement is; the tensors above are left out until the last answer.
REFINEMENT_PROGRESS: Final = Tensor("REFINEMENT_PROGRESS", "TYPE_UINT8", (-1,))  # JSON: iteration, losses
REFINEMENT_PREVIEW: Final = Tensor(
    "REFINEMENT_PREVIEW", "TYPE_UINT8", (-1,)
)  # JPEG; empty where none was asked

#: What ``refine_latent`` takes and gives; ``refine_latent_progress`` answers many times for one request:
#: REFINEMENT_PROGRESS and REFINEMENT_PREVIEW now and then, and at last all that ``refine_latent`` gives.
REFINEMENT_INPUTS: Final = (FACE_CROP, FACE_MASK, INTRINSICS, HEAD_TO_CAMERA, SH_LIGHT, W_PLUS)
REFINEMENT_OUTPUTS: Final = (
    REFINED_W_PLUS,
    REFINED_HEAD_TO_CAMERA,
    REFINED_SH_LIGHT,
    REFINEMENT_LOSSES,
    REFINEMENT_INFO,
)

#: A request parameter of streams, true: before the answers comes one without tensors for each stage that
#: begins, which has the stage's name as the other parameter. A stage begins twice where it is done again.
PROGRESS_PARAMETER: Final = "progress"
STAGE_PARAMETER: Final = "facewright_stage"


class ErrorCode(StrEnum):
    """Wire form of a failure: ``{"code", "stage", "message", "hint"}`` as JSON in the gRPC status message."""

    BAD_PHOTO = "BAD_PHOTO"
    PHOTO_TOO_LARGE = "PHOTO_TOO_LARGE"
    NO_FACE = "NO_FACE"
    FACE_TOO_SMALL = "FACE_TOO_SMALL"
    BAD_CODE = "BAD_CODE"
    BAD_OPTION = "BAD_OPTION"
    OVERLOADED = "OVERLOADED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    ENGINE_MISMATCH = "ENGINE_MISMATCH"
    INTERNAL = "INTERNAL"
    #: Of the front door, never of a stage.
    BAD_REQUEST = "BAD_REQUEST"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    UNAVAILABLE = "UNAVAILABLE"


#: Those that a stage gives.
STAGE_ERRORS: Final = tuple(
    code
    for code in ErrorCode
    if code not in (ErrorCode.BAD_REQUEST, ErrorCode.UNAUTHENTICATED, ErrorCode.UNAVAILABLE)
)
