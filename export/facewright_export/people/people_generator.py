"""Synthetic people and their photos, drawn from one seed with everything about them known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.head.head_model import HeadModel
from facewright.pipelines.tensors import MESH_COUNT
from facewright_export.people.camera_effects import photographed
from facewright_export.people.cameras import Framing, View, draw_view
from facewright_export.people.face_shapes import GROUP, FaceShapes
from facewright_export.people.lighting import draw_light, luminance
from facewright_export.people.person import Person, draw_person
from facewright_export.people.rendering import PersonRenderer, Portrait
from facewright_export.people.truth import Light, PersonTruth

Floats = npt.NDArray[np.float32]

SMALLEST_SIDE: Final = 32  # pixels


@dataclass(frozen=True)
class PeopleBatch:
    """Photos float32 [N, 3, H, W], sRGB 0-1, and the truth of each."""

    images: Floats
    truths: list[PersonTruth]


@dataclass(frozen=True)
class PersonPhoto:
    """A photo uint8 [side, side, 3], its truth, and the portrait that was photographed."""

    image: npt.NDArray[np.uint8]
    truth: PersonTruth
    portrait: Portrait


class PeopleGenerator:
    """Draws people of a head model and photographs them.

    Person ``i`` of a seed, and the photo of it, are the same whatever else was drawn before.

    Args:
        head: whose identity prior people are drawn from.
        seed: of everything; 0 or more.
    """

    def __init__(self, head: HeadModel, seed: int) -> None:
        if seed < 0:
            raise ValueError(f"the seed must be 0 or more, not {seed}")
        self._head, self._seed = head, seed
        self._shapes = FaceShapes(head)
        self._renderer = PersonRenderer(head)

    def draw(self, index: int) -> Person:
        """Person ``index``, 0 or more."""
        if index < 0:
            raise ValueError(f"people are numbered from 0, not {index}")
        return draw_person(self._shapes, (self._seed, index))

    def photograph(
        self, count: int, side: int = 256, framing: Framing | None = None, first: int = 0
    ) -> PeopleBatch:
        """Photos of the people ``first`` to ``first + count - 1``, ``side`` pixels square.

        Raises ValueError for a count under 1, a negative ``first`` or a side under 32.
        """
        if count < 1:
            raise ValueError(f"the count of people must be 1 or more, not {count}")
        if side < SMALLEST_SIDE:
            raise ValueError(f"a photo has {SMALLEST_SIDE} pixels per side or more, not {side}")
        images = np.empty((count, 3, side, side), np.float32)
        truths: list[PersonTruth] = []
        for photo in self.photos(count, side, framing, first):
            images[len(truths)] = photo.image.transpose(2, 0, 1) / np.float32(255)
            truths.append(photo.truth)
        return PeopleBatch(images, truths)

    def photos(
        self, count: int, side: int = 256, framing: Framing | None = None, first: int = 0
    ) -> Iterator[PersonPhoto]:
        """The same photos, one after the other, with what they were made of."""
        for start in range(first - first % GROUP, first + count, GROUP):
            indices = range(max(first, start), min(first + count, start + GROUP))
            people = [self.draw(index) for index in indices]
            heads = self._posed(people, indices.start - start)
            for index, person, neutral, vertices in zip(indices, people, *heads, strict=True):
                random = np.random.Generator(np.random.PCG64([self._seed, index, 2]))
                landmarks = self._head.landmarks(vertices)[:MESH_COUNT]
                view = draw_view(random, landmarks, side, framing or Framing())
                light = draw_light(random, view.head_to_camera[:, :3], luminance(person.skin.skin))
                portrait, truth = self._portrait(person, neutral, vertices, view, light, side)
                yield PersonPhoto(photographed(portrait.picture, random), truth, portrait)

    def portrait(self, person: Person, view: View, light: Light, side: int) -> tuple[Floats, PersonTruth]:
        """What a perfect camera sees, linear RGB [side, side, 3], and its truth."""
        neutral, vertices = self._posed([person])
        portrait, truth = self._portrait(person, neutral[0], vertices[0], view, light, side)
        return portrait.picture, truth

    def _posed(self, people: Sequence[Person], row: int = 0) -> tuple[Floats, Floats]:
        return self._shapes.posed(
            row,
            np.stack([person.identity for person in people]),
            np.stack([person.expression for person in people]),
            np.stack([person.eye_rotation for person in people]),
        )

    def _portrait(
        self, person: Person, neutral: Floats, vertices: Floats, view: View, light: Light, side: int
    ) -> tuple[Portrait, PersonTruth]:
        portrait = self._renderer.render(person, neutral, vertices, view, light, side)
        truth = PersonTruth(
            identity=person.identity,
            expression=person.expression,
            eye_rotation=person.eye_rotation,
            intrinsics=view.intrinsics,
            head_to_camera=view.head_to_camera,
            light=light,
            albedo=person.skin.skin,
            vertices=vertices,
            glasses=person.glasses,
            sunglasses=portrait.sunglasses,
            hair=person.hair.grows,
            beard=any(amount > 0.5 for amount in person.skin.beards.values()),
            hat=person.hat,
            occluder=person.occluder,
        )
        return portrait, truth
