"""The 15 Oculus visemes as linear combinations of the 52 ARKit shapes.

Names, order and phonemes: Meta's "Viseme Reference" for Oculus Lipsync
(developers.meta.com/horizon/documentation/unity/audio-ovrlipsync-viseme-reference), which follows the viseme
table of MPEG-4 (ISO/IEC 14496-2); spelling of the targets as in Ready Player Me avatars, which lip-sync
components look for. The weights are ours: from the articulation of each phoneme (place of constriction,
lip rounding, jaw height), set by looking at the open head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt


def _both(**weights: float) -> dict[str, float]:
    """The same weight for the left and the right shape of each name."""
    return {name + side: weight for name, weight in weights.items() for side in ("Left", "Right")}


#: Viseme -> {ARKit shape: weight}.
VISEMES: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        # silence
        "viseme_sil": {},
        # p, b, m: lips pressed together
        "viseme_PP": {
            "mouthRollLower": 0.3,
            "mouthRollUpper": 0.3,
            **_both(mouthPress=0.4),
        },
        # f, v: lower lip under the upper teeth
        "viseme_FF": {
            "jawOpen": 0.06,
            "mouthRollLower": 0.65,
            "mouthShrugLower": 0.2,
            **_both(mouthUpperUp=0.3),
        },
        # th: tongue between the teeth
        "viseme_TH": {"jawOpen": 0.18, "tongueOut": 0.5, **_both(mouthLowerDown=0.25, mouthUpperUp=0.15)},
        # t, d: tongue behind the upper teeth, teeth almost closed
        "viseme_DD": {
            "jawOpen": 0.14,
            **_both(mouthLowerDown=0.3, mouthUpperUp=0.15, mouthStretch=0.1),
        },
        # k, g: back of the tongue raised, jaw a little open
        "viseme_kk": {"jawOpen": 0.2, **_both(mouthLowerDown=0.25, mouthUpperUp=0.15, mouthStretch=0.1)},
        # tS, dZ, S: teeth closed, lips forward and open
        "viseme_CH": {
            "jawOpen": 0.08,
            "mouthFunnel": 0.55,
            "mouthPucker": 0.2,
            **_both(mouthUpperUp=0.1),
        },
        # s, z: teeth closed, lips spread
        "viseme_SS": {
            "jawOpen": 0.05,
            **_both(mouthLowerDown=0.35, mouthUpperUp=0.2, mouthStretch=0.3, mouthSmile=0.1),
        },
        # n, l: tongue behind the upper teeth, jaw open
        "viseme_nn": {"jawOpen": 0.18, **_both(mouthLowerDown=0.2, mouthUpperUp=0.2)},
        # r: lips rounded a little
        "viseme_RR": {"jawOpen": 0.14, "mouthFunnel": 0.35, "mouthPucker": 0.25},
        # A: (car): jaw low
        "viseme_aa": {"jawOpen": 0.55, **_both(mouthLowerDown=0.15, mouthUpperUp=0.15)},
        # e (bed): jaw half open, lips spread
        "viseme_E": {"jawOpen": 0.3, **_both(mouthStretch=0.25, mouthSmile=0.2, mouthLowerDown=0.2)},
        # ih (tip): jaw high, lips spread
        "viseme_I": {"jawOpen": 0.16, **_both(mouthStretch=0.3, mouthSmile=0.25, mouthLowerDown=0.2)},
        # oh (toe): jaw half open, lips round
        "viseme_O": {"jawOpen": 0.35, "mouthFunnel": 0.5, "mouthPucker": 0.2},
        # ou (book): lips narrow and forward
        "viseme_U": {"jawOpen": 0.14, "mouthFunnel": 0.25, "mouthPucker": 0.6},
    }
)


def viseme_matrix(expression_names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Weights f32 [15, 52]: row v times the expression basis is the displacement of viseme v.

    Raises:
        ValueError: ``expression_names`` lacks a shape that a viseme needs.
    """
    column = {str(name): i for i, name in enumerate(expression_names)}
    matrix = np.zeros((len(VISEMES), len(column)), np.float32)
    for row, (viseme, weights) in enumerate(VISEMES.items()):
        for name, weight in weights.items():
            if name not in column:
                raise ValueError(
                    f"{viseme} needs the expression {name!r}, which the head model does not have"
                )
            matrix[row, column[name]] = weight
    return matrix
