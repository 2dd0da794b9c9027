"""The pinhole camera: head-space vertices to clip coordinates, pixels and depth maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facewright_kernels._runtime.boundary import Boundary, Float64Array, FloatArray, IntArray, array_module
from facewright_kernels._runtime.kernel_source import KernelSource
from facewright_kernels._runtime.partial_sums import part_count, sum_parts
from facewright_kernels.rasterize import MAXIMUM_SIDE, draw_keys, resolve_depth_map

_SOURCE = KernelSource("pinhole")


@dataclass(frozen=True)
class PinholeCamera:
    """One camera per image: ``p = R h + t``, ``pixel = (K p).xy / p.z`` (CONVENTIONS.md).

    Attributes:
        intrinsics: f32 ``[B, 3, 3]``, K in image pixels; its last row is 0, 0, 1.
        head_to_camera: f32 ``[B, 3, 4]``, ``[R | t]``, metres.
        image_height, image_width: of the image that K refers to, pixels.
        near, far: clipping depths, metres.
    """

    intrinsics: FloatArray
    head_to_camera: FloatArray
    image_height: int
    image_width: int
    near: float = 0.05
    far: float = 50.0


def pinhole_clip_positions(vertices: FloatArray, camera: PinholeCamera) -> FloatArray:
    """Clip coordinates that :func:`facewright_kernels.rasterize` takes, at any resolution of the same view.

    Args:
        vertices: f32 ``[B, V, 3]``, or ``[1, V, 3]`` seen by all cameras; head space, metres.
        camera: B cameras.

    Returns:
        f32 ``[B, V, 4]``; w is the depth in metres, so depths beyond near and far are clipped.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, a camera that is no pinhole camera.
    """
    check = Boundary("pinhole_clip_positions")
    vertices, intrinsics, extrinsics = _check_seen_vertices(check, vertices, camera)
    count = check.size("B") * check.size("V")
    clip: FloatArray = array_module(vertices).empty((check.size("B"), check.size("V"), 4), np.float32)
    _SOURCE.launch(
        "pinhole_clip",
        count,
        vertices,
        intrinsics,
        extrinsics,
        clip,
        check.size("B"),
        check.size("V"),
        int(check.size("N") == 1),
        camera.image_width,
        camera.image_height,
        camera.near,
        camera.far,
    )
    return clip


@dataclass(frozen=True)
class PinholeGradients:
    """Gradients of :func:`pinhole_clip_positions`, with respect to the vertices and to the camera.

    Attributes:
        vertices: f32, of the vertices' shape (summed over the cameras that share them), head space.
        intrinsics: f32 ``[B, 3, 3]``; the last row, which is constant, has 0.
        head_to_camera: f32 ``[B, 3, 4]``, of every number by itself: to stay a rotation, R needs the part
            along its tangent only.
    """

    vertices: FloatArray
    intrinsics: FloatArray
    head_to_camera: FloatArray


def pinhole_clip_positions_vjp(
    vertices: FloatArray, camera: PinholeCamera, grad_clip: FloatArray
) -> PinholeGradients:
    """Vector-Jacobian product of :func:`pinhole_clip_positions`.

    Args:
        vertices, camera: as given to :func:`pinhole_clip_positions`.
        grad_clip: f32 ``[B, V, 4]``, gradient of a scalar with respect to the clip coordinates.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, a camera that is no pinhole camera.
    """
    check = Boundary("pinhole_clip_positions_vjp")
    vertices, intrinsics, extrinsics = _check_seen_vertices(check, vertices, camera)
    grad_clip = check.array("grad_clip", grad_clip, "float32", "B V 4")
    xp = array_module(vertices)
    batch, vertex_count = check.size("B"), check.size("V")
    parts = part_count(vertex_count, vertices)
    grad_vertices: FloatArray = xp.empty(vertices.shape, np.float32)
    part_sums: FloatArray = xp.empty((batch, parts, 18), np.float32)
    shape = (
        batch,
        vertex_count,
        int(len(vertices) == 1),
        camera.image_width,
        camera.image_height,
        (camera.far + camera.near) / (camera.far - camera.near),
    )
    rays = (intrinsics, extrinsics, grad_clip)
    _SOURCE.launch("pinhole_vjp_vertices", vertices.size // 3, *rays, grad_vertices, *shape)
    _SOURCE.launch("pinhole_vjp_camera", batch * parts, vertices, *rays, part_sums, *shape, parts)
    of_camera = sum_parts(part_sums, 1)
    grad_intrinsics: FloatArray = xp.zeros((batch, 3, 3), np.float32)
    grad_intrinsics[:, :2] = of_camera[:, :6].reshape(batch, 2, 3)
    return PinholeGradients(
        grad_vertices, grad_intrinsics, xp.ascontiguousarray(of_camera[:, 6:]).reshape(batch, 3, 4)
    )


def pinhole_points(vertices: FloatArray, normals: FloatArray, camera: PinholeCamera) -> FloatArray:
    """Vertices as homogeneous pixels, with depth and viewing angle.

    Args:
        vertices, normals: f32 ``[B, V, 3]``, head space; normals of any length.
        camera: B cameras.

    Returns:
        f32 ``[B, V, 4]``: x·z, y·z (z times the pixel), z (depth, metres), cosine between the normal and
        the direction to the eye (0 for a zero normal).

    Raises:
        ValueError: wrong shape or dtype, mixed devices, a camera that is no pinhole camera.
    """
    check = Boundary("pinhole_points")
    vertices = check.array("vertices", vertices, "float32", "B V 3")
    normals = check.array("normals", normals, "float32", "B V 3")
    intrinsics, extrinsics = check_camera(check, camera)
    points: FloatArray = array_module(vertices).empty((*vertices.shape[:2], 4), np.float32)
    count = check.size("B") * check.size("V")
    _SOURCE.launch(
        "pinhole_points",
        count,
        vertices,
        normals,
        intrinsics,
        extrinsics,
        points,
        check.size("B"),
        check.size("V"),
    )
    return points


def depth_map(
    vertices: FloatArray, triangles: IntArray, camera: PinholeCamera, height: int, width: int
) -> FloatArray:
    """Depth of the nearest surface at every pixel, a z-buffer in metres.

    Args:
        vertices: f32 ``[B, V, 3]``, head space.
        triangles: i32 ``[F, 3]``.
        camera: B cameras; the map covers the camera's whole image, whatever its resolution.
        height, width: of the map.

    Returns:
        f32 ``[B, height, width]``, metres along the camera's axis; +infinity where there is nothing.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, or (on a CPU) an index out of range.
    """
    check = Boundary("depth_map")
    check.number("height", height, 1, MAXIMUM_SIDE)
    check.number("width", width, 1, MAXIMUM_SIDE)
    clip = pinhole_clip_positions(vertices, camera)
    keys, spare = draw_keys(check, clip, triangles, height, width, cull_back_faces=False)
    return resolve_depth_map(keys, spare, camera.near, camera.far)


def _check_seen_vertices(
    check: Boundary, vertices: FloatArray, camera: PinholeCamera
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Vertices (batch 1 or the cameras'), intrinsics and extrinsics, checked. Raises ValueError."""
    vertices = check.array("vertices", vertices, "float32", "N V 3")
    intrinsics, extrinsics = check_camera(check, camera)
    if check.size("N") not in (1, check.size("B")):
        raise ValueError(
            f"{check.function}: vertices must have batch 1 or {check.size('B')} like the camera, "
            f"got {check.size('N')}"
        )
    return vertices, intrinsics, extrinsics


