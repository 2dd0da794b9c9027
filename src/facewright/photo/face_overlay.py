"""What was laid over a picture of a face: a watermark, a caption, a subtitle, a pattern, a sticker.

Skin changes slowly, or from hair to hair: lines that are all of a stroke's width, in all parts of a face, are no
skin's. A highlight is pale, too, and a beard dark, but neither is on forehead, cheeks and chin alike. Colours that
no skin has, and pure white beside pure black, as outlined letters have them, tell by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from facewright.core.arrays import Floats
from facewright.photo.face_measures import MeasuredFace, Mask, hues_of

#: Where the limits are from: the faces of 293 photos, and of 14 of them copies with 35 sorts of text, patterns and
#: stickers over them, whose shares above the limits stand there.
STUDIED: Final = "measured on 293 photos and 490 copies of 14 with something laid over"


@dataclass(frozen=True)
class OverlayLimits:
    """From when something counts as laid over. The shares are of pixels of skin."""

    #: Strokes brighter by more than this than both sides, and paler (sum of the steps of ln R/G and ln B/G).
    brighter: Annotated[float, "of the contrast", STUDIED] = 0.15
    paler: Annotated[float, "ln", STUDIED] = 0.25
    #: Their share in all parts of the face but one: photos 0.054 at most.
    pale: Annotated[float, "share", STUDIED] = 0.06
    #: Strokes darker by more than this than both sides, and their share likewise: photos 0.049 at most.
    darker: Annotated[float, "of the contrast", STUDIED] = 0.3
    dark: Annotated[float, "share", STUDIED] = 0.055
    #: Strokes of another hue than both sides by more than this (ln R/G and ln B/G, summed), and their share in the
    #: middle of the parts: photos 0.054 at most.
    other_hue: Annotated[float, "ln", STUDIED] = 0.6
    coloured: Annotated[float, "share", STUDIED] = 0.065
    #: Distance from the skin's median hue (ln R/G, ln B/G, summed) of colours that no skin has, and their share:
    #: photos 0.025 at most (tinted glasses).
    foreign_hue: Annotated[float, "ln", STUDIED] = 1.2
    foreign: Annotated[float, "share", STUDIED] = 0.03
    #: White, black, and the share of skin beside which both are, in the part with most of it: photos 0.01 at most.
    white: Annotated[float, "codes", STUDIED] = 225.0
    black: Annotated[float, "codes", STUDIED] = 50.0
    outlined: Annotated[float, "share", STUDIED] = 0.02


LIMITS: Final = OverlayLimits()

#: Width of what counts as a stroke, and how near white and black are to each other; pixels of the view, in which a
#: face is about 128 high.
_STROKE_PX: Final = 9
_BESIDE_PX: Final = 5
#: Added to linear light before logarithms: in the dark, and in JPEG's, hue is noise.
_DARK_FLOOR: Final = 0.05
#: Parts of the face with less skin are not asked.
_LEAST_PART_PX: Final = 60
# Landmarks: the brows, the skin below the eyes, the mouth's corners; the nose's wings.
_BROWS, _BELOW_EYES, _MOUTH = (105, 334), (230, 450), (61, 291)
_RIGHT_WING, _LEFT_WING = 129, 358


def overlaid(face: MeasuredFace) -> bool:
    """Whether something is laid over a face."""
    parts = _parts(face)
    if len(parts) < 2:
        return False
    red, blue = hues_of(face.pixels, _DARK_FLOOR)
    skin_red, skin_blue = (np.median(colour[face.skin]) for colour in (red, blue))
    foreign = np.abs(red - skin_red) + np.abs(blue - skin_blue) > LIMITS.foreign_hue
    if foreign[face.skin].mean() > LIMITS.foreign:
        return True
    white = maximum_filter(face.brightness, _BESIDE_PX) > LIMITS.white
    outlined = white & (minimum_filter(face.brightness, _BESIDE_PX) < LIMITS.black)
    if max(outlined[part].mean() for part in parts) > LIMITS.outlined:
        return True
    dark = _below_both_sides(face.brightness) > LIMITS.darker * face.contrast
    if _all_but_one(dark, parts) > LIMITS.dark:
        return True
    bright = _below_both_sides(-face.brightness) > LIMITS.brighter * face.contrast
    less_red, more_blue = _below_both_sides(red), _below_both_sides(-blue)
    if _all_but_one(bright & (less_red + more_blue > LIMITS.paler), parts) > LIMITS.pale:
        return True
    more_red, less_blue = _below_both_sides(-red), _below_both_sides(blue)
    coloured = np.maximum(less_red, more_red) + np.maximum(less_blue, more_blue) > LIMITS.other_hue
    return float(np.median([coloured[part].mean() for part in parts])) > LIMITS.coloured


def _below_both_sides(level: Floats) -> Floats:
    """How far a level is below both sides of a stroke, 0 elsewhere (black top-hat)."""
    closed = minimum_filter(maximum_filter(level, _STROKE_PX), _STROKE_PX)
    below: Floats = closed - level
    return below


def _all_but_one(strokes: Mask, parts: list[Mask]) -> float:
    """The share of skin that strokes have in every part but the one with the least."""
    return float(sorted(strokes[part].mean() for part in parts)[1])


def _parts(face: MeasuredFace) -> list[Mask]:
    """Skin of forehead, right and left cheek, nose with what is around it, and chin."""
    points = face.landmarks
    rows, columns = np.indices(face.brightness.shape, sparse=True)
    brows, eyes, mouth = (points[list(pair), 1].mean() for pair in (_BROWS, _BELOW_EYES, _MOUTH))
    right, left = points[_RIGHT_WING, 0], points[_LEFT_WING, 0]
    cheeks = (rows > eyes) & (rows < mouth)
    areas = (
        rows < brows,
        cheeks & (columns < right),
        cheeks & (columns > left),
        (rows > brows) & (rows < mouth) & (columns > right) & (columns < left),
        rows > mouth,
    )
    parts = [face.skin & area for area in areas]
    return [part for part in parts if part.sum() >= _LEAST_PART_PX]
