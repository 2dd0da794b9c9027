"""A shaded face over the photo it was fitted to, as a viewer sees it: in sRGB, under a face mask.

Two steps, so that silhouettes can be antialiased between them without touching the photo: `face_layer` makes
colours and coverage of the face alone, `photo_composite` lays them over the photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facewright_kernels._runtime.boundary import Boundary, Float64Array, FloatArray, IntArray, array_module
from facewright_kernels._runtime.kernel_source import KernelSource

_SOURCE = KernelSource("photo_composite")


@dataclass(frozen=True)
class FaceLayerGradients:
    """Gradients of :func:`face_layer`.

    Attributes:
        albedo, shading: f32 ``[B, H, W, 3]``.
    """

    albedo: FloatArray
    shading: FloatArray


def face_layer(albedo: FloatArray, shading: FloatArray, triangle_id: IntArray) -> FloatArray:
    """Colour and coverage of a face: ``sRGB(albedo · shading), 1`` where a triangle is seen, else 0.

    Nothing is clamped, so that an overexposed face still has a gradient: the sRGB function goes on beyond 1,
    and by its linear part below 0.

    Args:
        albedo, shading: f32 ``[B, H, W, 3]``, linear light.
        triangle_id: i32 ``[B, H, W]``, of :func:`facewright_kernels.rasterize`.

    Returns:
        f32 ``[B, H, W, 4]``: sRGB values times coverage, coverage.

    Raises:
        ValueError: wrong shape or dtype, mixed devices.
    """
    albedo, shading, triangle_id = _checked(Boundary("face_layer"), albedo, shading, triangle_id)
    layer: FloatArray = array_module(albedo).empty((*triangle_id.shape, 4), np.float32)
    _SOURCE.launch("face_layer", triangle_id.size, albedo, shading, triangle_id, layer, triangle_id.size)
    return layer


def face_layer_vjp(
    albedo: FloatArray, shading: FloatArray, triangle_id: IntArray, grad_layer: FloatArray
) -> FaceLayerGradients:
    """Gradient of :func:`face_layer` by albedo and shading; coverage is a constant.

    Args:
        albedo, shading, triangle_id: as in the forward call.
        grad_layer: f32 ``[B, H, W, 4]``.

    Raises:
        ValueError: wrong shape or dtype, mixed devices.
    """
    check = Boundary("face_layer_vjp")
    albedo, shading, triangle_id = _checked(check, albedo, shading, triangle_id)
    grad_layer = check.array("grad_layer", grad_layer, "float32", "B H W 4")
    xp = array_module(albedo)
    gradients = FaceLayerGradients(xp.empty(albedo.shape, np.float32), xp.empty(albedo.shape, np.float32))
    _SOURCE.launch(
        "face_layer_vjp",
        triangle_id.size,
        albedo,
        shading,
        triangle_id,
        grad_layer,
        gradients.albedo,
        gradients.shading,
        triangle_id.size,
    )
    return gradients


def photo_composite(layer: FloatArray, photo: FloatArray, face_mask: FloatArray) -> FloatArray:
    """``photo + m (colour − coverage · photo)``, m the face mask: I₀ of normalized §3.3, eq. 2.

    Args:
        layer: f32 ``[B, H, W, 4]``, of :func:`face_layer`, antialiased or not.
        photo: f32 ``[B, 3, H, W]``, sRGB values 0–1; channels first, as networks take images.
        face_mask: f32 ``[B, H, W]``, 0–1. Where it is 0 the photo is untouched, whatever the layer holds.

    Returns:
        f32 ``[B, 3, H, W]``, sRGB values.

    Raises:
        ValueError: wrong shape or dtype, mixed devices.
    """
    check = Boundary("photo_composite")
    layer = check.array("layer", layer, "float32", "B H W 4")
    photo = check.array("photo", photo, "float32", "B 3 H W")
    face_mask = check.array("face_mask", face_mask, "float32", "B H W")
    image: FloatArray = array_module(photo).empty(photo.shape, np.float32)
    pixels = face_mask.size
    _SOURCE.launch(
        "photo_composite",
        pixels,
        layer,
        photo,
        face_mask,
        image,
        pixels,
        max(check.size("H") * check.size("W"), 1),
    )
    return image


def photo_composite_vjp(photo: FloatArray, face_mask: FloatArray, grad_image: FloatArray) -> FloatArray:
    """Gradient of :func:`photo_composite` by the layer; photo and mask are constants.

    Args:
        photo, face_mask: as in the forward call.
        grad_image: f32 ``[B, 3, H, W]``.

    Returns:
        f32 ``[B, H, W, 4]``.

    Raises:
        ValueError: wrong shape or dtype, mixed devices.
    """
    check = Boundary("photo_composite_vjp")
    photo = check.array("photo", photo, "float32", "B 3 H W")
    face_mask = check.array("face_mask", face_mask, "float32", "B H W")
    grad_image = check.array("grad_image", grad_image, "float32", "B 3 H W")
    grad_layer: FloatArray = array_module(photo).empty((*face_mask.shape, 4), np.float32)
    pixels = face_mask.size
    _SOURCE.launch(
        "photo_composite_vjp",
        pixels,
        photo,
        face_mask,
        grad_image,
        grad_layer,
        pixels,
        max(check.size("H") * check.size("W"), 1),
    )
    return grad_layer


def _checked(
    check: Boundary, albedo: FloatArray, shading: FloatArray, triangle_id: IntArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    albedo = check.array("albedo", albedo, "float32", "B H W 3")
    shading = check.array("shading", shading, "float32", "B H W 3")
    triangle_id = check.array("triangle_id", triangle_id, "int32", "B H W")
    return albedo, shading, triangle_id


def face_layer_reference(albedo: Float64Array, shading: Float64Array, triangle_id: IntArray) -> Float64Array:
    """:func:`face_layer` in float64 (transfer function: IEC 61966-2-1)."""
    radiance = albedo * shading
    curve = 1.055 * np.maximum(radiance, 0.0031308) ** (1 / 2.4) - 0.055
    colour = np.where(radiance <= 0.0031308, 12.92 * radiance, curve)
    layer = np.concatenate([colour, np.ones((*colour.shape[:-1], 1))], axis=-1)
    return np.asarray(np.where((triangle_id >= 0)[..., None], layer, 0), np.float64)


def face_layer_vjp_reference(
    albedo: Float64Array, shading: Float64Array, triangle_id: IntArray, grad_layer: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Gradients by albedo and shading in float64: the chain rule on :func:`face_layer_reference`."""
    radiance = albedo * shading
    curve = 1.055 / 2.4 * np.maximum(radiance, 0.0031308) ** (1 / 2.4 - 1)
    slope = np.where(radiance <= 0.0031308, 12.92, curve) * (triangle_id >= 0)[..., None]
    by_light = grad_layer[..., :3] * slope
    return np.asarray(by_light * shading, np.float64), np.asarray(by_light * albedo, np.float64)


def photo_composite_reference(
    layer: Float64Array, photo: Float64Array, face_mask: Float64Array
) -> Float64Array:
    """:func:`photo_composite` in float64 (normalized §3.3)."""
    colour, coverage = np.moveaxis(layer[..., :3], -1, 1), layer[:, None, ..., 3]
    return np.asarray(photo + face_mask[:, None] * (colour - coverage * photo), np.float64)


def photo_composite_vjp_reference(
    photo: Float64Array, face_mask: Float64Array, grad_image: Float64Array
) -> Float64Array:
    """Gradient by the layer in float64: the transpose of :func:`photo_composite_reference`."""
    by_colour = face_mask[:, None] * grad_image
    by_coverage = -(by_colour * photo).sum(axis=1)
    return np.asarray(np.concatenate([np.moveaxis(by_colour, 1, -1), by_coverage[..., None]], -1), np.float64)
