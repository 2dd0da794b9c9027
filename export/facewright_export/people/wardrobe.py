"""Puts hair, glasses, hats, clothes and hands onto a person's head."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.head.head_model import HeadModel
from facewright_export.people import worn
from facewright_export.people.hair import Hair, HairGrower
from facewright_export.people.person import Person

Floats = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

#: The landmark of the nose's bridge, where glasses rest.
_BRIDGE: Final = 168


@dataclass(frozen=True)
class Dressed:
    """What somebody has beside the head, in head space; None is absent."""

    hair: Hair | None
    glasses: worn.Glasses | None
    hat: worn.Surface | None
    body: worn.Surface
    occluder: worn.Surface | None


class Wardrobe:
    """Dresses the people of one head model."""

    def __init__(self, head: HeadModel) -> None:
        self._head = head
        self._grower = HairGrower(head)
        mean = head.vertices_mean.astype(np.float64)
        outside = (head.region("scalp") > 0.3) | (head.region("ears") > 0.5) | (head.region("neck") > 0.5)
        self._outside = np.flatnonzero(outside | (head.region("forehead") > 0.5))
        self._solve = np.linalg.pinv(np.concatenate([mean, np.ones((len(mean), 1))], 1)[self._outside])
        self._eyes = [
            np.unique(head.triangles[head.part_triangles(f"eye_{side}")]) for side in ("left", "right")
        ]
        self._ears = [self._ear_top(side) for side in (1.0, -1.0)]

    def dress(
        self, person: Person, neutral: Floats, vertices: Floats, random: np.random.Generator
    ) -> Dressed:
        """What a person wears; ``neutral`` and posed ``vertices`` [V, 3] are of the person's head."""
        # hair, hats and bodies are made for the mean head
        carry = self._solve @ neutral[self._outside].astype(np.float64)

        def carried(surface: worn.Surface) -> worn.Surface:
            return replace(surface, vertices=surface.vertices @ carry[:3] + carry[3])

        hair = self._grower.grow(person.hair, random) if person.hair.grows else None
        return Dressed(
            hair=replace(hair, points=hair.points @ carry[:3] + carry[3]) if hair else None,
            body=carried(worn.draw_body(random)),
            hat=carried(worn.draw_hat(random)) if person.hat else None,
            glasses=self._glasses(neutral, vertices, random) if person.glasses else None,
            occluder=carried(worn.draw_occluder(random)) if person.occluder else None,
        )

    def _glasses(self, neutral: Floats, vertices: Floats, random: np.random.Generator) -> worn.Glasses:
        eyes = np.stack([vertices[eye].mean(axis=0) for eye in self._eyes]).astype(np.float64)
        eyes[:, 2] += 0.012  # the eyeball's centre lies behind the pupil
        ears = neutral[self._ears].astype(np.float64) + np.array([[0.005, 0.004, 0], [-0.005, 0.004, 0]])
        bridge = self._head.landmarks(neutral)[_BRIDGE].astype(np.float64)
        return worn.draw_glasses(random, eyes, bridge, ears)

    def _ear_top(self, side: float) -> int:
        """The vertex where an ear's top meets the head; ``side`` is 1 (left) or -1."""
        mean = self._head.vertices_mean
        ear = np.flatnonzero((self._head.region("ears") > 0.9) & (mean[:, 0] * side > 0))
        return int(ear[(mean[ear, 1] + mean[ear, 2] - 0.5 * np.abs(mean[ear, 0])).argmax()])
