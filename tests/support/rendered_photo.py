"""A photo whose truth is known: the open head with a painted texture, rendered in a known light and pose."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facewright.appearance.texel_layout import TexelPoints, padded_texel_map
from facewright.core.colour import srgb_from_linear
from facewright.fit.fit_info import EyeFit
from facewright.head.hairline import hair_growth
from facewright.head.head_model import HeadModel
from facewright.render.light import Light
from facewright.render.render_head import HeadRenderer, View
from facewright.texture.bake_texture import TextureOptions
from facewright_kernels import vertex_normals
from tests.support.pose import rotation_from_angles

MAGENTA = (0.9, 0.0, 0.9)
SKIN = np.array([0.42, 0.25, 0.18])
HAIR = np.array([0.05, 0.03, 0.02])
IRIS = np.array([0.05, 0.11, 0.22])
SIZE = 1024
_OPTIONS = TextureOptions(512, "png")


@dataclass(frozen=True)
class RenderedPhoto:
    """Everything that ``TextureBaker.bake`` takes, and the truth.

    Attributes:
        crop: sRGB u8 [1024, 1024, 3].
        view: the camera.
        vertices: f32 [V, 3].
        albedo: linear f32 [512, 512, 3] texture that was rendered.
        eyes: as a fit would find them.
        options: of the texture.
    """

    crop: NDArray[np.uint8]
    view: View
    vertices: NDArray[np.float32]
    albedo: NDArray[np.float32]
    eyes: tuple[EyeFit, EyeFit] = field(repr=False)
    options: TextureOptions


def side_light(strength: float = 0.35) -> NDArray[np.float32]:
    """Ambient and a lamp from the subject's left and above, f32 [9, 3]."""
    light = np.zeros((9, 3), np.float32)
    light[0] = 0.8 / 0.282095
    light[3], light[1], light[2] = strength, 0.5 * strength, 0.5 * strength
    return light


def truth_texture(head: HeadModel, size: int = 512) -> NDArray[np.float32]:
    """Skin with freckles, darker brows, red lips, hair, blue irises; linear f32 [size, size, 3]."""
    points = TexelPoints(head, padded_texel_map(head, size))
    mean = points.interpolate(head.vertices_mean)
    colour = np.broadcast_to(SKIN, mean.shape).copy()
    # Symmetric blotches, a few millimetres wide: what must survive the bake.
    blotches = np.sin(700 * np.abs(mean[:, 0])) * np.sin(600 * mean[:, 1]) * np.sin(500 * mean[:, 2])
    colour *= np.exp(0.12 * blotches)[:, None]
    for region, paint in (
        ("lips", [0.3, 0.1, 0.1]),
        ("brow_left", HAIR),
        ("brow_right", HAIR),
        ("eyeballs", [0.6, 0.6, 0.6]),
    ):
        weight = points.interpolate(head.region(region))[:, None]
        colour = colour * (1 - weight) + weight * np.asarray(paint)
    hair = np.clip(hair_growth(mean) / 0.004, 0, 1)[:, None]
    colour = colour * (1 - hair) + hair * HAIR
    part = head.triangle_part[points.texels.triangle_id.ravel()]
    for side, name in enumerate(("eye_left", "eye_right")):
        own = part == list(head.part_names).index(name)
        away = np.linalg.norm(mean - head.iris_centre[side], axis=1)
        colour[own] = 0.6
        colour[own & (away < 1.05 * head.iris_radius[side])] = IRIS
        colour[own & (away < 0.4 * head.iris_radius[side])] = 0.01
    texture: NDArray[np.float32] = colour.reshape(size, size, 3).astype(np.float32)
    return texture


def render_photo(
    head: HeadModel,
    *,
    yaw: float = 0.0,
    light: NDArray[np.float32] | None = None,
    options: TextureOptions = _OPTIONS,
) -> RenderedPhoto:
    """The mean head on magenta, seen by a portrait lens, its face in the middle of the crop."""
    vertices = head.vertices_mean
    rotation = rotation_from_angles(yaw, 0.0, 0.0)
    translation = np.array([0.0, 0.0, 1.0]) - rotation @ np.array([0.0, -0.02, -0.05])
    focal = 3000.0
    intrinsics = np.array([[focal, 0, SIZE / 2], [0, focal, SIZE / 2], [0, 0, 1]], np.float32)
    pose = np.concatenate([rotation, translation[:, None]], axis=1).astype(np.float32)
    view = View(intrinsics, pose, SIZE, SIZE)
    albedo = truth_texture(head)
    shading = Light(side_light(0.0) if light is None else light)
    crop = HeadRenderer(head, albedo).render(vertices, view, shading, supersample=2).over(MAGENTA)
    eyes = seen_eye(head, 0, view), seen_eye(head, 1, view)
    return RenderedPhoto(crop, view, vertices, albedo, eyes, options)


def facing_and_visible(head: HeadModel, photo: RenderedPhoto) -> NDArray[np.float32]:
    """Cosine between normal and viewing ray at the vertices, f32 [V]."""
    normals = vertex_normals(photo.vertices[None], head.triangles)[0]
    rotation, translation = photo.view.head_to_camera[:, :3], photo.view.head_to_camera[:, 3]
    ray = -rotation.T @ translation - photo.vertices
    cosine: NDArray[np.float32] = (ray * normals).sum(axis=1) / np.linalg.norm(ray, axis=1)
    return cosine


def paint_ellipse(
    photo: RenderedPhoto, centre: NDArray[np.float32], radius: float, colour: tuple[float, float, float]
) -> NDArray[np.uint8]:
    """The crop with a disc over the head-space point ``centre``, ``radius`` in pixels, linear ``colour``."""
    pixel = photo.view.intrinsics @ (
        photo.view.head_to_camera[:, :3] @ centre + photo.view.head_to_camera[:, 3]
    )
    x, y = pixel[:2] / pixel[2]
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    covered = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
    crop = photo.crop.copy()
    crop[covered] = srgb_from_linear(np.asarray(colour, np.float32))
    return crop


def seen_eye(head: HeadModel, side: int, view: View) -> EyeFit:
    centre = view.intrinsics @ (
        view.head_to_camera[:, :3] @ head.iris_centre[side] + view.head_to_camera[:, 3]
    )
    radius = float(head.iris_radius[side] * view.intrinsics[0, 0] / centre[2])
    return EyeFit((float(centre[0] / centre[2]), float(centre[1] / centre[2])), radius, 1.0, 0.0, 0.0)
