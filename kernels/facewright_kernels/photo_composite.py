"""A shaded face over the photo it was fitted to, as a viewer sees it: in sRGB, under a face mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facewright_kernels.boundary import Boundary, Float64Array, FloatArray, IntArray, array_module
from facewright_kernels.kernel_source import KernelSource

_SOURCE = KernelSource("photo_composite")


@dataclass(frozen=True)
class PhotoCompositeGradients:
    """Gradients of :func:`photo_composite`.

    Attributes:
        albedo, shading: f32 ``[B, H, W, 3]``.
    """

    albedo: FloatArray
    shading: FloatArray


def photo_composite(
    albedo: FloatArray,
    shading: FloatArray,
    triangle_id: IntArray,
    photo: FloatArray,
    face_mask: FloatArray,
) -> FloatArray:
    """``photo + m (sRGB(albedo · shading) − photo)``, m the face mask where a triangle is seen, else 0
    (I₀ of normalized §3.3, eq. 2).

    Nothing is clamped, so that an overexposed face still has a gradient: the sRGB function goes on beyond 1,
    and by its linear part below 0.

    Args:
        albedo, shading: f32 ``[B, H, W, 3]``, linear light.
        triangle_id: i32 ``[B, H, W]``, of :func:`facewright_kernels.rasterize`.
        photo: f32 ``[B, H, W, 3]``, sRGB values 0–1.
        face_mask: f32 ``[B, H, W]``, 0–1.

    Returns:
        f32 ``[B, H, W, 3]``, sRGB values.

    Raises:
        ValueError: wrong shape or dtype, mixed devices.
    """
    check = Boundary("photo_composite")
    albedo = check.array("albedo", albedo, "float32", "B H W 3")
    shading = check.array("shading", shading, "float32", "B H W 3")
    triangle_id = check.array("triangle_id", triangle_id, "int32", "B H W")
    photo = check.array("photo", photo, "float32", "B H W 3")
    face_mask = check.array("face_mask", face_mask, "float32", "B H W")
    image: FloatArray = array_module(photo).empty(photo.shape, np.float32)
    pixels = triangle_id.size
    _SOURCE.launch("photo_composite", pixels, albedo, shading, triangle_id, photo, face_mask, image, pixels)
    return image


def photo_composite_vjp(
    albedo: FloatArray,
    shading: FloatArray,
    triangle_id: IntArray,
    face_mask: FloatArray,
    grad_image: FloatArray,
) -> PhotoCompositeGradients:
    """Gradient of :func:`photo_composite` by albedo and shading; coverage, photo and mask are constants.

    Args:
        albedo, shading, triangle_id, face_mask: as in the forward call.
        grad_image: f32 ``[B, H, W, 3]``.

    Raises:
        ValueError: wrong shape or dtype, mixed devices.
    """
    check = Boundary("photo_composite_vjp")
    albedo = check.array("albedo", albedo, "float32", "B H W 3")
    shading = check.array("shading", shading, "float32", "B H W 3")
    triangle_id = check.array("triangle_id", triangle_id, "int32", "B H W")
    face_mask = check.array("face_mask", face_mask, "float32", "B H W")
    grad_image = check.array("grad_image", grad_image, "float32", "B H W 3")
    xp = array_module(albedo)
    grad_albedo, grad_shading = xp.empty(albedo.shape, np.float32), xp.empty(albedo.shape, np.float32)
    pixels = triangle_id.size
    _SOURCE.launch(
        "photo_composite_vjp",
        pixels,
        albedo,
        shading,
        triangle_id,
        face_mask,
        grad_image,
        grad_albedo,
        grad_shading,
        pixels,
    )
    return PhotoCompositeGradients(grad_albedo, grad_shading)


def photo_composite_reference(
    albedo: Float64Array,
    shading: Float64Array,
    triangle_id: IntArray,
    photo: Float64Array,
    face_mask: Float64Array,
) -> Float64Array:
    """:func:`photo_composite` in float64 (normalized §3.3; transfer function: IEC 61966-2-1)."""
    radiance = albedo * shading
    curve = 1.055 * np.maximum(radiance, 0.0031308) ** (1 / 2.4) - 0.055
    face = np.where(radiance <= 0.0031308, 12.92 * radiance, curve)
    share = np.where(triangle_id >= 0, face_mask, 0.0)[..., None]
    return np.asarray(photo + share * (face - photo), np.float64)


def photo_composite_vjp_reference(
    albedo: Float64Array,
    shading: Float64Array,
    triangle_id: IntArray,
    face_mask: Float64Array,
    grad_image: Float64Array,
) -> tuple[Float64Array, Float64Array]:
    """Gradients by albedo and shading in float64: the chain rule on :func:`photo_composite_reference`."""
    radiance = albedo * shading
    curve = 1.055 / 2.4 * np.maximum(radiance, 0.0031308) ** (1 / 2.4 - 1)
    slope = np.where(radiance <= 0.0031308, 12.92, curve)
    grad = grad_image * slope * np.where(triangle_id >= 0, face_mask, 0.0)[..., None]
    return np.asarray(grad * shading, np.float64), np.asarray(grad * albedo, np.float64)