def check_camera(check: Boundary, camera: PinholeCamera) -> tuple[FloatArray, FloatArray]:
    """The camera's arrays, checked against the sizes and device that ``check`` has seen. Raises
    ValueError.
    """
    intrinsics: FloatArray = check.array("camera.intrinsics", camera.intrinsics, "float32", "B 3 3")
    extrinsics: FloatArray = check.array("camera.head_to_camera", camera.head_to_camera, "float32", "B 3 4")
    check.number("camera.image_height", camera.image_height, 1, 1 << 20)
    check.number("camera.image_width", camera.image_width, 1, 1 << 20)
    if not 0 < camera.near < camera.far < float("inf"):
        raise ValueError(
            f"{check.function}: camera must have 0 < near < far, got {camera.near} and {camera.far}"
        )
    if isinstance(intrinsics, np.ndarray) and not (intrinsics[:, 2] == np.array([0, 0, 1])).all():
        raise ValueError(
            f"{check.function}: camera.intrinsics must have the last row 0, 0, 1, "
            f"got {intrinsics[:, 2].tolist()}"
        )
    return intrinsics, extrinsics


def pinhole_points_reference(
    vertices: Float64Array, normals: Float64Array, intrinsics: Float64Array, head_to_camera: Float64Array
) -> Float64Array:
    """One image in float64 (Hartley and Zisserman 2004, eq. 6.8): ``[V, 4]`` as :func:`pinhole_points`."""
    camera = vertices @ head_to_camera[:, :3].T + head_to_camera[:, 3]
    pixel = camera @ intrinsics.T
    turned = normals @ head_to_camera[:, :3].T
    lengths = np.linalg.norm(camera, axis=1) * np.linalg.norm(turned, axis=1)
    cosine = -(camera * turned).sum(1) / np.where(lengths > 0, lengths, 1)
    return np.column_stack([pixel[:, :2], camera[:, 2], cosine])


def pinhole_clip_positions_reference(
    vertices: Float64Array, camera: PinholeCamera, intrinsics: Float64Array, head_to_camera: Float64Array
) -> Float64Array:
    """One image in float64: ``[V, 4]`` in the clip space of CONVENTIONS.md; ``camera`` gives the image's size
    and the clipping depths.
    """
    at = vertices @ head_to_camera[:, :3].T + head_to_camera[:, 3]
    pixel = at @ intrinsics.T
    near, far = camera.near, camera.far
    return np.column_stack(
        [
            2 * pixel[:, 0] / camera.image_width - at[:, 2],
            2 * pixel[:, 1] / camera.image_height - at[:, 2],
            ((far + near) * at[:, 2] - 2 * far * near) / (far - near),
            at[:, 2],
        ]
    )


def pinhole_clip_positions_vjp_reference(
    vertices: Float64Array,
    camera: PinholeCamera,
    intrinsics: Float64Array,
    head_to_camera: Float64Array,
    grad_clip: Float64Array,
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Gradients of one image's vertices ``[V, 3]``, intrinsics ``[3, 3]`` and ``[R | t]`` ``[3, 4]`` in
    float64: the transpose of the linear maps of :func:`pinhole_clip_positions_reference`.
    """
    at = vertices @ head_to_camera[:, :3].T + head_to_camera[:, 3]
    z_scale = (camera.far + camera.near) / (camera.far - camera.near)
    of_pixel = 2 * grad_clip[:, :2] / np.array([camera.image_width, camera.image_height])
    of_depth = z_scale * grad_clip[:, 2] + grad_clip[:, 3] - grad_clip[:, 0] - grad_clip[:, 1]
    of_point = of_pixel @ intrinsics[:2]
    of_point[:, 2] += of_depth
    of_intrinsics = np.vstack([of_pixel.T @ at, np.zeros(3)])
    of_extrinsics = np.column_stack([of_point.T @ vertices, of_point.sum(0)])
    return of_point @ head_to_camera[:, :3], of_intrinsics, of_extrinsics
