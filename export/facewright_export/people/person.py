"""Somebody who can be photographed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright_export.people.chart_patterns import BEARDS
from facewright_export.people.complexion import Complexion, draw_complexion
from facewright_export.people.face_shapes import FaceShapes
from facewright_export.people.hair import HairStyle, draw_hair_style

Floats = npt.NDArray[np.float32]

GLASSES_SHARE: Final = 0.25
HAT_SHARE: Final = 0.08
OCCLUDER_SHARE: Final = 0.08


@dataclass(frozen=True)
class Person:
    """A person, as drawn.

    Attributes:
        identity: float32 [160].
        expression: float32 [52]; the eyeLook shapes are those of ``eye_rotation``.
        eye_rotation: float32 [2, 2] (``PersonTruth``).
        skin: colours.
        hair: how it is worn.
        glasses, hat, occluder: what is worn or held.
        details: seeds all that is not said here.
    """

    identity: Floats = field(repr=False)
    expression: Floats = field(repr=False)
    eye_rotation: Floats
    skin: Complexion
    hair: HairStyle
    glasses: bool
    hat: bool
    occluder: bool
    details: tuple[int, ...]

    def plain(self) -> Person:
        """The same person calm, looking straight ahead, with nothing worn or held before the face."""
        return replace(
            self,
            expression=np.zeros_like(self.expression),
            eye_rotation=np.zeros_like(self.eye_rotation),
            glasses=False,
            hat=False,
            occluder=False,
        )


def draw_person(shapes: FaceShapes, seed: tuple[int, ...]) -> Person:
    """The person of a seed."""
    random = np.random.Generator(np.random.PCG64([*seed, 0]))
    skin = draw_complexion(random, tuple(BEARDS))
    hat = random.random() < HAT_SHARE
    eye_rotation = shapes.draw_gaze(random)
    return Person(
        identity=shapes.draw_identity(random),
        expression=shapes.with_gaze(shapes.draw_expression(random), eye_rotation),
        eye_rotation=eye_rotation,
        skin=skin,
        hair=draw_hair_style(random, hat),
        glasses=random.random() < GLASSES_SHARE,
        hat=hat,
        occluder=random.random() < OCCLUDER_SHARE,
        details=(*seed, 1),
    )
