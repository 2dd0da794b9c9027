"""Kernels of Facewright: one source, compiled by NVRTC for CuPy arrays, by g++ for NumPy arrays.

Every kernel is a trio: ``x.cu``, ``x.py`` (checks, launch, float64 reference), ``tests/kernels/test_x.py``.

The vector-Jacobian product of ``op`` is ``op_vjp``. It takes what ``op`` took, then what ``op`` returned
where it needs that, then the gradient of a scalar with respect to ``op``'s result, and returns a new array or
a dataclass of gradients named after ``op``'s arguments. On one device it gives the same bits in every run:
sums are gathered in a fixed order, or added in fixed point.

With CuPy arrays everything runs on CuPy's current stream and the host waits for nothing, except in a
function's first call (which compiles, and copies tables) and where a docstring says so: a CUDA graph can
capture it.
"""

from facewright_kernels.adam_step import adam_step
from facewright_kernels.antialias import (
    AntialiasGradients,
    EdgeTopology,
    antialias,
    antialias_vjp,
    make_edge_topology,
)
from facewright_kernels.displace import (
    detail_normals,
    displace,
)
from facewright_kernels.interpolate import InterpolateGradients, interpolate, interpolate_vjp
from facewright_kernels.photo_composite import (
    FaceLayerGradients,
    face_layer,
    face_layer_vjp,
    photo_composite,
    photo_composite_vjp,
)
from facewright_kernels.pinhole import (
    PinholeCamera,
    PinholeGradients,
    depth_map,
    pinhole_clip_positions,
    pinhole_clip_positions_vjp,
    pinhole_points,
)
from facewright_kernels.rasterize import Raster, rasterize, rasterize_vjp
from facewright_kernels.rasterizer_backend import (
    RasterizerBackend,
    RasterizerUnavailableError,
    rasterizer_backend,
)
from facewright_kernels.sh_shading import ShShadingGradients, sh_shading, sh_shading_vjp
from facewright_kernels.silhouette_weight import silhouette_weight
from facewright_kernels.texel_map import TexelMap, make_texel_map
from facewright_kernels.texture_composite import CompositeSurface, texture_composite
from facewright_kernels.texture_sample import (
    TextureSampleGradients,
    texture_sample,
    texture_sample_vjp,
)
from facewright_kernels.uv_gather import TexelReaders, make_texel_readers, uv_gather, uv_gather_vjp
from facewright_kernels.uv_projection import (
    ProjectionSurface,
    ProjectionWeighting,
    UvProjection,
    uv_projection,
)
from facewright_kernels.vertex_normals import (
    VertexTriangles,
    make_vertex_triangles,
    vertex_normals,
    vertex_normals_vjp,
)

__all__ = [
    "AntialiasGradients",
    "CompositeSurface",
    "EdgeTopology",
    "FaceLayerGradients",
    "InterpolateGradients",
    "PinholeCamera",
    "PinholeGradients",
    "ProjectionSurface",
    "ProjectionWeighting",
    "Raster",
    "RasterizerBackend",
    "RasterizerUnavailableError",
    "ShShadingGradients",
    "TexelMap",
    "TexelReaders",
    "TextureSampleGradients",
    "UvProjection",
    "VertexTriangles",
    "adam_step",
    "antialias",
    "antialias_vjp",
    "depth_map",
    "detail_normals",
    "displace",
    "face_layer",
    "face_layer_vjp",
    "interpolate",
    "interpolate_vjp",
    "make_edge_topology",
    "make_texel_map",
    "make_texel_readers",
    "make_vertex_triangles",
    "photo_composite",
    "photo_composite_vjp",
    "pinhole_clip_positions",
    "pinhole_clip_positions_vjp",
    "pinhole_points",
    "rasterize",
    "rasterize_vjp",
    "rasterizer_backend",
    "sh_shading",
    "sh_shading_vjp",
    "silhouette_weight",
    "texture_composite",
    "texture_sample",
    "texture_sample_vjp",
    "uv_gather",
    "uv_gather_vjp",
    "uv_projection",
    "vertex_normals",
    "vertex_normals_vjp",
]
