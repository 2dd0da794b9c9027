"""Colours of a person: skin by its melanin and blood, lips, hair, eyes, and how much of everything it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

#: Linear RGB of skin without pigment, and what melanin and blood absorb of it (natural logarithm; amount 1).
BARE_SKIN: Final = np.array([0.80, 0.66, 0.57])
MELANIN_ABSORPTION: Final = np.array([1.55, 2.05, 2.40])
BLOOD_ABSORPTION: Final = np.array([0.12, 0.55, 0.52])
#: Brown, light brown, blue, green and amber.
IRISES: Final = np.array(
    [[0.060, 0.028, 0.012], [0.10, 0.05, 0.02], [0.13, 0.20, 0.29], [0.11, 0.15, 0.09], [0.20, 0.13, 0.06]]
)


@dataclass(frozen=True)
class Complexion:
    """All colours are linear RGB [3]; amounts are 0-1 unless said otherwise.

    Attributes:
        melanin, blood: of the skin; ``skin`` follows from them.
        lips, hair, brow, beard, iris, sclera, teeth: colours.
        pupil: radius over the iris' radius.
        freckles, moles (count), mottling, blush, age: of the skin.
        brow_density, brow_width: 1 is usual; ``brow_lift`` millimetres.
        stubble: short hair all over the beard's area.
        beards: amount of each kind of beard that the chart can draw.
        shine: of the skin, 1 is usual.
        lash, eyeshadow: opacity of lashes and lid make-up, whose colour is ``shadow``.
    """

    melanin: float
    blood: float
    skin: Floats
    lips: Floats
    hair: Floats
    brow: Floats
    beard: Floats
    iris: Floats
    sclera: Floats
    teeth: Floats
    pupil: float
    freckles: float
    moles: int
    mottling: float
    blush: float
    age: float
    brow_density: float
    brow_width: float
    brow_lift: float
    stubble: float
    beards: Mapping[str, float]
    shine: float
    lash: float
    eyeshadow: float
    shadow: Floats


def skin_colour(melanin: float | Floats, blood: float | Floats) -> npt.NDArray[np.float64]:
    """Linear RGB [..., 3] of skin with these amounts of pigment."""
    absorbed = np.multiply.outer(melanin, MELANIN_ABSORPTION) + np.multiply.outer(blood, BLOOD_ABSORPTION)
    colour: npt.NDArray[np.float64] = BARE_SKIN * np.exp(-absorbed)
    return colour


def draw_complexion(random: np.random.Generator, beard_kinds: tuple[str, ...]) -> Complexion:
    """A person's colours; ``beard_kinds`` are those that the chart can draw."""
    melanin = float(random.beta(1.1, 1.4))
    blood = float(random.uniform(0.2, 0.75))
    skin = skin_colour(melanin, blood)
    made_up = random.random() < 0.3
    bearded = not made_up and random.random() < 0.45
    age = float(random.beta(1.2, 1.8))
    hair = _hair_colour(random, melanin, age)
    natural = hair
    if random.random() < 0.03:
        hair = random.uniform(0.02, 0.4, 3)  # dyed
    more_blood = random.uniform(0.35, 0.8)
    lips = lip_colour(melanin, blood, more_blood, random.uniform(0.85, 1.0))
    if made_up and random.random() < 0.7:
        stick = np.array([random.uniform(0.25, 0.6), random.uniform(0.02, 0.15), random.uniform(0.03, 0.2)])
        lips = with_lipstick(lips, melanin, stick, random.uniform(0.3, 0.9))
    dark_eyes = melanin > 0.45 or random.random() < 0.3
    iris = IRISES[random.integers(2) if dark_eyes else random.integers(len(IRISES))]
    return Complexion(
        melanin=melanin,
        blood=blood,
        skin=skin.astype(np.float32),
        lips=lips.astype(np.float32),
        hair=hair.astype(np.float32),
        brow=(natural * random.uniform(0.5, 0.9)).astype(np.float32),
        beard=(natural * random.uniform(0.7, 1.1) + [0.01, 0.004, 0.0]).astype(np.float32),
        iris=(iris * random.uniform(0.7, 1.3) * (1 - 0.4 * melanin)).astype(np.float32),
        sclera=(eye_white(melanin) * random.uniform(0.85, 1.05)).astype(np.float32),
        teeth=(np.array([0.56, 0.50, 0.41]) * random.uniform(0.75, 1.1)).astype(np.float32),
        pupil=float(random.uniform(0.3, 0.55)),
        freckles=float(random.random() < 0.2) * float(random.uniform(0.3, 1)) * (1 - melanin),
        moles=int(random.poisson(1.5)),
        mottling=float(random.uniform(0.3, 1)),
        blush=float(random.uniform(0, 0.8)),
        age=age,
        brow_density=float(random.uniform(0.5, 1.5)),
        brow_width=float(random.uniform(0.65, 1.3)) * (0.8 if made_up else 1.0),
        brow_lift=float(random.normal(0.8, 1.0)),
        stubble=float(random.uniform(0.2, 1)) if bearded else 0.0,
        beards={str(random.choice(beard_kinds)): 1.0} if bearded and random.random() < 0.7 else {},
        shine=float(random.lognormal(0, 0.4)),
        lash=float(random.uniform(0.5, 0.75)) + 0.25 * made_up,
        eyeshadow=float(random.uniform(0.2, 0.7)) if made_up and random.random() < 0.6 else 0.0,
        shadow=(random.uniform(0.02, 0.25, 3) * (1 - 0.6 * melanin)).astype(np.float32),
    )


