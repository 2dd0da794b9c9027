"""``avatar_twin``: photo to a rigged head on open weights alone.

Wang et al. 2019, "Digital Twin: Acquiring High-Fidelity 3D Avatar from a Single Image"; where the stages
differ from it stands beside their code. Its stages are also those that other pipelines begin and end with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from facewright.core.options import Option
from facewright.pipelines import tensors
from facewright.pipelines.stages import Network, Pipeline, Stage, Weights
from facewright_client import contract

HEAD: Final = Weights("head.npz", "CC0-1.0 AND MIT")

FIND_FACE: Final = Stage(
    "find_face",
    (contract.PHOTO,),
    (
        contract.FACE_CROP,
        tensors.CROP_TO_PHOTO,
        tensors.LANDMARK_INPUT,
        tensors.LANDMARK_TO_CROP,
        tensors.PERSON_MASK,
        tensors.PHOTO_INFO,
    ),
    options=("face_index",),
    opens=True,
    runs_networks=True,
    expected_s=0.06,
    weights=(
        Weights("face_detector.onnx", "Apache-2.0"),
        Weights("face_landmarks_fast.onnx", "Apache-2.0"),
        Weights("person_mask.onnx", "Apache-2.0"),
    ),
)
FACE_LANDMARKS: Final = Network(
    "face_landmarks",
    (tensors.LANDMARK_INPUT,),
    (tensors.NETWORK_LANDMARKS, tensors.FACE_SCORE),
    expected_s=0.02,
    weights=(Weights("face_landmarks.onnx", "Apache-2.0"),),
)
FACE_SHAPE: Final = Network(
    "face_shape",
    (tensors.NETWORK_LANDMARKS,),
    (tensors.IDENTITY_PRIOR, tensors.EXPRESSION_PRIOR, tensors.LANDMARK_BIAS, tensors.SHAPE_DISTANCE),
    expected_s=0.003,
    weights=(Weights("face_shape.onnx", "Apache-2.0"),),
)
#: All that a fit is given of one photo: what `fit_head` takes, and what a code keeps to fit again.
OBSERVED: Final = (
    tensors.NETWORK_LANDMARKS,
    tensors.FACE_SCORE,
    tensors.IDENTITY_PRIOR,
    tensors.EXPRESSION_PRIOR,
    tensors.LANDMARK_BIAS,
    tensors.SHAPE_DISTANCE,
    tensors.LANDMARK_TO_CROP,
    tensors.CROP_TO_PHOTO,
    tensors.PERSON_MASK,
    tensors.PHOTO_INFO,
)
FIT_HEAD: Final = Stage(
    "fit_head",
    OBSERVED,
    (
        contract.LANDMARKS,
        contract.IDENTITY,
        contract.EXPRESSION,
        contract.EYE_ROTATION,
        contract.INTRINSICS,
        contract.HEAD_TO_CAMERA,
        tensors.FITTED_VERTICES,
        contract.NEUTRAL_VERTICES,
        tensors.FIT_INFO,
    ),
    options=("focal_px",),
    expected_s=0.04,
    weights=(HEAD,),
)
BAKE_TEXTURE: Final = Stage(
    "bake_texture",
    (
        contract.FACE_CROP,
        tensors.PERSON_MASK,
        contract.INTRINSICS,
        contract.HEAD_TO_CAMERA,
        tensors.FITTED_VERTICES,
        contract.NEUTRAL_VERTICES,
        tensors.PHOTO_INFO,
        tensors.FIT_INFO,
        # One of them in pipelines with a network that makes it.
        replace(tensors.ALBEDO_MAP, optional=True),
        replace(tensors.DETAILED_ALBEDO, optional=True),
    ),
    (tensors.TEXTURE, tensors.TEXEL_CONFIDENCE, contract.SH_LIGHT),
    options=("texture_size", "texture_format"),
    may_read=("delight", "detail"),
    # More than half of a request's time: with one instance a core would idle.
    instances_per_two_cores=2,
    expected_s=0.15,
    weights=(HEAD,),
)
PACKAGE_AVATAR: Final = Stage(
    "package_avatar",
    (contract.NEUTRAL_VERTICES, tensors.TEXTURE),
    (contract.GLB, contract.REPORT),
    options=("lods", "visemes"),
    expected_s=0.02,
    weights=(HEAD,),
)
#: Before the preview, so that asking for a code draws none; whoever wants a preview waits 10 ms for its code.
WRITE_CODE: Final = Stage(
    "write_code",
    (
        *OBSERVED,
        contract.IDENTITY,
        contract.EXPRESSION,
        contract.EYE_ROTATION,
        contract.INTRINSICS,
        contract.HEAD_TO_CAMERA,
        contract.NEUTRAL_VERTICES,
        contract.SH_LIGHT,
        tensors.TEXTURE,
        tensors.TEXEL_CONFIDENCE,
        replace(contract.REFINED_W_PLUS, optional=True),  # of pipelines with a generator
    ),
    (contract.CODE,),
    options=("focal_px",),
    expected_s=0.01,
    weights=(HEAD,),
)
RENDER_PREVIEW: Final = Stage(
    "render_preview",
    (
        replace(contract.FACE_CROP, optional=True),  # without a photo, as of codes, the sheet shows profiles
        contract.INTRINSICS,
        contract.HEAD_TO_CAMERA,
        tensors.FITTED_VERTICES,
        contract.NEUTRAL_VERTICES,
        tensors.TEXTURE,
    ),
    (contract.PREVIEW,),
    expected_s=0.4,
    weights=(HEAD,),
)

#: Options that every pipeline from one photo has.
PHOTO_OPTIONS: Final[Mapping[str, Option]] = {
    "face_index": Option(
        int, -1, -1, 99, meaning="which face, left to right from 0; -1: largest and most central"
    ),
    "focal_px": Option(
        float, 0.0, 0.0, 100000.0, meaning="focal length in photo pixels; 0: from EXIF or estimated"
    ),
    "deadline_ms": Option(
        int, 0, 0, 600000, meaning="give up this long after the server took the photo; 0: never"
    ),
}
#: Options of the file that comes out.
FILE_OPTIONS: Final[Mapping[str, Option]] = {
    "texture_size": Option(int, 1024, choices=(512, 1024, 2048, 4096), meaning="texels per side"),
    "texture_format": Option(str, "jpeg", choices=("jpeg", "webp", "png"), meaning="encoding inside the GLB"),
    "delight": Option(
        float, 0.5, 0.0, 1.0, meaning="share of the estimated lighting divided out of the texture"
    ),
    "lods": Option(int, 0, 0, 2, meaning="how many lower levels of detail the GLB also carries"),
    "visemes": Option(bool, True, meaning="add the 15 Oculus visemes as named morph targets"),
}

AVATAR_TWIN: Final = Pipeline(
    "avatar_twin",
    (
        FIND_FACE,
        FACE_LANDMARKS,
        FACE_SHAPE,
        FIT_HEAD,
        BAKE_TEXTURE,
        PACKAGE_AVATAR,
        WRITE_CODE,
        RENDER_PREVIEW,
    ),
    {**PHOTO_OPTIONS, **FILE_OPTIONS},
    gives=(*contract.AVATAR_OUTPUTS, contract.CODE),
    summary="A rigged head by landmarks, Gauss-Newton and the photo's own texels, on open weights.",
)
