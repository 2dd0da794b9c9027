"""The open head laid on a source, beside it and coloured by the distance from it."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.core.colour import srgb_from_linear
from facewright.render.preview_sheet import SheetStyle, compose_sheet, encode_png
from facewright.render.render_head import View
from facewright_export.head_correspondence.build_correspondence import BuiltCorrespondence
from facewright_export.head_correspondence.surface import unit_vertex_normals
from facewright_kernels.interpolate import interpolate
from facewright_kernels.rasterize import rasterize

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_YAWS: Final = (0, 30, 60, 90)
_STYLE: Final = SheetStyle(tile=360, gap=6, caption=22, font=13, corner=0)
#: Distances in millimetres and the linear colours [5, 3] they are shown in; red is where nothing was found.
_MILLIMETRES: Final = (0.0, 0.2, 0.5, 1.0, 1.5)
_COLOURS: Final = np.array(
    [[0.05, 0.1, 0.35], [0.03, 0.35, 0.35], [0.2, 0.6, 0.1], [0.9, 0.6, 0.05], [0.8, 0.1, 0.03]]
)
_NOTHING: Final = (0.35, 0.02, 0.25)
_PLAIN: Final = (0.5, 0.47, 0.44)
_GREY: Final = 0.03


def residual_picture(built: BuiltCorrespondence) -> bytes:
    """A PNG file: above the source, below the open head on it, from 0, 30, 60 and 90°."""
    shown = np.stack([np.interp(built.distance * 1e3, _MILLIMETRES, row) for row in _COLOURS.T], axis=1)
    shown[~np.isfinite(built.distance)] = _NOTHING
    own = built.skin.columns[built.skin.triangles]
    source = np.tile(_PLAIN, (len(built.source_vertices), 1))
    pictures = [
        (
            f"{built.correspondence.source}, {yaw}°",
            _drawn(built.source_vertices, built.source_triangles, source, yaw),
        )
        for yaw in _YAWS
    ]
    residual = built.correspondence.metadata["residual_mm"]
    captions = (
        f"open head on it: {residual['median']:.2f} mm, 95 % {residual['p95']:.2f}",
        "blue 0, cyan .2, green .5, orange 1, red 1.5 mm",
        "purple: nothing to lie on",
        "",
    )
    pictures += [
        (caption, _drawn(built.vertices, own, shown, yaw))
        for caption, yaw in zip(captions, _YAWS, strict=True)
    ]
    return encode_png(compose_sheet(pictures, len(_YAWS), _STYLE))


def _drawn(
    vertices: FloatArray, triangles: IntArray, colours: FloatArray, yaw: float
) -> npt.NDArray[np.uint8]:
    """Vertex colours [N, 3] under a lamp at the camera: u8 [H, W, 3]."""
    view = View.turned(yaw, size=_STYLE.tile, span=0.34)
    large = view.window(0, 0, view.width, 2 * view.width)
    facing = -unit_vertex_normals(vertices, triangles) @ view.head_to_camera[2, :3]
    lit = (colours * (0.15 + 0.85 * np.clip(facing, 0, 1))[:, None]).astype(np.float32)
    corners = np.ascontiguousarray(triangles, np.int32)
    raster = rasterize(
        large.clip_positions(vertices.astype(np.float32))[None],
        corners,
        large.height,
        large.width,
        cull_back_faces=True,
    )
    light = np.where(raster.triangle_id[0, ..., None] >= 0, interpolate(lit[None], corners, raster)[0], _GREY)
    blocks = light.reshape(view.height, 2, view.width, 2, 3)
    return srgb_from_linear(blocks.mean(axis=(1, 3), dtype=np.float32))
