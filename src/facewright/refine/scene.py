"""UV maps, camera and light to a picture of the face in its photo, and gradients back (normalized §3.3).

The differentiable renderer of a refinement: kernels in a row, and their vector-Jacobian products in the
reverse order. Which triangle a pixel sees is a constant of the gradient, as everywhere in rasterisation;
where silhouettes fall has a gradient through `antialias`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facewright.core.arrays import Array
from facewright.head.head_model import HeadModel
from facewright.refine.device import RefinementDevice
from facewright.refine.networks import ALBEDO_CHANNELS, OFFSET_CHANNELS
from facewright.refine.photos import RefinementPhotos
from facewright_kernels import (
    PinholeCamera,
    Raster,
    TexelReaders,
    VertexTriangles,
    face_layer,
    face_layer_vjp,
    make_texel_readers,
    make_vertex_triangles,
    photo_composite,
    photo_composite_vjp,
    pinhole_clip_positions,
    pinhole_clip_positions_vjp,
    rasterizer_backend,
    sh_shading,
    sh_shading_vjp,
    texture_sample,
    texture_sample_vjp,
    uv_gather,
    uv_gather_vjp,
    vertex_normals,
    vertex_normals_vjp,
)
from facewright_kernels.rasterizer_backend import RasterizerBackend


@dataclass(frozen=True)
class HeadSurface:
    """Topology and UVs of the head that the generator's maps dress; arrays of one device.

    Attributes:
        vertices_mean: f32 ``[V, 3]``, the mean head, to which UV_MAPS hold offsets.
        triangles: i32 ``[F, 3]``.
        uv: f32 ``[1, T, 2]``.
        uv_triangles: i32 ``[F, 3]``.
        vertex_uv: f32 ``[V, 2]``, where each vertex reads its offset: at its first UV vertex.
        vertex_triangles: triangles around each vertex.
        texel_readers: vertices that read each texel of the maps.
        rasterizer: what draws it.
        edges: the rasteriser's topology of ``triangles``.
    """

    vertices_mean: Array
    triangles: Array
    uv: Array
    uv_triangles: Array
    vertex_uv: Array
    vertex_triangles: VertexTriangles
    texel_readers: TexelReaders
    rasterizer: RasterizerBackend
    edges: Any

    @classmethod
    def from_head(
        cls,
        head: HeadModel,
        map_size: int,
        device: RefinementDevice,
        rasterizer: RasterizerBackend | None = None,
    ) -> HeadSurface:
        """The surface of a head model, for maps of ``map_size`` texels per side; drawn by ``rasterizer``, by
        default what `rasterizer_backend` chooses for the device.
        """
        around = make_vertex_triangles(head.triangles, head.vertex_count)
        vertex_uv = device.array(head.vertex_uv)
        triangles = device.array(head.triangles)
        rasterizer = rasterizer or rasterizer_backend("auto", like=triangles)
        return cls(
            device.array(head.vertices_mean),
            triangles,
            device.array(head.uv[None]),
            device.array(head.uv_triangles),
            vertex_uv,
            VertexTriangles(device.array(around.offsets), device.array(around.incident)),
            make_texel_readers(vertex_uv, map_size),
            rasterizer,
            rasterizer.make_topology(triangles),
        )


@dataclass(frozen=True)
class Drawing:
    """A picture and what its gradient needs. B photos of H x H pixels, V vertices, R x R texels.

    Attributes:
        image: f32 ``[B, 3, H, H]``, sRGB values, of the face over the photo.
        layer: f32 ``[B, H, H, 4]``, the face alone, before its silhouettes were antialiased.
        vertices, vertex_normals: f32 ``[B, V, 3]``, head space.
        camera, sh_light: what it was drawn with.
        clip: f32 ``[B, V, 4]``.
        raster: what every pixel sees.
        texture: f32 ``[B, R, R, 3]``, the albedo map.
        uv: f32 ``[B, H, H, 2]``.
        normals, albedo, shading: f32 ``[B, H, H, 3]``.
    """

    image: Array
    layer: Array
    vertices: Array
    vertex_normals: Array
    camera: PinholeCamera
    sh_light: Array
    clip: Array
    raster: Raster
    texture: Array
    uv: Array
    normals: Array
    albedo: Array
    shading: Array


@dataclass(frozen=True)
class SceneGradients:
    """Gradients of a loss.

    Attributes:
        uv_maps: f32 ``[B, 6, R, R]``.
        head_to_camera: f32 ``[B, 3, 4]``.
        sh_light: f32 ``[B, 9, 3]``.
    """

    uv_maps: Array
    head_to_camera: Array
    sh_light: Array


@dataclass(frozen=True)
class RefinementScene:
    """Draws a batch of faces into their photos.

    Attributes:
        surface: the head.
        photos: photos, masks and intrinsics of the batch.
        xp: NumPy or CuPy.
    """

    surface: HeadSurface
    photos: RefinementPhotos
    xp: Any

    def draw(self, uv_maps: Array, head_to_camera: Array, sh_light: Array) -> Drawing:
        """The faces over their photos.

        Args:
            uv_maps: f32 ``[B, 6, R, R]``, see `facewright.refine.networks`.
            head_to_camera: f32 ``[B, 3, 4]``.
            sh_light: f32 ``[B, 9, 3]``.
        """
        surface, photos = self.surface, self.photos
        offsets = uv_gather(self._texels(uv_maps, OFFSET_CHANNELS), surface.vertex_uv)
        vertices = surface.vertices_mean + offsets + photos.displacement
        around_normals = vertex_normals(vertices, surface.triangles, surface.vertex_triangles)
        camera = PinholeCamera(photos.intrinsics, head_to_camera, photos.size, photos.size)
        clip = pinhole_clip_positions(vertices, camera)
        draw = surface.rasterizer
        raster = draw.rasterize(clip, surface.triangles, photos.size, photos.size, cull_back_faces=True)
        normals = draw.interpolate(around_normals, surface.triangles, raster)
        uv = draw.interpolate(surface.uv, surface.uv_triangles, raster)
        texture = self._texels(uv_maps, ALBEDO_CHANNELS)
        albedo = texture_sample(texture, uv)
        shading = sh_shading(normals, sh_light)
        layer = face_layer(albedo, shading, raster.triangle_id)
        smooth = draw.antialias(layer, raster, clip, surface.triangles, surface.edges)
        image = photo_composite(smooth, photos.photo, photos.face_mask)
        return Drawing(
            image,
            layer,
            vertices,
            around_normals,
            camera,
            sh_light,
            clip,
            raster,
            texture,
            uv,
            normals,
            albedo,
            shading,
        )

    def shows_head(self, drawing: Drawing) -> Array:
        """bool ``[B]``: whether a head is whole and some of it is seen under the face mask.

        Else the picture says nothing of it: triangles whose corners are not finite are left out, and where
        nothing is drawn the picture is the photo itself, which no other one matches better.
        """
        seen = (drawing.raster.triangle_id >= 0) & (self.photos.face_mask > 0)
        shown: Array = seen.any(axis=(1, 2)) & self.xp.isfinite(drawing.vertices).all(axis=(1, 2))
        return shown

    def gradients(self, drawing: Drawing, grad_image: Array) -> SceneGradients:
        """Gradients of a loss whose gradient by ``drawing.image`` is ``grad_image`` f32 ``[B, 3, H, H]``."""
        surface, photos, raster = self.surface, self.photos, drawing.raster
        draw = surface.rasterizer
        by_layer = photo_composite_vjp(photos.photo, photos.face_mask, grad_image)
        silhouettes = draw.antialias_vjp(
            drawing.layer, raster, drawing.clip, surface.triangles, by_layer, surface.edges
        )
        colours = face_layer_vjp(drawing.albedo, drawing.shading, raster.triangle_id, silhouettes.image)
        light = sh_shading_vjp(drawing.normals, drawing.sh_light, colours.shading)
        texels = texture_sample_vjp(drawing.texture, drawing.uv, colours.albedo)
        by_uv = draw.interpolate_vjp(surface.uv, surface.uv_triangles, raster, texels.uv)
        by_normals = draw.interpolate_vjp(drawing.vertex_normals, surface.triangles, raster, light.normals)
        grad_clip = draw.rasterize_vjp(
            drawing.clip, surface.triangles, raster, by_uv.barycentric + by_normals.barycentric
        )
        camera = pinhole_clip_positions_vjp(
            drawing.vertices, drawing.camera, grad_clip + silhouettes.clip_positions
        )
        grad_vertices = camera.vertices + vertex_normals_vjp(
            drawing.vertices, surface.triangles, by_normals.attributes, surface.vertex_triangles
        )
        offsets = uv_gather_vjp(drawing.texture, surface.vertex_uv, grad_vertices, surface.texel_readers)
        maps = self.xp.concatenate([offsets, texels.texture], axis=-1)
        return SceneGradients(
            self.xp.ascontiguousarray(maps.transpose(0, 3, 1, 2)), camera.head_to_camera, light.coefficients
        )

    def _texels(self, uv_maps: Array, channels: slice) -> Array:
        """Three channels of ``[B, 6, R, R]`` as ``[B, R, R, 3]``."""
        texels: Array = self.xp.ascontiguousarray(uv_maps[:, channels].transpose(0, 2, 3, 1))
        return texels
