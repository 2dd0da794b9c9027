"""The 52 ARKit expression shapes of the open head, in Apple's order and spelling."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from facewright_export.open_head.makehuman_data import VERTEX_COUNT, MakeHumanData

FloatArray = npt.NDArray[np.float64]

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


def expression_basis(makehuman: MakeHumanData, from_body: csr_array) -> FloatArray:
    """Displacement of the head's vertices by each expression at weight 1; float64 [52, V, 3], metres."""
    basis = np.zeros((len(EXPRESSION_NAMES), from_body.shape[0], 3))
    for row, name in enumerate(EXPRESSION_NAMES):
        target = makehuman.expression(name)
        body = np.zeros((VERTEX_COUNT, 3))
        body[target.vertices] = target.offsets
        basis[row] = from_body @ body
    return basis
