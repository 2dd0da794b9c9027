"""People's form: identities, expressions and gaze drawn at random, and the posed vertices they make."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.fit.gaze import Gaze
from facewright.head.head_model import HeadModel
from facewright_client.contract import EXPRESSION_SIZE, IDENTITY_SIZE

Floats = npt.NDArray[np.float32]

#: Share of the photos with a neutral face.
NEUTRAL_SHARE: Final = 0.3
#: A person's identity is drawn at one of these multiples of the prior's standard deviation.
IDENTITY_SPREADS: Final = (0.8, 1.0, 1.2)
#: Heads that are posed by one product.
GROUP: Final = 16
GAZE_SIGMA: Final = np.radians([9.0, 6.0])  # yaw, pitch
#: Shapes that people show together; a side's name stands for both sides.
EXPRESSION_GROUPS: Final[tuple[tuple[str, ...], ...]] = (
    ("jawOpen",),
    ("mouthSmile",),
    ("mouthSmile", "cheekSquint"),
    ("mouthSmile", "jawOpen", "mouthUpperUp"),
    ("eyeBlink",),
    ("browInnerUp", "browOuterUp"),
    ("browInnerUp",),
    ("browDown",),
    ("mouthPucker",),
    ("mouthFunnel",),
    ("eyeWide",),
    ("eyeSquint", "cheekSquint"),
    ("noseSneer",),
    ("mouthFrown",),
    ("mouthUpperUp",),
    ("mouthLowerDown",),
    ("mouthStretch",),
    ("mouthPress",),
    ("mouthRollLower", "mouthRollUpper"),
    ("mouthShrugLower", "mouthShrugUpper"),
    ("cheekPuff",),
    ("mouthDimple",),
    ("jawLeft",),
    ("jawRight",),
    ("jawForward",),
    ("mouthLeft",),
    ("mouthRight",),
)
#: How strongly a group is shown: a uniform draw to this power. Lids are open or closed, and photos rarely
#: catch them on their way; of other shapes a trace is less worth learning from than all of them.
USUAL_POWER: Final = 0.5
BLINK_POWER: Final = 0.25


class FaceShapes:
    """Draws and poses the heads of one model."""

    def __init__(self, head: HeadModel) -> None:
        self._head = head
        self._gaze = Gaze(head)
        self._index = {str(name): row for row, name in enumerate(head.expression_names)}
        moved = head.expression_basis.copy()
        for eye in self._gaze.eyes:
            moved[:, eye.vertices] = 0  # eyeballs turn; a linear addition would shrink them
        self._identity_basis = head.identity_basis.reshape(IDENTITY_SIZE, -1)
        self._expression_basis = moved.reshape(EXPRESSION_SIZE, -1)

    def draw_identity(self, random: np.random.Generator) -> Floats:
        """Identity coefficients [160]."""
        spread = random.choice(IDENTITY_SPREADS)
        identity: Floats = (random.standard_normal(IDENTITY_SIZE) * spread).astype(np.float32)
        return identity

    def draw_expression(self, random: np.random.Generator) -> Floats:
        """Weights [52] of one to three groups of shapes, left and right nearly alike, or a neutral face."""
        weights = np.zeros(EXPRESSION_SIZE, np.float32)
        if random.random() < NEUTRAL_SHARE:
            return weights
        for _ in range(random.integers(1, 4)):
            uniform = random.uniform()
            group = EXPRESSION_GROUPS[random.integers(len(EXPRESSION_GROUPS))]
            amount = uniform ** (BLINK_POWER if "eyeBlink" in group else USUAL_POWER)
            for name in group:
                strength = amount * random.uniform(0.8, 1.0)
                for shape in self._sides(name):
                    row = self._index[shape]
                    weights[row] = max(weights[row], min(strength * random.uniform(0.9, 1.1), 1.0))
        return weights

    def draw_gaze(self, random: np.random.Generator) -> Floats:
        """Eye rotations [2, 2] (``PersonTruth.eye_rotation``); both eyes look the same way."""
        angles = random.standard_normal(2) * GAZE_SIGMA
        return np.tile(np.clip(angles, -0.45, 0.45), (2, 1)).astype(np.float32)

    def with_gaze(self, expression: Floats, eye_rotation: Floats) -> Floats:
        """``expression`` [52] with the eyeLook shapes that go with the eyes' rotation: the lids follow."""
        weights = expression.copy()
        for name, weight in self._gaze.look_weights(eye_rotation).items():
            # a closed lid has nothing to follow
            closed = expression[self._index["eyeBlink" + ("Left" if name.endswith("Left") else "Right")]]
            weights[self._index[name]] = weight * (1 - closed)
        return weights

    def posed(
        self, row: int, identities: Floats, expressions: Floats, eye_rotations: Floats
    ) -> tuple[Floats, Floats]:
        """Neutral vertices [N, V, 3] of N people, and those with expression and turned eyes.

        Args:
            row: of the first of them in a product of ``GROUP`` rows. Products of other sizes round otherwise,
                and a person's shape shall not depend on who is asked for with it.
            identities: [N, 160].
            expressions: [N, 52].
            eye_rotations: [N, 2, 2].
        """
        count = len(identities)
        rows = np.zeros((GROUP, IDENTITY_SIZE + EXPRESSION_SIZE), np.float32)
        rows[row : row + count, :IDENTITY_SIZE] = identities
        rows[row : row + count, IDENTITY_SIZE:] = expressions
        moved = (rows[:, :IDENTITY_SIZE] @ self._identity_basis)[row : row + count]
        expressed = (rows[:, IDENTITY_SIZE:] @ self._expression_basis)[row : row + count]
        neutral: Floats = self._head.vertices_mean + moved.reshape(count, -1, 3)
        vertices: Floats = neutral + expressed.reshape(count, -1, 3)
        for own, still, angles in zip(vertices, neutral, eye_rotations, strict=True):
            self._gaze.turn(own, self._head.joints(still), angles)
        return neutral, vertices

    def _sides(self, name: str) -> list[str]:
        return [name] if name in self._index else [name + "Left", name + "Right"]
