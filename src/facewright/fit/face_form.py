"""Faces whose form is no person's: swirled, melted, bulged, pinched, with one eye enlarged, of two mirrored
halves.

The model of heads explains what people differ in, and its corrective field the rest. What both need to
explain a face's landmarks, and how far these are from their own mirror image, tells what a filter has
distorted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray

from facewright.fit.camera import similarity

F64 = NDArray[np.float64]

#: Where the limits are from: 263 photos of faces from the front (turned by less than `FROM_THE_FRONT`), none
#: beyond any limit, and 14 of them in 21 distortions each, of which 58 % are told.
STUDIED: Final = "measured on 263 photos and 283 distorted copies of 14"


@dataclass(frozen=True)
class FormLimits:
    """From when a form counts as distorted."""

    #: Norm of the coefficients of identity and corrective field: photos 9.5 at most; melted, bulged
    #: and slanted ones 11 to 16.
    distance: Annotated[float, "sigma", STUDIED] = 10.0
    #: Median error that the model leaves without the corrective field, of the pupils' distance: photos 3.3 at
    #: most; bulged, pinched and slanted ones 3.4 to 6.
    median_error: Annotated[float, "%", STUDIED] = 3.5
    #: Distance of landmarks from their mirror image, 90th percentile, of the pupils' distance: photos 10.1 at
    #: most from the front and 14.8 at 19 degrees, as the network's depths are less sure there. Of mirrored
    #: halves 0.1 to 0.9; photos 1.03 and more.
    asymmetry: Annotated[float, "%", STUDIED] = 11.5
    mirrored: Annotated[float, "%", STUDIED] = 0.75
    #: Length of one eye over the other's: photos 0.13 at most from the front and 0.19 at 19 degrees.
    eyes: Annotated[float, "ln", STUDIED] = 0.16
    #: How much these two limits rise for each degree by which a face is turned by more than `SURE_DEPTH`.
    more_asymmetry: Annotated[float, "% per degree", STUDIED] = 0.9
    more_eyes: Annotated[float, "ln per degree", STUDIED] = 0.01


LIMITS: Final = FormLimits()
#: Yaw, degrees, from which a form is not asked for, and up to which the network's depths are sure.
FROM_THE_FRONT: Final = 20.0
SURE_DEPTH: Final = 10.0

# Landmarks: outer and inner corner of the right and the left eye; the irises' centres.
_RIGHT_EYE, _LEFT_EYE = (33, 133), (263, 362)
_IRISES: Final = (468, 473)
#: Times that the two images are aligned, each time by those landmarks more that fit.
_ALIGNMENTS: Final = 3


class MirroredLandmarks:
    """Which landmark is the mirror image of which.

    Args:
        mean: ``[N, 3]``, of the mean head, which is symmetric in x.
    """

    def __init__(self, mean: NDArray[np.floating]) -> None:
        distances = np.linalg.norm((mean * (-1, 1, 1))[:, None] - mean[None], axis=2)
        partner = distances.argmin(axis=1)
        self._points = np.flatnonzero(partner[partner] == np.arange(len(mean)))
        self._partners = partner[self._points]

    def asymmetry(self, landmarks: NDArray[np.floating]) -> float:
        """How far landmarks ``[478, 3]`` are from their mirror image: 90th percentile, % of the pupils'
        distance.
        """
        seen = np.asarray(landmarks[self._points], np.float64)
        mirrored = np.asarray(landmarks[self._partners] * (-1, 1, 1), np.float64)
        weights = np.ones(len(seen))
        for _ in range(_ALIGNMENTS):
            scale, rotation, offset = similarity(mirrored, seen, weights)
            apart = np.linalg.norm(seen - scale * mirrored @ rotation.T - offset, axis=1)
            weights = 1.0 / np.maximum(apart, np.median(apart) + 1e-9)
        return 100.0 * float(np.percentile(apart, 90)) / max(_length(landmarks, _IRISES), 1e-6)


def form_warnings(
    landmarks: NDArray[np.floating], asymmetry: float, distance: float, median_error: float, yaw: float
) -> list[str]:
    """Whether a face's form is no person's, as a sentence for the report.

    Args:
        landmarks: ``[478, 3]``, as the network gives them.
        asymmetry: of them, as `MirroredLandmarks.asymmetry` gives it.
        distance: norm of the coefficients of identity and corrective field.
        median_error: of the fit without the corrective field, % of the pupils' distance.
        yaw: degrees.
    """
    if abs(yaw) >= FROM_THE_FRONT:
        return []
    turned = max(0.0, abs(yaw) - SURE_DEPTH)
    right, left = (max(_length(landmarks, eye), 1e-6) for eye in (_RIGHT_EYE, _LEFT_EYE))
    if asymmetry < LIMITS.mirrored:
        return [
            "the halves of the face are each other's mirror image, as no person's are (an effect?): the "
            "avatar's are, too"
        ]
    if (
        distance > LIMITS.distance
        or median_error > LIMITS.median_error
        or asymmetry > LIMITS.asymmetry + LIMITS.more_asymmetry * turned
        or abs(np.log(right / left)) > LIMITS.eyes + LIMITS.more_eyes * turned
    ):
        return [
            "the face has a form that no person's has (a distorting filter, effect or lens?): the avatar is "
            "distorted, too; send a photo without it"
        ]
    return []


def _length(landmarks: NDArray[np.floating], ends: tuple[int, int]) -> float:
    first, second = landmarks[list(ends)]
    return float(np.linalg.norm(first - second))
