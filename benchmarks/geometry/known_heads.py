"""Photos of heads whose shape, expression and pose are known: painted heads of the open head's own prior."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from facewright.head.head_model import HeadModel
from facewright_client.contract import EXPRESSION_SIZE, IDENTITY_SIZE
from facewright_export.open_head.landmark_observations import rotation_matrix
from facewright_export.open_head.painted_heads import HeadPainter, Look, random_look
from facewright_kernels import PinholeCamera

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

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
_DISTANCE: Final = 0.9  # metres
_SPAN: Final = 0.42  # metres across the photo


@dataclass(frozen=True)
class KnownHead:
    """A drawn person.

    Attributes:
        identity: float64 [160].
        look: skin, hair, eyes, light.
        neutral: float64 [V, 3], metres.
    """

    identity: FloatArray = field(repr=False)
    look: Look
    neutral: FloatArray = field(repr=False)


class HeadPhotographer:
    """Draws people of a head model and takes their photos.

    Args:
        head: whose prior people are drawn from.
        seed: of the people; none that anything was trained or tuned on.
    """

    def __init__(self, head: HeadModel, seed: int) -> None:
        self._head = head
        self._painter = HeadPainter(head, _PHOTO_SIDE)
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._names = [str(name) for name in head.expression_names]

    def draw(self) -> KnownHead:
        """The next person."""
        identity = self._random.standard_normal(IDENTITY_SIZE)
        neutral = self._head.neutral(identity).astype(np.float64)
        return KnownHead(identity, random_look(self._random), neutral)

    def weights(self, expression: dict[str, float]) -> FloatArray:
        """An expression as float64 [52]."""
        weights = np.zeros(EXPRESSION_SIZE)
        for name, weight in expression.items():
            weights[self._names.index(name)] = weight
        return weights

    def photo(self, person: KnownHead, expression: dict[str, float] | None = None, yaw: float = 0.0) -> bytes:
        """A PNG file of a person who is turned by ``yaw`` degrees to the subject's left."""
        vertices = self._head.shape(person.identity, self.weights(expression or {}))
        turn = np.diag([1.0, -1.0, -1.0]) @ rotation_matrix(float(np.radians(yaw)), 0.0, 0.0)
        focal = _PHOTO_SIDE * _DISTANCE / _SPAN
        # the middle of a head lies behind and below that of its eyes
        middle = turn @ [0.0, -0.03, -0.06]
        shift = np.array([0.0, 0.0, _DISTANCE]) - middle
        intrinsics = np.array([[focal, 0, _PHOTO_SIDE / 2], [0, focal, _PHOTO_SIDE / 2], [0, 0, 1]])
        camera = PinholeCamera(
            intrinsics[None].astype(np.float32),
            np.concatenate([turn, shift[:, None]], axis=1)[None].astype(np.float32),
            _PHOTO_SIDE,
            _PHOTO_SIDE,
        )
        picture = self._painter.paint(vertices[None], camera, [person.look])[0]
        file = io.BytesIO()
        Image.fromarray((picture.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)).save(file, "PNG")
        return file.getvalue()
