"""Scans of real heads: read from files, moved into the head frame, photographed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import trimesh
from PIL import Image
from scipy.spatial import cKDTree

from benchmarks.likeness.make_avatar import FittedFace
from facewright.core.colour import srgb_from_linear
from facewright.render.light import STUDIO, Lamp, Light
from facewright.render.render_head import View
from facewright_export.head_correspondence.surface import unit_vertex_normals
from facewright_kernels import interpolate, rasterize, sh_shading, texture_sample

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

SUFFIXES: Final = (".glb", ".obj", ".ply")
#: What scans are lit by when they are photographed: softly from the front, and hard from one side.
LIGHTS: Final = {
    "studio": STUDIO,
    "side": Light.from_lamps((0.3, 0.3, 0.31), Lamp((-0.9, 0.3, 0.45), (0.75, 0.73, 0.7))),
}
#: Between the pupils of a scan whose unit nobody knows: of an adult in the mean (Dodgson 2004), metres.
_PUPILS: Final = 0.063
_RIGHT_IRIS, _LEFT_IRIS = 468, 473
_SIDE: Final = 1024  # pixels of a photograph
#: Angles at which a scan's surface is looked for, degrees: what none of them sees lies inside.
_SEEN_YAWS: Final = (-75, -45, -15, 15, 45, 75)
_SEEN_PITCHES: Final = (-25, 0, 25)
_GREY: Final = np.array([0.18, 0.18, 0.18], np.float32)


class ScanError(Exception):
    """A scan that cannot be used; the message says why and what to do."""


class FaceFinder(Protocol):
    """What finds a face in a photo: a pipeline up to its fitted head."""

    def fit_photo(self, photo: bytes) -> FittedFace:
        """Raises FacewrightError where there is none."""


@dataclass(frozen=True)
class Scan:
    """A head that was measured, as a mesh.

    Attributes:
        name: of its file, without ending.
        vertices: float64 [V, 3]: as in the file, or metres in the head frame after `in_head_frame`.
        triangles: int64 [F, 3].
        texture: sRGB u8 [H, W, 3], grey where there is none.
        uv: float32 [V, 2], origin at the top left.
        landmarks: float64 [478, 3], where a network finds them from the front; none before it looked.
    """

    name: str
    vertices: FloatArray = field(repr=False)
    triangles: IntArray = field(repr=False)
    texture: U8 = field(repr=False)
    uv: npt.NDArray[np.float32] = field(repr=False)
    landmarks: FloatArray = field(default_factory=lambda: np.zeros((0, 3)), repr=False)

    @property
    def normals(self) -> FloatArray:
        """Unit normals [V, 3] of the vertices."""
        return unit_vertex_normals(self.vertices, self.triangles)


def read_scan(path: Path) -> Scan:
    """A scan from OBJ, PLY or GLB (compressed by Draco too), looking along +z, +y being up.

    Its colours are those of ``NAME.texture.jpg`` or ``.png`` beside it, or else of the file.

    Raises:
        ScanError: no triangles, or colours without coordinates for them.
    """
    try:
        mesh: Any = trimesh.load(path, process=False, force="mesh")
    except (ValueError, KeyError, IndexError) as error:
        raise ScanError(f"{path.name} cannot be read: {error}") from error
    vertices = np.asarray(mesh.vertices, np.float64)
    if not len(vertices) or not len(mesh.faces):
        raise ScanError(f"{path.name} has no triangles")
    if not np.ptp(vertices):
        raise ScanError(
            f"{path.name} is compressed by Draco, which nothing here reads: pip install -e '.[bench]'"
        )
    uv = getattr(mesh.visual, "uv", None)
    texture = _texture_beside(path)
    if texture is None:
        image = getattr(getattr(mesh.visual, "material", None), "image", None)
        image = image or getattr(getattr(mesh.visual, "material", None), "baseColorTexture", None)
        texture = None if image is None else np.asarray(image.convert("RGB"))
    if texture is None:
        texture, uv = np.full((4, 4, 3), 165, np.uint8), np.zeros((len(vertices), 2))
    elif uv is None:
        raise ScanError(f"{path.name} has a texture but no texture coordinates")
    # trimesh has OBJ's origin, the lower left
    turned = np.asarray(uv, np.float32) * [1, -1] + [0, 1]
    return Scan(path.stem, vertices, np.asarray(mesh.faces, np.int64), texture, turned.astype(np.float32))


def in_head_frame(scan: Scan, finder: FaceFinder) -> Scan:
    """The scan in metres, between its pupils the origin, with the landmarks that are seen from the front.

    Raises:
        ScanError: a landmark that is on no surface.
        FacewrightError: no face is found in its photograph.
    """
    low, high = scan.vertices.min(axis=0), scan.vertices.max(axis=0)
    rough = _with_vertices(scan, (scan.vertices - (low + high) / 2) * (0.32 / float(np.max(high - low))))
    view = View.turned(size=_SIDE, span=0.42, pivot=(0.0, 0.0, 0.0))
    face = finder.fit_photo(_png(_picture(rough, view, STUDIO)))
    landmarks = _lifted(rough, view, face.landmarks_in_photo)
    pupils = landmarks[[_RIGHT_IRIS, _LEFT_IRIS]]
    scale = _PUPILS / float(np.linalg.norm(pupils[1] - pupils[0]))
    middle = pupils.mean(axis=0)
    moved = _with_vertices(rough, (rough.vertices - middle) * scale)
    return Scan(
        moved.name, moved.vertices, moved.triangles, moved.texture, moved.uv, (landmarks - middle) * scale
    )


def photograph(scan: Scan, yaw: float, light: Light) -> bytes:
    """A PNG file of a scan `in_head_frame`, turned by ``yaw`` degrees to the subject's left."""
    return _png(_picture(scan, View.turned(yaw, size=_SIDE, span=0.40), light))


