"""Render the open head with procedural skin, lips, brows, eyes and hair, so that a face network takes it for
a face.

Paint is a function of where a pixel's surface point lies on the canonical head (brows) and on the mean head
(limbus), and of region masks (lips, scalp), so it does not depend on any texture layout and moves with every
identity and expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.head.head_model import HeadModel
from facewright_export.open_head.regions import brow_mask
from facewright_kernels import (
    PinholeCamera,
    interpolate,
    make_vertex_triangles,
    pinhole_clip_positions,
    rasterize,
    vertex_normals,
)

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
PartArray = npt.NDArray[np.uint8]

IMAGE_SIZE: Final = 192
SUPERSAMPLING: Final = 2
AMBIENT_DIRECTIONS: Final = 96
AMBIENT_IMAGE: Final = 384
AMBIENT_TOLERANCE: Final = 0.0025  # metres
_REGIONS: Final = ("lips", "scalp", "mouth_inside")


@dataclass(frozen=True)
class Look:
    """Linear RGB [3] of skin, lips, hair and iris; background RGB; light direction [3] (head space) and its
    share.
    """

    skin: FloatArray
    lips: FloatArray
    hair: FloatArray
    iris: FloatArray
    background: FloatArray
    light: FloatArray
    key_light: float


def random_look(random: np.random.Generator) -> Look:
    """A look drawn at random: skin from pale to dark, light from any side above the horizon."""
    melanin = random.uniform(0, 1)
    skin = np.array([0.72, 0.48, 0.37]) * (1 - melanin) + np.array([0.16, 0.08, 0.045]) * melanin
    lips = skin * [0.85, 0.55, 0.55]
    hair = np.array([0.05, 0.032, 0.02]) * random.uniform(0.3, 2.0)
    iris = np.array([[0.10, 0.05, 0.02], [0.10, 0.16, 0.22], [0.08, 0.12, 0.06]])[random.integers(3)]
    direction = np.array([random.normal(0, 0.6), random.uniform(0.0, 1.0), 1.0])
    return Look(
        skin,
        lips,
        hair,
        iris,
        background=np.full(3, random.uniform(0.05, 0.7)),
        light=direction / np.linalg.norm(direction),
        key_light=random.uniform(0.35, 0.7),
    )


class HeadPainter:
    """Renders painted heads of one head model.

    Args:
        head: the head model.
        side: of the images, pixels.
    """

    def __init__(self, head: HeadModel, side: int = IMAGE_SIZE) -> None:
        self._head = head
        self._side = side
        self._vertex_triangles = make_vertex_triangles(head.triangles, head.vertex_count)
        masks = [head.region(name) for name in _REGIONS]
        self._attributes = np.concatenate(
            [head.vertices_mean, head.vertices_canonical, np.stack(masks, axis=1)], axis=1
        )[None]
        self._baked = np.stack([lid_edge(head), ambient_light(head)], axis=1)[None]

    def paint(self, vertices: Float32Array, camera: PinholeCamera, looks: list[Look]) -> Float32Array:
        """sRGB images [B, 3, S, S] in 0–1 of posed ``vertices`` [B, V, 3]; the camera has the size of the
        image.
        """
        side = self._side * SUPERSAMPLING
        clip = pinhole_clip_positions(vertices, camera)
        raster = rasterize(clip, self._head.triangles, side, side)
        normals = vertex_normals(vertices, self._head.triangles, self._vertex_triangles)
        surface = interpolate(self._attributes, self._head.triangles, raster)
        baked = interpolate(self._baked, self._head.triangles, raster)
        normal = interpolate(normals, self._head.triangles, raster)
        linear = np.empty((len(looks), side, side, 3), np.float32)
        for i, look in enumerate(looks):
            seen = raster.triangle_id[i] >= 0
            part = self._head.triangle_part[raster.triangle_id[i][seen]]
            linear[i] = look.background
            edge, ambient = baked[i][seen].T
            albedo = self._albedo(look, part, surface[i][seen], edge)
            linear[i][seen] = _shade(look, part, albedo, normal[i][seen], ambient)
        averaged = linear.reshape(-1, self._side, SUPERSAMPLING, self._side, SUPERSAMPLING, 3).mean(
            axis=(2, 4)
        )
        srgb = np.where(
            averaged <= 0.0031308, 12.92 * averaged, 1.055 * np.maximum(averaged, 1e-6) ** (1 / 2.4) - 0.055
        )
        return np.ascontiguousarray(np.clip(srgb, 0, 1).transpose(0, 3, 1, 2), np.float32)

    def _albedo(self, look: Look, part: PartArray, surface: Float32Array, edge: Float32Array) -> FloatArray:
        """Linear albedo [N, 3] of points with interpolated ``surface`` attributes [N, 9] and lid distance
        [N].
        """
        on_mean, canonical = surface[..., :3], surface[..., 3:6]
        lips, scalp, inside = surface[..., 6:7], surface[..., 7:8], surface[..., 8:9]
        albedo = look.skin * (1 - lips) + look.lips * lips
        albedo = albedo * (1 - scalp) + look.hair * scalp
        brow = brow_mask(canonical.astype(np.float64))[..., None] * 0.85
        albedo = albedo * (1 - brow) + look.hair * brow
        lashes = np.clip(1.5 - edge / 0.0012, 0, 1)[..., None] * 0.8
        albedo = albedo * (1 - lashes) + look.hair * 0.5 * lashes
        albedo = albedo * (1 - inside) + np.array([0.09, 0.02, 0.02]) * inside
        eye = (part == 1) | (part == 2)
        side = np.where(part == 1, 0, 1)
        centre = self._head.iris_centre[side]
        distance = np.linalg.norm((on_mean - centre)[..., :2], axis=-1) / self._head.iris_radius[side]
        iris = np.clip((1.05 - distance) / 0.1, 0, 1)[..., None]
        limbus = np.clip(1 - np.abs(distance - 0.95) / 0.15, 0, 1)[..., None] * 0.6
        pupil = np.clip((0.45 - distance) / 0.08, 0, 1)[..., None]
        eye_albedo = np.array([0.72, 0.68, 0.66]) * (1 - iris) + look.iris * (1 - limbus) * iris
        eye_albedo = eye_albedo * (1 - pupil) + 0.01 * pupil
        albedo = np.where(eye[..., None], eye_albedo, albedo)
        albedo = np.where(((part == 3) | (part == 4))[..., None], [0.62, 0.58, 0.5], albedo)
        result: FloatArray = np.where((part == 5)[..., None], [0.35, 0.12, 0.1], albedo)
        return result


def _shade(
    look: Look, part: PartArray, albedo: FloatArray, normal: Float32Array, ambient: Float32Array
) -> FloatArray:
    """Linear radiance [N, 3] of surface points with ``albedo`` [N, 3], ``normal`` [N, 3], ``ambient`` light
    [N].
    """
    unit = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    key = np.clip((unit @ look.light + 0.25) / 1.25, 0, 1)  # wrapped, as skin scatters light
    sky = 0.6 + 0.4 * unit[:, 1]
    half = look.light + np.array([0, 0, 1.0])
    gloss = np.clip(unit @ (half / np.linalg.norm(half)), 0, 1)
    shine = np.where((part == 1) | (part == 2), 0.6 * gloss**200, 0.04 * gloss**12)
    # the key light is large and soft: where little of the surroundings is seen, little of it is seen either
    light = (
        look.key_light * 1.5 * key * np.clip(1.5 * ambient, 0, 1) + (1 - look.key_light) * 1.4 * sky * ambient
    )
    shaded: FloatArray = albedo * light[:, None] + shine[:, None] * look.key_light
    return shaded


def ambient_light(head: HeadModel) -> Float32Array:
    """Share [V] of the light from all around that reaches each vertex of the mean head past the rest of it.

    Cosine-weighted visibility over ``AMBIENT_DIRECTIONS`` orthographic depth images: nostrils, the wings of
    the nose, the corners of the eyes and the neck below the chin are darker than the rest.
    """
    vertices = head.vertices_mean.astype(np.float64)
    normals = vertex_normals(head.vertices_mean[None], head.triangles)[0].astype(np.float64)
    count = np.arange(AMBIENT_DIRECTIONS) + 0.5
    polar, turn = np.arccos(1 - 2 * count / AMBIENT_DIRECTIONS), np.pi * (1 + 5**0.5) * count
    directions = np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], axis=1)
    reached, total = np.zeros(len(vertices)), np.zeros(len(vertices))
    for direction in directions:
        across = np.cross(direction, [0.0, 1.0, 0.0])
        across /= np.linalg.norm(across)
        # columns: right, down and away from the light; the head fits into 0.5 m
        view = (
            (vertices - vertices.mean(axis=0))
            @ np.stack([across, np.cross(across, direction), -direction], axis=1)
            * 4
        )
        clip = np.concatenate([view, np.ones((len(view), 1))], axis=1).astype(np.float32)
        depth = rasterize(clip[None], head.triangles, AMBIENT_IMAGE, AMBIENT_IMAGE).depth[0]
        pixel = np.clip(((view[:, :2] + 1) / 2 * AMBIENT_IMAGE).astype(np.int64), 0, AMBIENT_IMAGE - 1)
        cosine = np.maximum(normals @ direction, 0)
        total += cosine
        reached += cosine * (view[:, 2] <= depth[pixel[:, 1], pixel[:, 0]] + 4 * AMBIENT_TOLERANCE)
    # the mean head's mouth is closed; an open one lets some light in
    least = 0.2 * head.region("mouth_inside")
    ambient: Float32Array = np.maximum(reached / np.maximum(total, 1e-9), least).astype(np.float32)
    return ambient


def lid_edge(head: HeadModel) -> Float32Array:
    """Distance [V] in metres of the skin from the edge of the lids (where the socket begins), large
    elsewhere.
    """
    eyelids = head.region("eyelids")
    eyeballs = np.unique(head.triangles[(head.triangle_part == 1) | (head.triangle_part == 2)])
    centres = head.vertices_mean[eyeballs].reshape(2, -1, 3)
    distance = np.full(head.vertex_count, 1.0, np.float32)
    skin = np.unique(head.triangles[head.triangle_part == 0])
    outer = eyelids[skin] > 0.999
    for centre in centres.mean(axis=1):
        side = outer & (head.vertices_mean[skin, 0] * centre[0] > 0)
        near = skin[side]
        radius = np.linalg.norm(head.vertices_mean[near] - centre, axis=1)
        distance[near] = np.maximum(radius - np.percentile(radius, 5), 0)
    return distance
