"""The 52 ARKit expression shapes of the open head, in Apple's order and spelling."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from facewright_export.open_head.eyeballs import turned
from facewright_export.open_head.makehuman_data import VERTEX_COUNT, MakeHumanData
from facewright_export.open_head.neck_cut import HeadTopology

FloatArray = npt.NDArray[np.float64]

#: Helper eyeball vertices with a larger cosine to the optical axis tell how far an expression turns the eye.
FRONT: Final = 0.97

#: ``ARFaceAnchor.BlendShapeLocation``, in the order of Apple's documentation.
EXPRESSION_NAMES: Final[tuple[str, ...]] = (
    "eyeBlinkLeft",
    "eyeLookDownLeft",
    "eyeLookInLeft",
    "eyeLookOutLeft",
    "eyeLookUpLeft",
    "eyeSquintLeft",
    "eyeWideLeft",
    "eyeBlinkRight",
    "eyeLookDownRight",
    "eyeLookInRight",
    "eyeLookOutRight",
    "eyeLookUpRight",
    "eyeSquintRight",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawRight",
    "jawOpen",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthLeft",
    "mouthRight",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
)


def expression_basis(makehuman: MakeHumanData, topology: HeadTopology, mean: FloatArray) -> FloatArray:
    """Displacement of the head's vertices by each expression at weight 1; float64 [52, V, 3], metres.

    The eyeballs turn with the ``eyeLook…`` shapes (as far as MakeHuman's, about their centre on the ``mean``
    head [V, 3]) and are still in all others.
    """
    basis = np.zeros((len(EXPRESSION_NAMES), len(mean), 3))
    for row, name in enumerate(EXPRESSION_NAMES):
        target = makehuman.expression(name)
        body = np.zeros((VERTEX_COUNT, 3))
        body[target.vertices] = target.offsets
        basis[row] = topology.carry(body)
        for eyeball in topology.eyeballs:
            radius = eyeball.radius(mean)
            shift = body[eyeball.helper]
            front = eyeball.helper_directions[:, 2] > FRONT
            # the mean shift of the vertices around the pole, as a turn of the pole
            gaze = np.array([0.0, 0.0, 1.0]) * radius + shift[front].mean(axis=0) * [1, 1, 0]
            basis[row, eyeball.vertices] = radius * (turned(eyeball.directions, gaze) - eyeball.directions)
    return basis
