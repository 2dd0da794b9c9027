"""Pictures of people as a perfect camera takes them, in linear light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facewright.head.head_model import HeadModel
from facewright_export.people import scene, worn
from facewright_export.people.backgrounds import draw_background
from facewright_export.people.cameras import View
from facewright_export.people.face_chart import FaceChart
from facewright_export.people.person import Person
from facewright_export.people.scene import SceneMesh
from facewright_export.people.shading import PersonShader, SeenSurface, SkinSurface, dot
from facewright_export.people.truth import Light
from facewright_export.people.wardrobe import Dressed, Wardrobe
from facewright_kernels import (
    PinholeCamera,
    Raster,
    antialias,
    interpolate,
    pinhole_clip_positions,
    rasterize,
)

Floats = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

#: Brightest radiance that is kept, so that antialiased highlights have no hard edge.
_BRIGHTEST = 1.2


@dataclass(frozen=True)
class Portrait:
    """A picture, and what it was made of.

    Attributes:
        picture: linear RGB float32 [side, side, 3].
        sunglasses: whether the glasses hide the eyes.
        person: bool [side, side], where the person is and whatever it wears or holds.
        skin: of the head.
    """

    picture: Floats
    sunglasses: bool
    person: BoolArray
    skin: SkinSurface


class PersonRenderer:
    """Renders the people of one head model."""

    def __init__(self, head: HeadModel) -> None:
        # patterns that people share are the same for every generator
        self._chart = FaceChart(head, np.random.Generator(np.random.PCG64(0)))
        self._wardrobe = Wardrobe(head)
        self._mesh = SceneMesh(head, self._chart.uv)
        self._shader = PersonShader(head)

    def render(
        self, person: Person, neutral: Floats, vertices: Floats, view: View, light: Light, side: int
    ) -> Portrait:
        """A picture of ``side`` pixels square.

        Args:
            person: who is seen.
            neutral, vertices: float32 [V, 3], of the head without and with expression (``FaceShapes.posed``).
            view: of the picture.
            light: in head space.
            side: pixels.
        """
        random = np.random.Generator(np.random.PCG64(list(person.details)))
        dressed = self._wardrobe.dress(person, neutral, vertices, random)
        placed = self._mesh.place(vertices, dressed)
        lit = [self._mesh.visibility(placed, lamp) for lamp in light.lamps]
        camera = PinholeCamera(view.intrinsics[None], view.head_to_camera[None], side, side)
        clip = pinhole_clip_positions(placed.places[None], camera)
        raster = rasterize(clip, self._mesh.triangles, side, side)
        attributes = np.column_stack([placed.attributes, *lit])
        surface = self._seen(attributes, raster, view)
        chart = self._chart.draw(person.skin, random)
        picture = draw_background(random, side)
        picture[surface.seen] = self._shader.shade(surface, person.skin, person.hair, chart, light)
        if dressed.glasses is not None:
            _see_through(picture, raster.depth[0], dressed.glasses, camera, light)
        np.clip(picture, 0, _BRIGHTEST, out=picture)
        smooth = antialias(picture[None], raster, clip, self._mesh.triangles, self._mesh.topology)[0]
        skin = SkinSurface(attributes[: len(vertices)], chart, person.skin, person.hair, light)
        return Portrait(smooth, _hides_eyes(dressed), surface.seen, skin)

    def _seen(self, attributes: Floats, raster: Raster, view: View) -> SeenSurface:
        seen = raster.triangle_id[0] >= 0
        pixels = np.flatnonzero(seen)
        values = interpolate(attributes[None], self._mesh.triangles, raster)[0]
        values = np.ascontiguousarray(values.reshape(-1, values.shape[2])[pixels].T)
        to_camera = _towards_camera(view, seen.shape[1], pixels)
        normal = values[scene.NORMAL]
        # the surface's side that is seen
        size = np.sqrt(dot(normal, normal)) + np.float32(1e-9)
        normal /= np.copysign(size, dot(normal, to_camera))
        return SeenSurface(
            values=values,
            material=self._mesh.material[raster.triangle_id.ravel()[pixels]],
            seen=seen,
            normal=normal,
            to_camera=to_camera,
            pixel_size=float(view.head_to_camera[2, 3] / view.intrinsics[0, 0]),
        )


def _towards_camera(view: View, width: int, pixels: npt.NDArray[np.int64]) -> Floats:
    """Unit vectors [3, N] in head space from what ``pixels`` [N] of an image see to the camera."""
    rays = np.ones((3, len(pixels)), np.float32)
    rays[0], rays[1] = pixels % width, pixels // width
    rays[:2] += np.float32(0.5)
    to_head = view.head_to_camera[:, :3].T @ np.linalg.inv(view.intrinsics)
    towards: Floats = -to_head.astype(np.float32) @ rays
    towards /= np.sqrt(dot(towards, towards))
    return towards


def _hides_eyes(dressed: Dressed) -> bool:
    return dressed.glasses is not None and dressed.glasses.opacity > 0.5


def _see_through(
    picture: Floats, depth: Floats, glasses: worn.Glasses, camera: PinholeCamera, light: Light
) -> None:
    """Tints what is behind the glasses and adds what they mirror, in place."""
    clip = pinhole_clip_positions(glasses.lenses[None].astype(np.float32), camera)
    raster = rasterize(clip, worn.LENS_TRIANGLES, *depth.shape)
    glass = (raster.triangle_id[0] >= 0) & (raster.depth[0] <= depth)
    rows = np.nonzero(glass)[0]
    sky = np.linspace(1.8, 0.2, len(depth), dtype=np.float32)[rows, None] * light.total()[0]
    picture[glass] += (glasses.tint.astype(np.float32) - picture[glass]) * np.float32(
        glasses.opacity
    ) + 0.01 * sky