def _hair_colour(random: np.random.Generator, melanin: float, age: float) -> npt.NDArray[np.float64]:
    """From black over brown to blond and red; grey with age."""
    pale = pale_share(melanin)
    colour = hair_colour(float(random.beta(1.0, 1.5)) * pale + 0.08 * random.random())
    if random.random() < 0.12 * pale:
        colour = RED_HAIR * random.uniform(0.5, 1.2)
    grey = float(np.clip((age - 0.55) / 0.35 + random.normal(0, 0.2), 0, 1))
    white = GREY_HAIR * random.uniform(0.5, 1.1)
    greyed: npt.NDArray[np.float64] = colour + (white - colour) * grey
    return greyed


RED_HAIR: Final = np.array([0.25, 0.075, 0.025])
GREY_HAIR: Final = np.array([0.45, 0.42, 0.385])


def pale_share(melanin: float) -> float:
    """How much of the way from black to blond the hair of somebody with this skin may be."""
    return max(0.0, 1 - melanin / 0.45)


def hair_colour(depth: float) -> npt.NDArray[np.float64]:
    """Linear RGB [3] of hair: 0 black, 1 blond."""
    colour: npt.NDArray[np.float64] = np.array([0.012, 0.009, 0.008]) + depth**1.5 * np.array(
        [0.40, 0.26, 0.12]
    )
    return colour


def lip_colour(
    melanin: float, blood: float, more_blood: float, melanin_share: float
) -> npt.NDArray[np.float64]:
    """Linear RGB [3] of bare lips, of skin with these amounts of pigment."""
    return skin_colour(melanin * melanin_share + 0.03, blood + more_blood * (1 - 0.4 * melanin))


def with_lipstick(
    lips: npt.NDArray[np.float64], melanin: float, stick: npt.NDArray[np.float64], amount: float
) -> npt.NDArray[np.float64]:
    """The colour [3] of ``lips`` under so much of a lipstick."""
    return lips + (stick * (1 - 0.5 * melanin) - lips) * amount


def eye_white(melanin: float) -> npt.NDArray[np.float64]:
    """Linear RGB [3] of the sclera. Eyes of dark people are darker and warmer: a white sclera in a dark face
    reads as a negative."""
    warmth = np.array([1, 1 - 0.08 * melanin, 1 - 0.2 * melanin])
    white: npt.NDArray[np.float64] = np.array([0.60, 0.55, 0.51]) * (1 - 0.52 * melanin) * warmth
    return white
