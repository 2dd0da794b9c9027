"""A person's look as independent factors, each ~ N(0, 1), and the complexion that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from facewright_export.people.complexion import (
    GREY_HAIR,
    IRISES,
    RED_HAIR,
    Complexion,
    eye_white,
    hair_colour,
    lip_colour,
    pale_share,
    skin_colour,
    with_lipstick,
)
from facewright_export.people.hair import HairStyle

#: In their order in a code. Positive means: darker, redder, more.
LOOK_FACTORS: Final = (
    "melanin",
    "blood",
    "mottling",
    "blush",
    "freckles",
    "age",
    "lips_blood",
    "lips_melanin",
    "lipstick",
    "lipstick_red",
    "lipstick_pink",
    "hair_light",
    "hair_red",
    "hair_grey",
    "brows_light",
    "brows_dense",
    "brows_wide",
    "brows_high",
    "beard_light",
    "stubble",
    "moustache",
    "chin_beard",
    "full_beard",
    "iris_light",
    "iris_blue",
    "iris_green",
    "eye_white",
    "lashes",
    "eyeshadow",
    "eyeshadow_red",
    "scalp_bare",
    "hairline_high",
)
#: Training cuts factors here: what lies farther out looks the same.
FARTHEST: Final = 2.5


@dataclass(frozen=True)
class Look:
    """What a look's factors stand for: colours and amounts, and how the scalp is covered."""

    skin: Complexion
    hair: HairStyle


def look_of(factors: npt.NDArray[np.floating] | Sequence[float]) -> Look:
    """The look of ``factors`` [32]. Skin tones are uniform in melanin, so that as many are pale as are dark.

    Raises:
        ValueError: another number of factors.
    """
    if len(factors) != len(LOOK_FACTORS):
        raise ValueError(f"a look has {len(LOOK_FACTORS)} factors, not {len(factors)}")
    z = dict(zip(LOOK_FACTORS, (float(factor) for factor in factors), strict=True))

    def share(name: str, low: float = 0.0, high: float = 1.0) -> float:
        """Uniform between two amounts."""
        return low + (high - low) * float(ndtr(z[name]))

    def seldom(name: str, high: float = 1.0) -> float:
        """Near 0 for most people."""
        return high * float(ndtr(2 * z[name] - 2))

    melanin, blood = share("melanin"), share("blood", 0.2, 0.75)
    natural = hair_colour(share("hair_light") ** 1.5 * pale_share(melanin) + 0.08 * share("hair_light"))
    natural = natural + (0.85 * RED_HAIR - natural) * seldom("hair_red") * pale_share(melanin)
    natural = natural + (0.8 * GREY_HAIR - natural) * seldom("hair_grey")
    lips = lip_colour(melanin, blood, share("lips_blood", 0.35, 0.8), share("lips_melanin", 0.85, 1.0))
    stick = np.array(
        [share("lipstick_red", 0.25, 0.6), *(share("lipstick_pink", low, 0.18) for low in (0.02, 0.03))]
    )
    iris = IRISES[0] + (IRISES[4] - IRISES[0]) * share("iris_light")
    for name, colour in (("iris_blue", IRISES[2]), ("iris_green", IRISES[3])):
        iris = iris + (colour * share("iris_light", 0.7, 1.3) - iris) * seldom(name) * (1 - melanin)
    shadow = np.array([share("eyeshadow_red", 0.03, 0.23), 0.055, 0.07])
    skin = Complexion(
        melanin=melanin,
        blood=blood,
        skin=skin_colour(melanin, blood).astype(np.float32),
        lips=with_lipstick(lips, melanin, stick, seldom("lipstick", 0.9)).astype(np.float32),
        hair=natural.astype(np.float32),
        brow=(natural * share("brows_light", 0.5, 0.9)).astype(np.float32),
        beard=(natural * share("beard_light", 0.7, 1.1) + [0.01, 0.004, 0.0]).astype(np.float32),
        iris=(iris * (1 - 0.4 * melanin)).astype(np.float32),
        sclera=(eye_white(melanin) * share("eye_white", 0.85, 1.05)).astype(np.float32),
        teeth=np.array([0.52, 0.46, 0.38], np.float32),
        pupil=0.42,
        freckles=seldom("freckles") * (1 - melanin),
        moles=0,
        mottling=share("mottling", 0.3, 1.0),
        blush=share("blush", 0, 0.8),
        age=share("age"),
        brow_density=share("brows_dense", 0.5, 1.5),
        brow_width=share("brows_wide", 0.6, 1.3),
        brow_lift=0.8 + z["brows_high"],
        stubble=seldom("stubble"),
        beards={
            "moustache": seldom("moustache"),
            "chin": seldom("chin_beard"),
            "full": seldom("full_beard"),
        },
        shine=1.0,
        lash=share("lashes", 0.45, 1.0),
        eyeshadow=seldom("eyeshadow", 0.7),
        shadow=(shadow * (1 - 0.6 * melanin)).astype(np.float32),
    )
    return Look(skin, _worn(1 - seldom("scalp_bare", 0.9), seldom("hairline_high", 0.05)))


def _worn(paint: float, recession: float) -> HairStyle:
    """Hair of a usual length: only its colour on the scalp is part of a skin."""
    return HairStyle(
        length=0.05,
        thickness=0.006,
        fringe=0.052,
        parting=None,
        back=0.0,
        curl=0.0,
        paint=paint,
        recession=recession,
        under_hat=False,
    )
