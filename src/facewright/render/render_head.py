"""A posed head, its texture and a light, drawn: the pictures in previews, benchmarks and tests.

Frames, SH and clip space: CONVENTIONS.md. Drawing uses the CPU kernels (`facewright_kernels`); a picture is
drawn ``supersample`` times larger, shaded in linear light and averaged down.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from facewright.core.arrays import Floats
from facewright.core.colour import srgb_from_linear
from facewright.head.eyeball import Eyeball, eyeballs
from facewright.head.head_model import HeadModel
from facewright.render.light import STUDIO, Lamp, Light
from facewright_kernels import (
    PinholeCamera,
    Raster,
    VertexTriangles,
    interpolate,
    make_vertex_triangles,
    pinhole_clip_positions,
    rasterize,
    sh_shading,
    texture_sample,
    vertex_normals,
)

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.intp]

#: Camera axes of a viewer who faces the head: x right, y down, z away (CONVENTIONS.md).
_FACING = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class View:
    """A camera looking at a head.

    Attributes:
        intrinsics: f32 [3, 3], pixels of the picture drawn.
        head_to_camera: f32 [3, 4], metres.
        width, height: of the picture, pixels.
    """

    intrinsics: Floats
    head_to_camera: Floats
    width: int
    height: int

    @classmethod
    def turned(
        cls,
        yaw: float = 0.0,
        pitch: float = 0.0,
        *,
        size: int = 512,
        span: float = 0.34,
        pivot: tuple[float, float, float] = (0.0, -0.015, -0.055),
    ) -> View:
        """A portrait lens at 1.6 m on a head turned by ``yaw`` and ``pitch`` degrees about ``pivot``.

        Angles follow CONVENTIONS.md (yaw > 0: the subject looks to their left, pitch > 0: down). ``span`` is
        what the square picture of ``size`` pixels shows at the pivot, metres; ``pivot`` is in head space.
        """
        a, b = np.radians([yaw, pitch])
        turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        nod = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        rotation = _FACING @ turn @ nod
        distance = 1.6
        translation = np.array([0.0, 0.0, distance]) - rotation @ np.asarray(pivot)
        focal = size * distance / span
        intrinsics = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
        pose = np.concatenate([rotation, translation[:, None]], axis=1)
        return cls(intrinsics.astype(np.float32), pose.astype(np.float32), size, size)

    def window(self, left: float, top: float, side: float, size: int) -> View:
        """The same camera, its picture cut to a square window (pixels) and scaled to ``size`` x ``size``."""
        scale = size / side
        cut = np.array([[scale, 0, -left * scale], [0, scale, -top * scale], [0, 0, 1]], np.float32)
        return replace(self, intrinsics=cut @ self.intrinsics, width=size, height=size)

    def clip_positions(self, vertices: Floats) -> Floats:
        """Clip coordinates f32 [V, 4] of head-space ``vertices`` [V, 3]."""
        camera = PinholeCamera(
            np.ascontiguousarray(self.intrinsics, np.float32)[None],
            np.ascontiguousarray(self.head_to_camera, np.float32)[None],
            self.height,
            self.width,
        )
        clip: Floats = pinhole_clip_positions(np.ascontiguousarray(vertices, np.float32)[None], camera)[0]
        return clip


@dataclass(frozen=True)
class Picture:
    """A head drawn on nothing: ``light`` f32 [H, W, 3], linear, times ``alpha`` f32 [H, W] (coverage)."""

    light: Floats
    alpha: Floats

    def over(self, background: Floats | tuple[float, float, float] = (0.18, 0.18, 0.18)) -> U8:
        """sRGB u8 [H, W, 3] of the head before a linear background: one colour [3] or a picture [H, W, 3]."""
        behind = np.asarray(background, np.float32)
        return srgb_from_linear(self.light + (1 - self.alpha[..., None]) * behind)

    def faded(self, share: float) -> Picture:
        """The picture with its lowest ``share`` (0-1) fading out: a bust without a cut neck."""
        height = len(self.alpha)
        rows = (height - 0.5 - np.arange(height, dtype=np.float32)) / max(share * height, 1e-6)
        ramp = np.clip(rows, 0, 1)
        ramp = (ramp * ramp * (3 - 2 * ramp))[:, None]
        return Picture(self.light * ramp[..., None], self.alpha * ramp)


@dataclass(frozen=True)
class HeadRenderer:
    """Draws one textured head many times.

    Attributes:
        head: topology, parts and UVs.
        texture: sRGB u8 [S, S, 3] or linear f32 [S, S, 3].
    """

    head: HeadModel
    texture: U8 | Floats
    _texels: U8 | Floats = field(init=False, repr=False)
    _eyes: tuple[Eyeball, ...] = field(init=False, repr=False)
    _around: VertexTriangles = field(init=False, repr=False)

    def __post_init__(self) -> None:
        texture = np.asarray(self.texture)
        if texture.ndim != 3 or texture.shape[2] != 3 or texture.dtype not in (np.uint8, np.float32):
            raise ValueError(f"texture must be u8 or f32 [S, S, 3], got {texture.dtype} {texture.shape}")
        object.__setattr__(self, "_texels", np.ascontiguousarray(texture)[None])
        object.__setattr__(self, "_eyes", eyeballs(self.head))
        around = make_vertex_triangles(self.head.triangles, len(self.head.vertices_mean))
        object.__setattr__(self, "_around", around)

    def render(
        self,
        vertices: Floats,
        view: View,
        light: Light = STUDIO,
        occlusion: Floats | None = None,
        supersample: int = 2,
    ) -> Picture:
        """Draws head-space ``vertices`` f32 [V, 3] in ``view`` under ``light``.

        ``occlusion`` f32 [V] is the share of the light that reaches each vertex (`ambient_occlusion`); all of
        it where None. The picture is drawn ``supersample`` times larger and averaged down.

        Raises:
            ValueError: vertices of another head, or not finite.
        """
        vertices = np.ascontiguousarray(vertices, np.float32)
        if vertices.shape != self.head.vertices_mean.shape or not np.isfinite(vertices).all():
            raise ValueError(
                f"vertices must be finite, of shape {self.head.vertices_mean.shape}, got {vertices.shape}"
            )
        triangles = self.head.triangles
        normals = vertex_normals(vertices[None], triangles, self._around)[0]
        big_height, big_width = view.height * supersample, view.width * supersample
        clip = view.clip_positions(vertices)
        # As in the file, whose materials are single-sided: nothing is seen from behind.
        raster = rasterize(clip[None], triangles, big_height, big_width, cull_back_faces=True)

        # Only covered pixels go through the kernels, as one row: half of a portrait is background.
        covered = np.flatnonzero(raster.triangle_id.ravel() >= 0)
        seen = Raster(
            raster.triangle_id.reshape(-1)[covered][None, None],
            raster.barycentric.reshape(-1, 2)[covered][None, None],
            raster.depth.reshape(-1)[covered][None, None],
        )
        shading = self._vertex_shading(vertices, normals, view, light)
        if occlusion is not None:
            shading *= occlusion[:, None]
        attributes = np.concatenate([self.head.uv, shading[self.head.uv_vertex]], axis=1)
        at = interpolate(attributes[None], self.head.uv_triangles, seen)
        uv = np.ascontiguousarray(at[..., :2])
        colour = texture_sample(self._texels, uv, srgb=self._texels.dtype == np.uint8)[0, 0]
        colour *= at[0, 0, :, 2:5]
        colour += at[0, 0, :, 5:6]
        if light.lamps:
            wet, glint = self._eye_glint(seen, vertices, normals, view, light)
            colour[wet] += glint[:, None]

        image = np.zeros((big_height * big_width, 4), np.float32)
        image[covered] = np.concatenate([colour, np.ones((len(colour), 1), np.float32)], axis=1)
        image = _shrink(image.reshape(big_height, big_width, 4), supersample)
        return Picture(image[..., :3], image[..., 3])

    def _vertex_shading(self, vertices: Floats, normals: Floats, view: View, light: Light) -> Floats:
        """Diffuse light (3) and skin sheen (1) at each vertex, f32 [V, 4]: both vary slowly."""
        seen = _light_frame(normals, view, light)
        shading = np.empty((len(vertices), 4), np.float32)
        shading[:, :3] = np.maximum(sh_shading(seen[None], light.coefficients[None])[0], 0)
        shading[:, 3] = 0
        toward_viewer = _light_frame(_toward_viewer(vertices, view), view, light)
        for lamp in light.lamps:
            shading[:, 3] += 0.035 * lamp.glint * _lobe(seen, toward_viewer, lamp, sharpness=14.0)
        return shading

    def _eye_glint(
        self, seen: Raster, vertices: Floats, normals: Floats, view: View, light: Light
    ) -> tuple[I64, Floats]:
        """Pixels of ``seen`` that show an eye, and the lamps' mirror images there, f32 [N]: soft boxes."""
        found: list[I64] = [np.zeros(0, np.intp)]
        glints: list[Floats] = [np.zeros(0, np.float32)]
        part = self.head.triangle_part[seen.triangle_id[0, 0]]
        for eye in self._eyes:
            pixels = np.flatnonzero(part == eye.part)
            corners = self.head.triangles[seen.triangle_id[0, 0, pixels]]
            first, second = np.moveaxis(seen.barycentric[0, 0, pixels], -1, 0)
            weights = np.stack([first, second, 1 - first - second], axis=1)
            normal = _unit(np.einsum("nk,nkc->nc", weights, normals[corners]))
            point = np.einsum("nk,nkc->nc", weights, vertices[corners])
            normal = _light_frame(eye.with_cornea(normal, vertices), view, light)
            toward_viewer = _light_frame(_toward_viewer(point, view), view, light)
            mirrored = 2 * np.sum(normal * toward_viewer, axis=1, keepdims=True) * normal - toward_viewer
            glint = np.zeros(len(pixels), np.float32)
            for lamp in light.lamps:
                angle = np.degrees(np.arccos(np.clip(mirrored @ lamp.unit, -1, 1)))
                glint += 0.7 * lamp.glint * np.clip((16.0 - angle) / 5.0, 0, 1)
            found.append(pixels)
            glints.append(glint)
        return np.concatenate(found), np.concatenate(glints)

    @staticmethod
    def visible_triangles(
        head: HeadModel, vertices: Floats, view: View
    ) -> tuple[npt.NDArray[np.int32], Floats]:
        """Triangles that a pixel of ``view`` shows, i32 [N], and where all vertices fall, f32 [V, 2] px."""
        clip = view.clip_positions(vertices)
        raster = rasterize(clip[None], head.triangles, view.height, view.width, cull_back_faces=True)
        seen = np.zeros(len(head.triangles) + 1, np.bool_)
        seen[raster.triangle_id.ravel()] = True  # -1, nothing, falls on the last one
        size = np.array([view.width, view.height], np.float32)
        points = (clip[:, :2] / clip[:, 3:] + 1) * 0.5 * size
        return np.flatnonzero(seen[:-1]).astype(np.int32), points


