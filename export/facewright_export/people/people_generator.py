"""Synthetic people and their photos, drawn from one seed with everything about them known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.head.head_model import HeadModel
from facewright.photo.landmark_crop import MESH_COUNT
from facewright_export.people import scene, worn
from facewright_export.people.backgrounds import draw_background
from facewright_export.people.camera_effects import photographed, srgb_bytes
from facewright_export.people.cameras import Framing, View, draw_view
from facewright_export.people.complexion import Complexion, draw_complexion
from facewright_export.people.face_chart import BEARDS, FaceChart
from facewright_export.people.face_shapes import FaceShapes
from facewright_export.people.hair import HairGrower, HairStyle, draw_hair_style
from facewright_export.people.lighting import draw_light, lamp_visibility
from facewright_export.people.shading import PersonShader, Scalp, SeenSurface
from facewright_export.people.truth import Light, PersonTruth
from facewright_kernels import PinholeCamera, antialias, interpolate, pinhole_clip_positions, rasterize

Floats = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

GLASSES_SHARE: Final = 0.25
HAT_SHARE: Final = 0.08
OCCLUDER_SHARE: Final = 0.08
#: Landmarks of the nose's bridge and of the ears' fronts, where glasses rest.
_BRIDGE: Final = 168
_EAR_VERTICES: Final = 0.9  # of the ears' region


@dataclass(frozen=True)
class Person:
    """Somebody who can be photographed.

    Attributes:
        identity: float32 [160].
        expression: float32 [52], without the eyeLook shapes.
        eye_rotation: float32 [2, 2] (``PersonTruth``).
        skin: colours.
        hair: how it is worn.
        glasses, hat, occluder: what is worn or held.
        seed: of all details.
    """

    identity: Floats = field(repr=False)
    expression: Floats = field(repr=False)
    eye_rotation: Floats
    skin: Complexion
    hair: HairStyle
    glasses: bool
    hat: bool
    occluder: bool
    seed: int

    def plain(self) -> Person:
        """The same person without glasses, hat or anything before the face, looking straight and calm."""
        return replace(
            self,
            expression=np.zeros_like(self.expression),
            eye_rotation=np.zeros_like(self.eye_rotation),
            glasses=False,
            hat=False,
            occluder=False,
        )


@dataclass(frozen=True)
class PeopleBatch:
    """Photos float32 [N, 3, H, W], sRGB 0-1, and the truth of each."""

    images: Floats
    truths: list[PersonTruth]


class PeopleGenerator:
    """Draws people of a head model and photographs them.

    Person ``i`` of a seed is the same whatever else was drawn before.

    Args:
        head: whose identity prior people are drawn from.
        seed: of everything; 0 or more.
    """

    def __init__(self, head: HeadModel, seed: int) -> None:
        if seed < 0:
            raise ValueError(f"the seed must be 0 or more, not {seed}")
        self._head = head
        self._seed = seed
        self._shapes = FaceShapes(head)
        # patterns that people share are the same for every seed
        self._chart = FaceChart(head, np.random.Generator(np.random.PCG64(0)))
        self._grower = HairGrower(head)
        self._mesh = scene.SceneMesh(head, self._chart.uv)
        self._shader = PersonShader(head)
        self._ears = np.stack(
            [self._ear(side) for side in (1.0, -1.0)]
        )

    def draw(self, index: int) -> Person:
        """Person ``index``, 0 or more."""
        random = self._random(index, 0)
        skin = draw_complexion(random, tuple(BEARDS))
        hat = random.random() < HAT_SHARE
        return Person(
            identity=self._shapes.draw_identity(random),
            expression=self._shapes.draw_expression(random),
            eye_rotation=self._shapes.draw_gaze(random),
            skin=skin,
            hair=draw_hair_style(random, hat),
            glasses=random.random() < GLASSES_SHARE,
            hat=hat,
            occluder=random.random() < OCCLUDER_SHARE,
            seed=index,
        )

    def photograph(
        self, count: int, side: int = 256, framing: Framing | None = None, first: int = 0
    ) -> PeopleBatch:
        """Photos of the people ``first`` to ``first + count - 1``, ``side`` pixels square.

        Raises ValueError for a count under 1, a negative ``first`` or a side under 32.
        """
        if count < 1 or first < 0:
            raise ValueError(f"count must be 1 or more and first 0 or more, not {count} and {first}")
        if side < 32:
            raise ValueError(f"a photo has 32 pixels per side or more, not {side}")
        images = np.empty((count, 3, side, side), np.float32)
        truths = []
        for number in range(count):
            person = self.draw(first + number)
            random = self._random(first + number, 1)
            view = draw_view(random, self._landmarks(person), side, framing or Framing())
            light = draw_light(random, view.head_to_camera[:, :3], float(person.skin.skin @ LUMINANCE))
            linear, truth = self.portrait(person, view, light, side)
            images[number] = photographed(linear, random).transpose(2, 0, 1) / np.float32(255)
            truths.append(truth)
        return PeopleBatch(images, truths)

    def portrait(self, person: Person, view: View, light: Light, side: int) -> tuple[Floats, PersonTruth]:
        """What a perfect camera sees, linear RGB [side, side, 3], and its truth."""
        random = self._random(person.seed, 2)
        expression = self._shapes.with_gaze(person.expression, person.eye_rotation)
        vertices = self._shapes.posed(person.identity, expression, person.eye_rotation)
        worn_things = self._dressed(person, vertices, random)
        attributes = self._mesh.attributes(vertices, worn_things)
        truth = PersonTruth(
            identity=person.identity,
            expression=expression,
            eye_rotation=person.eye_rotation,
            intrinsics=view.intrinsics,
            head_to_camera=view.head_to_camera,
            light=light,
            albedo=person.skin.skin,
            vertices=vertices,
            glasses=person.glasses,
            sunglasses=worn_things.glasses is not None and worn_things.glasses.opacity > 0.5,
            hair=worn_things.hair is not None,
            beard=bool(person.skin.beard_kind),
            hat=person.hat,
            occluder=person.occluder,
        )
        return self._rendered(person, attributes, worn_things, view, light, side, random), truth

    def _rendered(
        self,
        person: Person,
        attributes: Floats,
        worn_things: scene.Dressed,
        view: View,
        light: Light,
        side: int,
        random: np.random.Generator,
    ) -> Floats:
        camera = PinholeCamera(view.intrinsics[None], view.head_to_camera[None], side, side)
        places = np.ascontiguousarray(attributes[:, scene.PLACE])
        clip = pinhole_clip_positions(places[None], camera)
        raster = rasterize(clip, self._mesh.triangles, side, side)
        seen = raster.triangle_id[0] >= 0
        values = interpolate(attributes[None], self._mesh.triangles, raster)[0][seen]
        turn, shift = view.head_to_camera[:, :3], view.head_to_camera[:, 3]
        to_camera = -turn.T @ shift - values[:, scene.PLACE]
        to_camera /= np.linalg.norm(to_camera, axis=1, keepdims=True)
        normal = values[:, scene.NORMAL]
        normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
        away = (normal * to_camera).sum(axis=1) < 0
        normal[away] *= -1
        depth = float(shift[2])
        surface = SeenSurface(
            values,
            self._mesh.material[raster.triangle_id[0][seen]],
            seen,
            normal,
            to_camera,
            depth / float(view.intrinsics[0, 0]),
        )
        visibility = [
            lamp_visibility(lamp, places, self._mesh.triangles, values[:, scene.PLACE], normal)
            for lamp in light.lamps
        ]
        chart = self._chart.draw(person.skin, random)
        picture = draw_background(random, side)
        scalp = Scalp(person.hair.paint, person.hair.recession)
        picture[seen] = self._shader.shade(surface, person.skin, chart, scalp, light, visibility)
        np.clip(picture, 0, 1.2, out=picture)
        if worn_things.glasses is not None:
            self._through_lenses(picture, raster.depth[0], worn_things.glasses, camera, light)
        return antialias(picture[None], raster, clip, self._mesh.triangles, self._mesh.topology)[0]

    def _through_lenses(
        self, picture: Floats, depth: Floats, glasses: worn.Glasses, camera: PinholeCamera, light: Light
    ) -> None:
        """Tints what is behind the glasses and adds what they mirror."""
        clip = pinhole_clip_positions(glasses.lenses[None].astype(np.float32), camera)
        raster = rasterize(clip, worn.LENS_TRIANGLES, *depth.shape)
        glass = (raster.triangle_id[0] >= 0) & (raster.depth[0] <= depth)
        rows = np.nonzero(glass)[0]
        if not len(rows):
            return
        mirrored = 0.035 * light.total()[0] * 0.28 * np.linspace(1.8, 0.2, depth.shape[0])[rows, None]
        picture[glass] += (glasses.tint - picture[glass]) * np.float32(glasses.opacity) + mirrored

    def _dressed(self, person: Person, vertices: Floats, random: np.random.Generator) -> scene.Dressed:
        neutral = self._shapes.posed(person.identity, np.zeros_like(person.expression), person.eye_rotation * 0)
        carry = self._mesh.carried(neutral)

        def carried(surface: worn.Surface) -> worn.Surface:
            return replace(surface, vertices=surface.vertices @ carry[:3] + carry[3])

        hair = self._grower.grow(person.hair, random) if person.hair.grows else None
        if hair is not None:
            hair = replace(hair, points=hair.points @ carry[:3] + carry[3])
        body = carried(worn.draw_body(random, person.skin.skin))
        hat = carried(worn.draw_hat(random)) if person.hat else None
        glasses = None
        if person.glasses:
            eyes = np.stack([vertices[part].mean(axis=0) for part in self._eye_vertices()])
            eyes[:, 2] += 0.012
            ears = neutral[self._ears].astype(np.float64) + [[0.002, 0.004, 0], [-0.002, 0.004, 0]]
            bridge = self._head.landmarks(neutral)[_BRIDGE]
            glasses = worn.draw_glasses(random, eyes.astype(np.float64), bridge.astype(np.float64), ears)
        occluder = carried(worn.draw_occluder(random, person.skin.skin)) if person.occluder else None
        return scene.Dressed(hair, glasses, hat, body, occluder)

    def _landmarks(self, person: Person) -> Floats:
        vertices = self._shapes.posed(person.identity, person.expression, person.eye_rotation)
        return self._head.landmarks(vertices)[:MESH_COUNT]

    def _eye_vertices(self) -> list[npt.NDArray[np.int32]]:
        return [
            np.unique(self._head.triangles[self._head.part_triangles(part)]) for part in ("eye_left", "eye_right")
        ]

    def _ear(self, side: float) -> int:
        """The vertex where an ear's top meets the head."""
        mean = self._head.vertices_mean
        ear = np.flatnonzero((self._head.region("ears") > _EAR_VERTICES) & (mean[:, 0] * side > 0))
        score = mean[ear, 1] + mean[ear, 2] - 0.5 * np.abs(mean[ear, 0])
        return int(ear[score.argmax()])

    def _random(self, index: int, purpose: int) -> np.random.Generator:
        if index < 0:
            raise ValueError(f"people are numbered from 0, not {index}")
        return np.random.Generator(np.random.PCG64([self._seed, index, purpose]))


LUMINANCE: Final = np.array([0.2126, 0.7152, 0.0722], np.float32)