def seen_from_outside(scan: Scan) -> npt.NDArray[np.bool_]:
    """Which vertices [V] of a scan `in_head_frame` a camera can see. The others are linings, as of mouth and
    eye sockets, which are no measurement: nearly half of the points that the Lee Perry-Smith scan has near
    the nose."""
    triangles = scan.triangles.astype(np.int32)
    seen = np.zeros(len(scan.vertices), bool)
    for yaw, pitch in product(_SEEN_YAWS, _SEEN_PITCHES):
        view = View.turned(yaw, pitch, size=_SIDE, span=0.42)
        clip = view.clip_positions(scan.vertices.astype(np.float32))
        raster = rasterize(clip[None], triangles, view.height, view.width, cull_back_faces=True)
        found = np.unique(raster.triangle_id[0])
        seen[triangles[found[found >= 0]]] = True
    return seen


def vertex_picture(scan: Scan, colours: npt.NDArray[np.floating], view: View) -> U8:
    """A picture u8 [H, W, 3] of a scan whose vertices have linear ``colours`` [V, 3], as they are."""
    return _drawn(scan, view, np.asarray(colours, np.float32), None)


def _picture(scan: Scan, view: View, light: Light) -> U8:
    normals = scan.normals
    if light.follows_camera:
        normals = normals @ (np.diag([1.0, -1.0, -1.0]) @ view.head_to_camera[:, :3]).T
    shading = np.maximum(sh_shading(normals.astype(np.float32)[None], light.coefficients[None])[0], 0)
    return _drawn(scan, view, shading, scan.texture)


def _drawn(scan: Scan, view: View, colours: npt.NDArray[np.float32], texture: U8 | None) -> U8:
    """Vertex colours [V, 3], times the texture's where there is one, at twice the size and averaged."""
    triangles = scan.triangles.astype(np.int32)
    large = view.window(0, 0, view.width, 2 * view.width)
    clip = large.clip_positions(scan.vertices.astype(np.float32))
    raster = rasterize(clip[None], triangles, large.height, large.width, cull_back_faces=True)
    at = interpolate(np.concatenate([scan.uv, colours], axis=1)[None], triangles, raster)
    light = at[0, ..., 2:]
    if texture is not None:
        light = light * texture_sample(texture[None], np.ascontiguousarray(at[..., :2]), srgb=True)[0]
    light = np.where(raster.triangle_id[0, ..., None] >= 0, light, _GREY)
    blocks = light.reshape(view.height, 2, view.width, 2, 3)
    return srgb_from_linear(blocks.mean(axis=(1, 3), dtype=np.float32))


def _lifted(scan: Scan, view: View, pixels: FloatArray) -> FloatArray:
    """The points [N, 3] of the scan that ``pixels`` [N, 2] show; those beside it are taken from the nearest
    pixel that shows something."""
    triangles = scan.triangles.astype(np.int32)
    clip = view.clip_positions(scan.vertices.astype(np.float32))
    raster = rasterize(clip[None], triangles, view.height, view.width, cull_back_faces=True)
    at = interpolate(scan.vertices.astype(np.float32)[None], triangles, raster)[0]
    rows, columns = np.nonzero(raster.triangle_id[0] >= 0)
    if not len(rows):
        raise ScanError(f"{scan.name} shows nothing from the front: it must look along +z, +y being up")
    nearest = cKDTree(np.stack([columns, rows], axis=1) + 0.5).query(pixels)[1]
    points: FloatArray = at[rows[nearest], columns[nearest]].astype(np.float64)
    return points


def _with_vertices(scan: Scan, vertices: FloatArray) -> Scan:
    return Scan(scan.name, vertices, scan.triangles, scan.texture, scan.uv)


def _texture_beside(path: Path) -> U8 | None:
    for suffix in (".jpg", ".png"):
        beside = path.with_name(f"{path.stem}.texture{suffix}")
        if beside.is_file():
            with Image.open(beside) as image:
                return np.asarray(image.convert("RGB"))
    return None


def _png(picture: U8) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return file.getvalue()


def scan_files(folder: Path) -> Sequence[Path]:
    """The scans in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def photo_of(path: Path) -> Path | None:
    """The photo of the same name beside a scan."""
    beside = (path.with_suffix(suffix) for suffix in (".jpg", ".jpeg", ".png", ".webp"))
    return next((photo for photo in beside if photo.is_file()), None)
