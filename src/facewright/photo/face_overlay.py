"""What was laid over a picture of a face: a watermark, a caption, a subtitle, a pattern, a sticker.

Skin changes slowly, or from hair to hair: lines that are all of a stroke's width, in all parts of a face, are
no skin's. A highlight is pale, too, and a beard dark, but neither is on forehead, cheeks and chin alike.
Edges of a colour that no skin has, and white beside black, as outlined letters have them, tell by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from facewright.core.arrays import Floats
from facewright.photo.face_measures import Mask, MeasuredFace, hues_of

#: Where the limits are from: the faces of 293 photos, 690 copies of 84 of them (small, compressed, noisy,
#: grey; and with exaggerated contrast, brightness, saturation or sharpness), and of 14 of them copies with 36
#: sorts of text, patterns and stickers over them. No photo and no plain copy is beyond a limit, of those that
#: exaggerate 5 %.
STUDIED: Final = "measured on 293 photos, 690 copies and 450 with something laid over"


@dataclass(frozen=True)
class OverlayLimits:
    """From when something counts as laid over. The shares are of pixels of skin."""

    #: How far a hue may be from the skin's (ln R/G and ln B/G, summed), and what is too dark to have one;
    #: share of edges beyond that: photos 0.001 at most, exaggerated ones 0.018.
    hue_edge: Annotated[float, "ln", STUDIED] = 1.5
    hueless: Annotated[float, "codes", STUDIED] = 80.0
    coloured: Annotated[float, "share", STUDIED] = 0.01
    #: White, black, and the share of skin beside which both are, in the part with most of it: photos 0.012 at
    #: most, exaggerated ones with dark glasses 0.1.
    white: Annotated[float, "codes", STUDIED] = 225.0
    black: Annotated[float, "codes", STUDIED] = 50.0
    outlined: Annotated[float, "share", STUDIED] = 0.06
    #: Strokes darker by more than this than both sides, and their share in all parts of the face but one:
    #: photos 0.049 at most.
    darker: Annotated[float, "of the contrast", STUDIED] = 0.3
    dark: Annotated[float, "share", STUDIED] = 0.055
    #: Strokes brighter by more than this, and paler (ln R/G and ln B/G, summed) by more than this and twice
    #: what noise does, which is the median; their share likewise: photos and noisy copies 0.043 at most.
    brighter: Annotated[float, "of the contrast", STUDIED] = 0.15
    paler: Annotated[float, "ln", STUDIED] = 0.1
    pale: Annotated[float, "share", STUDIED] = 0.055


LIMITS: Final = OverlayLimits()

#: Width of what counts as a stroke, and of an edge, between white and black too; pixels of the view, in which
#: a face is about 128 high.
_STROKE_PX: Final = 9
_EDGE_PX: Final = 5
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
    brightness = face.brightness
    red, blue = hues_of(face.pixels, _DARK_FLOOR)
    skin_red, skin_blue = (np.median(hue[face.skin]) for hue in (red, blue))
    off_skin = np.abs(red - skin_red) + np.abs(blue - skin_blue)
    edges = maximum_filter(off_skin, _EDGE_PX) - minimum_filter(off_skin, _EDGE_PX) > LIMITS.hue_edge
    if (edges & (brightness > LIMITS.hueless))[face.skin].mean() > LIMITS.coloured:
        return True
    white = maximum_filter(brightness, _EDGE_PX) > LIMITS.white
    outlined = white & (minimum_filter(brightness, _EDGE_PX) < LIMITS.black)
    if max(outlined[part].mean() for part in parts) > LIMITS.outlined:
        return True
    dark = _below_both_sides(brightness) > LIMITS.darker * face.contrast
    if _all_but_one(dark, parts) > LIMITS.dark:
        return True
    bright = _below_both_sides(-brightness) > LIMITS.brighter * face.contrast
    paler = _below_both_sides(red) + _below_both_sides(-blue)
    pale = paler > LIMITS.paler + 2 * np.median(paler[face.skin])
    return _all_but_one(bright & pale, parts) > LIMITS.pale


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
    height, width = face.brightness.shape
    rows, columns = np.arange(height)[:, None], np.arange(width)
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
