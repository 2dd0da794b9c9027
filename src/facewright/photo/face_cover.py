"""Eyes, nose and mouth that something covers: dark glasses, a mask, a hand, hair, a microphone.

The networks place landmarks on what they cannot see as well as on what they can. But an eye is dark and light
within a centimetre, and a mouth has another colour than the skin around it; what covers them is even, or has
a colour that no mouth has. So the spread of colours over a few points of each is asked. Where a photo is
toned or faded, or has no colours, hues are even everywhere: the less they change in the face, the more
brightness alone decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt

from facewright.core.arrays import Floats
from facewright.core.colour import LUMINANCE
from facewright.core.errors import FacewrightError
from facewright.core.settings import Range
from facewright_client.contract import ErrorCode

F64 = npt.NDArray[np.float64]

#: Where the limits are from: 490 photos of people and, of 48 of them, copies with painted dark glasses,
#: masks, hands, phones, microphones, hair, an eye patch, a blindfold and a headset; 90 photos of people with
#: masks.
STUDIED: Final = "measured on 490 photos, 570 with something painted over the face and 90 with masks"


@dataclass(frozen=True)
class CoverLimits:
    """From when a part of a face counts as covered.

    Colours are (ln luminance, ln R/G, ln B/G); a spread is the sum of the standard deviations of these three,
    or of the two hues, over a part's points.
    """

    #: Spread over an eye: photos 0.37 and more; dark glasses 0.3 at most, hands 0.3 in the median.
    eye: Annotated[float, "ln", STUDIED] = 0.36
    #: How much darker the skin above and below both eyes is than cheek and forehead, and how much less red:
    #: no photo has both, but for dark glasses that mirror something.
    dark_eye: Annotated[float, "ln", STUDIED] = 0.9
    neutral_eye: Annotated[float, "ln", STUDIED] = -0.15
    #: Spread of hues over the mouth: photos 0.15 and more, two of 490 less; masks 0.08, hands 0.11 in the
    #: median.
    mouth: Annotated[float, "ln", STUDIED] = 0.14
    #: ln R/G of the lower lip less that of the skin: photos -0.30 and more; microphones and phones -0.6 in
    #: the median.
    lip_red: Annotated[float, "ln", STUDIED] = -0.33
    #: The same where the lip is also darker than the skin by so much, as no lips are: photos with less red
    #: -1.5.
    dark_lip: Annotated[float, "ln", STUDIED] = -1.8
    dark_lip_red: Annotated[float, "ln", STUDIED] = -0.12
    #: In coloured light, that is where ln R/G of the skin is outside these, a mouth's hues say nothing.
    skin_red: Annotated[Range, "ln", STUDIED] = (0.03, 1.45)
    #: How far the nose's tip differs from the skin in hue, and how much darker it is: photos 0.67 (one 0.84)
    #: and 0.67 (one 1.2) at most; masks 0.5 to 3 in the median.
    nose_hue: Annotated[float, "ln", STUDIED] = 0.7
    nose_dark: Annotated[float, "ln", STUDIED] = 1.25
    #: Median change of hue between neighbouring thirtieths of the face above the nose (ln R/G, ln B/G; across
    #: and down): none and all of its colours. Photos 0.13 and more (5 %), also with masks and glasses; sepia
    #: 0.04 to 0.12, other tones 0.04 at most, with 0.3 of the saturation 0.05 to 0.11.
    colours: Annotated[Range, "ln", STUDIED] = (0.06, 0.14)
    #: How much hues say at most: in a palette of 32 colours lips may have the skin's.
    most_hue: Annotated[float, "share", STUDIED] = 0.8
    #: Spreads of ln luminance alone, where a photo has no colours.
    grey_eye: Annotated[float, "ln", STUDIED] = 0.15
    grey_mouth: Annotated[float, "ln", STUDIED] = 0.1
    #: Below this contrast of the face the limits of spreads fall with it.
    contrast: Annotated[float, "codes", STUDIED] = 120.0


LIMITS: Final = CoverLimits()

# Landmarks whose mean colour is one point of a part. An eye's: iris, lashes above and below, inner and outer
# corner, the skin below and above.
_RIGHT_EYE: Final = (
    *((468, 469, 470, 471, 472), (159, 158, 160), (145, 144, 153), (133, 173, 155), (33, 246, 7)),
    *((228, 229, 230, 231), (27, 28, 29, 56)),
)
_LEFT_EYE: Final = (
    *((473, 474, 475, 476, 477), (386, 385, 387), (374, 373, 380), (362, 398, 382), (263, 466, 249)),
    *((448, 449, 450, 451), (257, 258, 259, 286)),
)
_BELOW_EYE: Final = -2
_AROUND_EYE: Final = slice(-2, None)
# The lower lip; corners, upper lip, the line between the lips; above, below and beside the mouth.
_MOUTH: Final = (
    *((84, 17, 314), (61,), (291,), (37, 0, 267), (13, 14), (81, 178, 311, 402)),
    *((164,), (18, 200), (57, 186), (287, 410)),
)
_LOWER_LIP: Final = 0
# The right and the left cheek, the forehead; the bridge and the tip of the nose.
_SKIN: Final = ((50, 205, 36, 101, 117), (280, 425, 266, 330, 346), (151, 108, 337, 69, 299, 9))
_NOSE: Final = ((168, 6, 197, 195), (4, 1, 5, 45, 275, 51, 281))


# All points in the order of `_Colours`, the landmarks that they take, and their means over these.
_POINTS: Final = (*_RIGHT_EYE, *_LEFT_EYE, *_MOUTH, *_SKIN, *_NOSE)
_LANDMARKS: Final = np.unique(np.concatenate(_POINTS))
_MEANS: Final = np.stack([np.isin(_LANDMARKS, point) / len(point) for point in _POINTS]).astype(np.float32)
#: Added to linear colours before logarithms: below this, hue is noise.
_DARK_FLOOR: Final = 0.01


def check_cover(view: Floats, landmarks: F64, contrast: float, change_of_hue: float) -> list[str]:
    """Name what is covered. Ask only where there is light enough to tell.

    Args:
        view: LANDMARK_INPUT, ``[3, 192, 192]`` RGB 0-1.
        landmarks: ``[478, 2]``, pixels of the view.
        contrast: of the face, codes.
        change_of_hue: above the nose, as in `CoverLimits.colours`.

    Returns:
        Sentences for the report.

    Raises:
        FacewrightError: BAD_PHOTO where both eyes and the mouth are covered.
    """
    colours = _Colours.of(view, landmarks)
    none, full = LIMITS.colours
    hue = LIMITS.most_hue * min(max((change_of_hue - none) / (full - none), 0.0), 1.0)
    face = _Face(colours, min(1.0, contrast / LIMITS.contrast), hue)
    right, left = face.covered_eyes()
    skin = face.skin(right, left)
    nose = face.nose_covered(skin)
    mouth = nose or face.mouth_covered(skin)
    if right and left and mouth:
        raise FacewrightError(
            ErrorCode.BAD_PHOTO,
            "both eyes and the mouth are covered, or too indistinct to be seen",
            "send a photo without dark glasses, mask or veil, and with nothing before the face",
        )
    covered = []
    if right and left:
        covered.append("Both eyes seem to be covered (dark glasses?)")
    elif right or left:
        covered.append(
            f"The subject's {'right' if right else 'left'} eye seems to be covered (hair, a hand?)"
        )
    if nose:
        covered.append("Nose and mouth seem to be covered (a mask?)")
    elif mouth:
        covered.append("The mouth seems to be covered (a mask, a hand, a microphone?)")
    return [f"{part}: what covers it is painted on the avatar." for part in covered]


@dataclass(frozen=True)
class _Colours:
    """Colours of the points of each part, f32 ``[points, 3]``; of bridge and tip ``[3]``."""

    right_eye: Floats
    left_eye: Floats
    mouth: Floats
    skin: Floats
    bridge: Floats
    tip: Floats

    @classmethod
    def of(cls, view: Floats, landmarks: F64) -> _Colours:
        """At each landmark the mean of 3 x 3 pixels is taken."""
        column, row = np.floor(landmarks[_LANDMARKS]).astype(np.intp).T
        size = view.shape[-1]
        rows = np.clip(row[:, None] + np.repeat((-1, 0, 1), 3), 0, size - 1)
        columns = np.clip(column[:, None] + np.tile((-1, 0, 1), 3), 0, size - 1)
        # A power close to sRGB's curve.
        linear = view[:, rows, columns].mean(axis=2).T ** np.float32(2.2)
        means = _MEANS @ linear
        red, green, blue = np.log(means + np.float32(_DARK_FLOOR)).T
        light = np.log(means @ LUMINANCE + np.float32(0.4 * _DARK_FLOOR))
        colours = np.stack([light, red - green, blue - green], axis=1)
        ends = np.cumsum([len(part) for part in (_RIGHT_EYE, _LEFT_EYE, _MOUTH, _SKIN)])
        right_eye, left_eye, mouth, skin, nose = np.split(colours, ends)
        return cls(right_eye, left_eye, mouth, skin, nose[0], nose[1])


@dataclass(frozen=True)
class _Face:
    """One face.

    Attributes:
        colours: of its parts.
        clarity: 0-1, what is left of spreads in a photo of little contrast.
        hue: 0-1, how much hues say.
    """

    colours: _Colours
    clarity: float
    hue: float

    def covered_eyes(self) -> tuple[bool, bool]:
        """The subject's right and left."""
        eyes = (self.colours.right_eye, self.colours.left_eye)
        *cheeks, forehead = self.colours.skin
        red = float(np.median(self.colours.skin[:, 1]))
        shaded = True
        for eye, cheek in zip(eyes, cheeks, strict=True):
            around = eye[_AROUND_EYE]
            beside = min(cheek[0], max(forehead[0], self.colours.bridge[0]))
            shaded &= bool(beside - around[:, 0].max() > LIMITS.dark_eye)
            shaded &= bool(around[:, 1].mean() - red < LIMITS.neutral_eye)
        right, left = (shaded or self._eye_covered(eye) for eye in eyes)
        return right, left

    def skin(self, right_covered: bool, left_covered: bool) -> Floats:
        """Its colour, from where nothing covers it."""
        seen = [*self.colours.skin]
        if not (right_covered or left_covered):
            seen.append(self.colours.bridge)
        if not right_covered:
            seen.append(self.colours.right_eye[_BELOW_EYE])
        if not left_covered:
            seen.append(self.colours.left_eye[_BELOW_EYE])
        colour: Floats = np.median(np.stack(seen), axis=0)
        return colour

    def nose_covered(self, skin: Floats) -> bool:
        light, red, blue = self.colours.tip - skin
        return bool(np.hypot(red, blue) > LIMITS.nose_hue or light < -LIMITS.nose_dark)

    def mouth_covered(self, skin: Floats) -> bool:
        mouth = self.colours.mouth
        spread = mouth.std(axis=0)
        least_red, most_red = LIMITS.skin_red
        hue = self.hue if least_red < skin[1] < most_red else 0.0
        light, red, _ = mouth[_LOWER_LIP] - skin
        if hue and (
            hue * red < LIMITS.lip_red or (light < LIMITS.dark_lip and hue * red < LIMITS.dark_lip_red)
        ):
            return True
        return self._even(hue, spread[1:].sum() / LIMITS.mouth, spread[0] / LIMITS.grey_mouth)

    def _eye_covered(self, eye: Floats) -> bool:
        spread = eye.std(axis=0)
        return self._even(self.hue, spread.sum() / LIMITS.eye, spread[0] / LIMITS.grey_eye)

    def _even(self, hue: float, in_colours: float, in_grey: float) -> bool:
        """Whether spreads, each over its limit, are those of what covers: the mean of both judgements."""
        return bool(hue * in_colours + (1 - hue) * in_grey < self.clarity)