def _light_frame(directions: Floats, view: View, light: Light) -> Floats:
    """Head-space directions [N, 3] in the frame that the light is given in."""
    if not light.follows_camera:
        return directions
    to_viewer = (_FACING @ view.head_to_camera[:, :3]).astype(np.float32)
    turned: Floats = directions @ to_viewer.T
    return turned


def _toward_viewer(vertices: Floats, view: View) -> Floats:
    """Unit vectors from head-space points [N, 3] to the camera."""
    eye = -view.head_to_camera[:, :3].T @ view.head_to_camera[:, 3]
    return _unit(eye - vertices)


def _lobe(normals: Floats, toward_viewer: Floats, lamp: Lamp, sharpness: float) -> Floats:
    """Blinn-Phong's lobe of the half vector, [N]."""
    half = _unit(toward_viewer + lamp.unit)
    facing = np.clip(normals @ lamp.unit, 0, 1)
    lobe: Floats = facing * np.clip(np.sum(normals * half, axis=1), 0, 1) ** sharpness
    return lobe


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return unit


def _shrink(image: Floats, factor: int) -> Floats:
    """Mean over blocks of factor x factor pixels; rows are added first, they lie together in memory."""
    height, width, channels = image.shape
    rows = image.reshape(height // factor, factor, width, channels)
    added = rows[:, 0]
    for row in range(1, factor):
        added = added + rows[:, row]
    columns = added.reshape(height // factor, width // factor, factor, channels)
    total = columns[:, :, 0]
    for column in range(1, factor):
        total = total + columns[:, :, column]
    mean: Floats = total * np.float32(1 / factor**2)
    return mean
