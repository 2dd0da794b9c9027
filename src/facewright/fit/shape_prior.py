"""What a network says of a person's shape and expression before the head is fitted: a prior for each photo.

Source: Wang et al. 2019, "Digital Twin: Acquiring High-Fidelity 3D Avatar from a Single Image", sec. 3.3: the
shape is regressed from the face first and corrected afterwards. Here the regression also says how sure it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from facewright.core.errors import FacewrightError
from facewright.core.settings import WEIGHED
from facewright.pipelines.tensors import MESH_COUNT
from facewright_client.contract import EXPRESSION_SIZE, IDENTITY_SIZE, ErrorCode


@dataclass(frozen=True)
class ShapePriorSettings:
    """How far the fit may go from what was regressed.

    The regression has read the very landmarks that are fitted, with their errors as they are: alike among
    neighbours. The fit takes them for independent, so what it has to say of the same person counts less.
    """

    identity_share: Annotated[float, "times the regression's own sigma", WEIGHED] = 0.2
    expression_share: Annotated[float, "times the regression's own sigma", WEIGHED] = 0.35
    #: Of lids that are seen to close: landmarks see a closed eye half open. Of blinks of weight 1 the fit
    #: finds .84 in the place of .67 on 8 drawn people; lids are regressed as half closed or more in 3 of 293
    #: portraits.
    lids_share: Annotated[float, "times the regression's own sigma", WEIGHED] = 0.1


@dataclass(frozen=True)
class ShapePrior:
    """Normal distributions of the coefficients, each for itself.

    Args:
        identity: float64 [160, 2]: mean and standard deviation.
        expression: float64 [52, 2]: the same. A mean of zero says that nothing is known.
        landmark_bias: float64 [468, 2], what the landmark network is off on average where the head looks so,
            pixels of its input: found minus true.
        distance: how far the face is from those that the regression was trained on, 1 being as far as one in
            a thousand of these.
    """

    identity: NDArray[np.float64]
    expression: NDArray[np.float64]
    landmark_bias: NDArray[np.float64]
    distance: float

    @staticmethod
    def regressed(
        identity: NDArray[np.floating],
        expression: NDArray[np.floating],
        landmark_bias: NDArray[np.floating],
        distance: float,
    ) -> ShapePrior:
        """What a network's tensors say."""
        return ShapePrior(
            np.asarray(identity, np.float64),
            np.asarray(expression, np.float64),
            np.asarray(landmark_bias, np.float64),
            distance,
        )

    def __post_init__(self) -> None:
        for name, array, shape in (
            ("identity_prior", self.identity, (IDENTITY_SIZE, 2)),
            ("expression_prior", self.expression, (EXPRESSION_SIZE, 2)),
            ("landmark_bias", self.landmark_bias, (MESH_COUNT, 2)),
            ("shape_distance", np.array([self.distance]), (1,)),
        ):
            if array.shape != shape or not np.isfinite(array).all():
                raise _no_prior(f"{name} is no {list(shape)} of finite numbers")
        if not (self.identity[:, 1] > 0).all() or not (self.expression[:, 1] > 0).all():
            raise _no_prior("a standard deviation is not positive")


def _no_prior(message: str) -> FacewrightError:
    return FacewrightError(ErrorCode.INTERNAL, message, "the stage before failed on this photo; report it")
