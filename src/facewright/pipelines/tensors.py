"""Tensors between stages. Those that clients see are in ``facewright_client.contract``.

Files and JSON travel as bytes; arrays have fixed shapes, V of the head model among them, written -1.
"""

from __future__ import annotations

from typing import Final

from facewright_client.contract import EXPRESSION_SIZE, IDENTITY_SIZE, LANDMARKS_COUNT, Tensor

LANDMARK_INPUT_SIZE: Final = 192
#: Landmarks of the face's mesh; those behind them are the irises'.
MESH_COUNT: Final = 468

CROP_TO_PHOTO: Final = Tensor("CROP_TO_PHOTO", "TYPE_FP32", (3, 3))
LANDMARK_INPUT: Final = Tensor("LANDMARK_INPUT", "TYPE_FP32", (3, LANDMARK_INPUT_SIZE, LANDMARK_INPUT_SIZE))
LANDMARK_TO_CROP: Final = Tensor("LANDMARK_TO_CROP", "TYPE_FP32", (3, 3))  # landmark-input px -> crop px
PERSON_MASK: Final = Tensor("PERSON_MASK", "TYPE_UINT8", (256, 256))  # probability x 255, over FACE_CROP
PHOTO_INFO: Final = Tensor("PHOTO_INFO", "TYPE_UINT8", (-1,))  # JSON: photo.photo_info.PhotoInfo

NETWORK_LANDMARKS: Final = Tensor("NETWORK_LANDMARKS", "TYPE_FP32", (LANDMARKS_COUNT, 3))  # input px, z as x
FACE_SCORE: Final = Tensor("FACE_SCORE", "TYPE_FP32", (1,))  # probability that the input shows a face

#: Mean and standard deviation of each coefficient, regressed; and how far the face is from those of training.
IDENTITY_PRIOR: Final = Tensor("IDENTITY_PRIOR", "TYPE_FP32", (IDENTITY_SIZE, 2))
EXPRESSION_PRIOR: Final = Tensor("EXPRESSION_PRIOR", "TYPE_FP32", (EXPRESSION_SIZE, 2))
LANDMARK_BIAS: Final = Tensor("LANDMARK_BIAS", "TYPE_FP32", (MESH_COUNT, 2))  # input px, found minus true
SHAPE_DISTANCE: Final = Tensor("SHAPE_DISTANCE", "TYPE_FP32", (1,))  # 1: as one in a thousand of training

FITTED_VERTICES: Final = Tensor("FITTED_VERTICES", "TYPE_FP32", (-1, 3))  # head space, with expression
FIT_INFO: Final = Tensor("FIT_INFO", "TYPE_UINT8", (-1,))  # JSON: fit.fit_info.FitInfo

#: Another model's head, its unit and frame: as the photo shows it, at rest, and how the first is seen.
SOURCE_VERTICES: Final = Tensor("SOURCE_VERTICES", "TYPE_FP32", (-1, 3))
SOURCE_NEUTRAL_VERTICES: Final = Tensor("SOURCE_NEUTRAL_VERTICES", "TYPE_FP32", (-1, 3))
SOURCE_TO_CAMERA: Final = Tensor("SOURCE_TO_CAMERA", "TYPE_FP32", (3, 4))  # to camera space, metres

#: How well the photo shows each texel, and its mirror point where that stands in: probability x cosine x 255.
TEXEL_CONFIDENCE: Final = Tensor("TEXEL_CONFIDENCE", "TYPE_UINT8", (2, 256, 256))
#: Of the rerenderable pipeline's maps in the head's UV. Colours are sRGB-encoded, 0-1; the light is linear.
UV_MAP_SIZE: Final = 256
VERTEX_ALBEDO: Final = Tensor("VERTEX_ALBEDO", "TYPE_FP32", (-1, 3))  # linear, of the head's vertices
UV_TEXTURE: Final = Tensor("UV_TEXTURE", "TYPE_FP32", (3, UV_MAP_SIZE, UV_MAP_SIZE))  # noise where unseen
PRIOR_ALBEDO: Final = Tensor("PRIOR_ALBEDO", "TYPE_FP32", (3, UV_MAP_SIZE, UV_MAP_SIZE))
DETAILED_ALBEDO: Final = Tensor("DETAILED_ALBEDO", "TYPE_FP32", (3, UV_MAP_SIZE, UV_MAP_SIZE))
#: Red's nine coefficients, green's, blue's, of each texel: their value at its normal x DETAILED_ALBEDO is the
#: photo where that shows skin, both in linear light.
SH_LIGHT_MAP: Final = Tensor("SH_LIGHT_MAP", "TYPE_FP32", (27, UV_MAP_SIZE, UV_MAP_SIZE))
#: Sides that the texture in a CODE may have.
CODE_TEXTURE_SIZES: Final = (512, 1024)
TEXTURE: Final = Tensor("TEXTURE", "TYPE_UINT8", (-1,))  # encoded sRGB albedo texture, as embedded in the GLB

#: What a person is told from others by.
EMBEDDING: Final = Tensor("EMBEDDING", "TYPE_FP32", (512,))
#: Linear albedo of the skin over the open head's UV, of a network: what colours are at large.
ALBEDO_MAP: Final = Tensor("ALBEDO_MAP", "TYPE_FP32", (3, 256, 256))
FIT_NEUTRAL_VERTICES: Final = Tensor("FIT_NEUTRAL_VERTICES", "TYPE_FP32", (-1, 3))  # the fit's, head space
PHOTO_LIGHT: Final = Tensor("PHOTO_LIGHT", "TYPE_FP32", (9, 3))  # SH of all of the photo's light, head space
#: Rows, columns and channels of the images that published networks take, by their aligners' names.
ALIGNED_SHAPES: Final = {
    "facenet": (160, 160, 3),
    "arcface": (112, 112, 3),
    "light_cnn": (128, 128, 1),
    "deep3d": (224, 224, 3),
    "deca": (224, 224, 3),
    "bisenet": (512, 512, 3),
    "pspnet": (473, 473, 3),
    "ffhq": (256, 256, 3),
}
#: FACENET_IMAGE and so on: sRGB, or grey, by the recipe of that name (``photo.aligned_face``).
ALIGNED_IMAGES: Final = {
    name: Tensor(f"{name.upper()}_IMAGE", "TYPE_UINT8", shape) for name, shape in ALIGNED_SHAPES.items()
}
#: CROP_TO_FACENET and so on: crop pixels to pixels of that image, homogeneous.
CROP_TO_ALIGNED: Final = {
    name: Tensor(f"CROP_TO_{name.upper()}", "TYPE_FP32", (3, 3)) for name in ALIGNED_SHAPES
}
