"""What is expected of the 52 expression coefficients before a photo is seen.

One photo cannot tell a person's shape from a small expression. Each shape therefore has a width (how freely
portraits show it), a cost per unit that keeps unneeded shapes at zero, and a pull towards its left or right
partner.

Source: Wang et al. 2019, "Digital Twin: Acquiring High-Fidelity 3D Avatar from a Single Image", sec. 3.4, eq.
3: ``E_r = sum beta^2 / sigma^2 + lambda_f log^2(f) + lambda_q |q|^2``.

=================================  ==================================  =======================================
paper                              here                                why
=================================  ==================================  =======================================
sigma: eigenvalues of the          widths set by hand, for each of     ARKit's shapes are no principal
expressions' covariance (PCA)      ARKit's shapes                      components, and there are no scans here
                                                                       to estimate a covariance from

squares only, beta of either sign  squares and a cost per unit, 0 <=   ARKit's shapes overlap: squares alone
                                   beta <= 1, mouthClose <= jawOpen    spread one movement over many; engines
                                                                       take 0 to 1

shapes are independent             left and right are drawn to each    half of a turned face is hardly seen
                                   other, 1 sigma 0.2

gaze shapes are like the others    left out, set from the irises       they move no landmark but the lids
                                   (`gaze`)

lambda_f = 5                       1 sigma of log focal length 0.15,   says what is known in the quantity's
                                   less where EXIF or the caller       own unit
                                   states it (`camera`, `fit_head`)

lambda_q = 5 holds the rotation    dropped                             468 landmarks determine it; the prior
near that of a frontal face                                            would pull profiles to the front
=================================  ==================================  =======================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: 1 sigma of each shape. Wide: what portraits often show and landmarks see well. Narrow: what hardly moves
#: landmarks or cannot be told from identity. Zero: set otherwise (gaze) or not seen by landmarks at all.
WIDTHS: Final[dict[str, float]] = {
    "eyeBlink": 0.60,
    "eyeLookDown": 0.0,
    "eyeLookIn": 0.0,
    "eyeLookOut": 0.0,
    "eyeLookUp": 0.0,
    "eyeSquint": 0.20,
    "eyeWide": 0.15,
    "jawForward": 0.08,
    "jawLeft": 0.12,
    "jawRight": 0.12,
    "jawOpen": 0.50,
    "mouthClose": 0.10,
    "mouthFunnel": 0.20,
    "mouthPucker": 0.25,
    "mouthLeft": 0.15,
    "mouthRight": 0.15,
    "mouthSmile": 0.40,
    "mouthFrown": 0.20,
    "mouthDimple": 0.15,
    "mouthStretch": 0.20,
    "mouthRollLower": 0.20,
    "mouthRollUpper": 0.20,
    "mouthShrugLower": 0.15,
    "mouthShrugUpper": 0.15,
    "mouthPress": 0.15,
    "mouthLowerDown": 0.25,
    "mouthUpperUp": 0.25,
    "browDown": 0.20,
    "browInnerUp": 0.20,
    "browOuterUp": 0.20,
    "cheekPuff": 0.08,
    "cheekSquint": 0.15,
    "noseSneer": 0.15,
    "tongueOut": 0.0,
}

#: 1 sigma of the difference between partners.
PARTNER_SIGMA: Final = 0.20
#: Cost per unit of coefficient divided by its width: the exponential part of the prior.
SPARSITY: Final = 1.0


@dataclass(frozen=True)
class ExpressionPrior:
    """The prior ``0.5 e^T precision e + linear . e`` on 0 <= e <= upper.

    Args:
        precision: float64 [E, E], positive definite.
        linear: float64 [E], not negative.
        width: float64 [E], 1 sigma of each shape by itself; 0 where it is not free.
        free: bool [E], the shapes that the optimiser may use.
        lids: bool [E], the shapes that close the eyes.
        jaw_open, mouth_close: indices; ``mouthClose`` only closes what ``jawOpen`` has opened.
    """

    precision: NDArray[np.float64]
    linear: NDArray[np.float64]
    width: NDArray[np.float64]
    free: NDArray[np.bool_]
    lids: NDArray[np.bool_]
    jaw_open: int
    mouth_close: int


def build_expression_prior(names: Sequence[str]) -> ExpressionPrior:
    """The prior for the shapes in the order of a head model.

    Raises:
        ValueError: a name that is no ARKit shape, or ``jawOpen`` or ``mouthClose`` missing.
    """
    order = [str(name) for name in names]
    for needed in ("jawOpen", "mouthClose"):
        if needed not in order:
            raise ValueError(f"the head model has no expression {needed!r}; it has {order}")
    widths = np.zeros(len(order))
    for index, name in enumerate(order):
        stem = name.removesuffix("Left").removesuffix("Right") if name not in WIDTHS else name
        if stem not in WIDTHS:
            raise ValueError(f"expression {name!r} is none of ARKit's shapes")
        widths[index] = WIDTHS[stem]
    free = widths > 0
    safe = np.where(free, widths, 1.0)
    precision = np.diag(1.0 / safe**2)
    for index, name in enumerate(order):
        if name.endswith("Left") and name not in WIDTHS and free[index]:
            partner = order.index(name.removesuffix("Left") + "Right")
            pull = 1.0 / PARTNER_SIGMA**2
            precision[[index, partner], [index, partner]] += pull
            precision[[index, partner], [partner, index]] -= pull
    lids = np.array([name.startswith("eyeBlink") for name in order])
    return ExpressionPrior(
        precision, SPARSITY / safe, widths, free, lids, order.index("jawOpen"), order.index("mouthClose")
    )
