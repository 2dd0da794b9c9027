"""Photos of heads whose shape, expression and pose are known: synthetic people of the open head's prior."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from facewright.head.head_model import HeadModel
from facewright_client.contract import EXPRESSION_SIZE
from facewright_export.people.camera_effects import srgb_bytes
from facewright_export.people.cameras import View, head_turn
from facewright_export.people.hair import HairStyle
from facewright_export.people.lighting import draw_light, luminance
from facewright_export.people.people_generator import PeopleGenerator
from facewright_export.people.person import Person

FloatArray = npt.NDArray[np.float64]

#: Expressions that are photographed beside the neutral face, by the weight that is to be found.
EXPRESSIONS: Final[dict[str, dict[str, float]]] = {
    "jawOpen .6": {"jawOpen": 0.6},
    "smile .8": {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8},
    "blink 1": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "brow raise .9": {"browInnerUp": 0.9, "browOuterUpLeft": 0.9, "browOuterUpRight": 0.9},
    "brow down .8": {"browDownLeft": 0.8, "browDownRight": 0.8},
    "pucker .8": {"mouthPucker": 0.8},
    "frown .8": {"mouthFrownLeft": 0.8, "mouthFrownRight": 0.8},
    "sneer .8": {"noseSneerLeft": 0.8, "noseSneerRight": 0.8},
}
_PHOTO_SIDE: Final = 768  # pixels
_SPAN: Final = 0.42  # metres across the photo


@dataclass(frozen=True)
class KnownHead:
    """A drawn person.

    Attributes:
        person: calm, with nothing before the face.
        neutral: float64 [V, 3], metres.
    """

    person: Person
    neutral: FloatArray = field(repr=False)


@dataclass(frozen=True)
class Sitting:
    """How a photo is taken.

    Attributes:
        light: which of the lights that are drawn for a person.
        distance: of the camera, metres; what the photo spans stays the same.
        hair: other hair than the person's.
    """

    light: int = 0
    distance: float = 0.9
    hair: HairStyle | None = None


class HeadPhotographer:
    """Draws people of a head model and takes their photos.

    Args:
        head: whose prior people are drawn from.
        seed: of the people; none that anything was trained or tuned on.
    """

    def __init__(self, head: HeadModel, seed: int) -> None:
        self._head = head
        self._people = PeopleGenerator(head, seed)
        self._drawn = 0
        self._names = [str(name) for name in head.expression_names]

    def draw(self) -> KnownHead:
        """The next person."""
        person = self._people.draw(self._drawn).plain()
        self._drawn += 1
        return KnownHead(person, self._head.neutral(person.identity).astype(np.float64))

    def weights(self, expression: dict[str, float]) -> FloatArray:
        """An expression as float64 [52]."""
        weights = np.zeros(EXPRESSION_SIZE)
        for name, weight in expression.items():
            weights[self._names.index(name)] = weight
        return weights

    def photo(
        self,
        head: KnownHead,
        expression: dict[str, float] | None = None,
        yaw: float = 0.0,
        sitting: Sitting | None = None,
    ) -> bytes:
        """A PNG file of a person who is turned by ``yaw`` degrees to the subject's left."""
        sitting = sitting or Sitting()
        weights = self.weights(expression or {}).astype(np.float32)
        turn = head_turn(float(np.radians(yaw)), 0.0, 0.0)
        focal = _PHOTO_SIDE * sitting.distance / _SPAN
        # the middle of a head lies behind and below that of its eyes
        middle = turn @ [0.0, -0.03, -0.06]
        shift = np.array([0.0, 0.0, sitting.distance]) - middle
        intrinsics = np.array(
            [[focal, 0, _PHOTO_SIDE / 2], [0, focal, _PHOTO_SIDE / 2], [0, 0, 1]], np.float32
        )
        view = View(intrinsics, np.concatenate([turn, shift[:, None]], axis=1).astype(np.float32))
        # the light stays where it is when the head turns
        seed = [*head.person.details, sitting.light] if sitting.light else list(head.person.details)
        random = np.random.Generator(np.random.PCG64(seed))
        light = draw_light(random, turn, luminance(head.person.skin.skin))
        person = replace(head.person, expression=weights, hair=sitting.hair or head.person.hair)
        picture, _ = self._people.portrait(person, view, light, _PHOTO_SIDE)
        file = io.BytesIO()
        Image.fromarray(srgb_bytes(picture)).save(file, "PNG")
        return file.getvalue()
