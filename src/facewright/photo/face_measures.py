"""What is measured on a face's own pixels: its light, its colours, its sharpness, and how even its skin is.

Measured in the landmark network's view, where every face has the same size, about 128 pixels from hairline to
chin.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter

from facewright.core.arrays import Floats
from facewright.core.colour import LUMINANCE
from facewright.photo.face_limits import LIMITS

F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# Landmarks: the face's outline, and what on it is no skin.
OVAL: Final = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
_FEATURES: Final = (
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
    (98, 97, 2, 326, 327, 294, 278, 344, 440, 275, 4, 45, 220, 115, 48, 64),
)
# Of the right and the left eye: iris and upper lid, and the skin below.
_EYES: Final = (
    ((468, 469, 470, 471, 472, 159, 158, 160, 161), (228, 229, 230, 231)),
    ((473, 474, 475, 476, 477, 386, 385, 387, 388), (448, 449, 450, 451)),
)
# The nose's tip, and the outline at the subject's right and left ear; how far, of the outline's width, the
# tip of a nose stands out of it in profiles (in 494 photos, turned by 45 degrees at most, -0.22 and more).
_NOSE_TIP: Final = 1
_SIDES: Final = (234, 454)
_NOSE_BEYOND: Final = -0.25
# How far the measured area stays inside the outline, and features reach beyond theirs.
_INSIDE: Final = 0.93
_MARGIN_PX: Final = 7
# Where less skin is seen, nothing is measured: a face from the side or from above, whose outline is a line.
_LEAST_SKIN_PX: Final = 400
# Hues and shading are compared between cells of this size; shading over so many of them.
_CELL_PX: Final = 4
_RELIEF_CELLS: Final = 3
_LEAST_CURVATURES: Final = 40
# Above the nose of a face from below there is little.
_LEAST_ROWS: Final = 4
#: Across and down: to the right, down, and both diagonals.
_SLOPES: Final = ((1, 0), (0, 1), (1, 1), (1, -1))
# Noise is averaged over so many pixels, a 25th of the face.
_MEAN_PX: Final = 5
# Over so many pixels one colour differs by no more than so many codes, also after JPEG.
_FLAT_PX: Final = 3
_SAME_CODES: Final = 3
# From this code on a channel is taken for clipped, as JPEG leaves it.
_CLIPPED_CODE: Final = 251.0


class MeasuredFace:
    """One face's pixels, and what is measured on them; `FaceLimits` says what each means.

    Args:
        view: ``[3, S, S]``, 0-1.
        landmarks: ``[478, 2]``, pixels of the view.
        seen: ``[S, S]``, where the view shows something of the photo.
    """

    def __init__(self, view: Floats, landmarks: F64, seen: Mask) -> None:
        oval = landmarks[list(OVAL)]
        low = np.clip(np.floor(oval.min(axis=0)).astype(np.intp), 0, view.shape[-1])
        high = np.clip(np.ceil(oval.max(axis=0)).astype(np.intp), 0, view.shape[-1])
        self.pixels = view[:, low[1] : high[1], low[0] : high[0]] * np.float32(255)
        self.landmarks = landmarks - low
        self.brightness: Floats = np.tensordot(LUMINANCE, self.pixels, 1)
        shown = seen[low[1] : high[1], low[0] : high[0]]
        self.face, self.skin = (area & shown for area in _areas(self.landmarks, self.brightness.shape))

    @property
    def from_aside(self) -> bool:
        """The far eye and half of the mouth are hidden: turned by 55 degrees and more."""
        nose, right, left = self.landmarks[[_NOSE_TIP, *_SIDES], 0]
        return bool(min(nose - right, left - nose) < _NOSE_BEYOND * (left - right))

    @property
    def measurable(self) -> bool:
        """Not so oblique that its outline is a line."""
        return int(self.skin.sum()) >= _LEAST_SKIN_PX

    @cached_property
    def skin_colours(self) -> Floats:
        """Of every fourth pixel, ``[3, N]``, codes."""
        return self.pixels[:, ::2, ::2][:, self.skin[::2, ::2]]

    @cached_property
    def brightest(self) -> float:
        return _quantile(self.brightness[self.skin], 0.95)

    @cached_property
    def contrast(self) -> float:
        in_face = self.brightness[self.face]
        return max(_quantile(in_face, 0.98) - _quantile(in_face, 0.02), 1.0)

    @cached_property
    def white(self) -> float:
        return float((self.skin_colours.min(axis=0) >= LIMITS.white).mean())

    @cached_property
    def clipped(self) -> float:
        return float((self.skin_colours.max(axis=0) >= _CLIPPED_CODE).mean())

    @cached_property
    def one_colour(self) -> tuple[float, Floats]:
        """The largest share of the face that has the same colour without any texture, and that colour, codes
        ``[3]``."""
        window = (1, _FLAT_PX, _FLAT_PX)
        span = maximum_filter(self.pixels, window) - minimum_filter(self.pixels, window)
        colours = self.pixels[:, self.face & (span.max(axis=0) <= _SAME_CODES)].T
        if not len(colours):
            return 0.0, np.zeros(3, np.float32)
        cells, counts = np.unique(np.floor(colours / (2 * _SAME_CODES)), axis=0, return_counts=True)
        colour: Floats = (cells[counts.argmax()] + np.float32(0.5)) * (2 * _SAME_CODES)
        for _ in range(2):  # to the middle of what lies across several cells
            same = np.abs(colours - colour).max(axis=1) <= _SAME_CODES
            colour = np.median(colours[same], axis=0)
        return float(same.sum() / self.face.sum()), colour

    @property
    def dark(self) -> bool:
        return self.brightest < LIMITS.dark

    @property
    def over_exposed(self) -> bool:
        return self.white > LIMITS.bright or self.clipped > LIMITS.clipped

    @cached_property
    def colour(self) -> Floats:
        """The skin's, median, codes ``[3]``."""
        colour: Floats = np.median(self.skin_colours, axis=1)
        return colour

    @cached_property
    def hue(self) -> tuple[float, float]:
        """ln(R/G), ln(B/G)."""
        red, blue = hues_of(self.colour)
        return float(red), float(blue)

    @cached_property
    def cells(self) -> Floats:
        """Means over cells, ``[3, rows, columns]``, codes."""
        cell = _CELL_PX
        rows, columns = (side // cell for side in self.brightness.shape)
        cells = self.pixels[:, : rows * cell, : columns * cell].reshape(3, rows, cell, columns, cell)
        means: Floats = cells.mean(axis=(2, 4))
        return means

    @cached_property
    def change_of_hue(self) -> float:
        """Median over the face, between cells."""
        return self._change_of_hue(rows=-1)

    @cached_property
    def change_of_hue_above(self) -> float:
        """The same above the tip of the nose: masks and hands are even, and mostly below."""
        return self._change_of_hue(rows=max(_LEAST_ROWS, int(self.landmarks[_NOSE_TIP, 1]) // _CELL_PX))

    def _change_of_hue(self, rows: int) -> float:
        hues = np.stack(hues_of(self.cells[:, :rows]))
        change = np.abs(hues[:, 1:, :-1] - hues[:, :-1, :-1]) + np.abs(hues[:, :-1, 1:] - hues[:, :-1, :-1])
        down, across = change.shape[1:]
        inside = self.face[_CELL_PX // 2 :: _CELL_PX, _CELL_PX // 2 :: _CELL_PX][:down, :across]
        return float(np.median(change.sum(axis=0)[inside])) if inside.any() else 0.0

    @cached_property
    def own_colours(self) -> float:
        """How far hues (ln R/G, ln B/G) are from what brightness alone says of them, rms over the face's
        cells: a toned picture has one colour for each brightness, skin beside lips and eyes has several.
        """
        cell = _CELL_PX
        rows, columns = self.cells.shape[1:]
        inside = self.face[cell // 2 :: cell, cell // 2 :: cell][:rows, :columns]
        hues = np.stack(hues_of(self.cells[:, inside]), axis=1)
        bases = np.vander(np.tensordot(LUMINANCE, self.cells[:, inside], 1) / 255, 4)
        residual = hues - bases @ np.linalg.lstsq(bases, hues, rcond=None)[0]
        return float(np.sqrt((residual**2).sum(axis=1).mean()))

    @cached_property
    def relief(self) -> float:
        """Mean curvature of brightness where it is least, of the contrast; light that falls off adds none."""
        cell, step = _CELL_PX, _RELIEF_CELLS
        level: Floats = np.tensordot(LUMINANCE, self.cells, 1)
        rows, columns = level.shape
        skin = self.skin[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell)
        whole: Mask = np.asarray(skin.all(axis=(1, 3)))
        curvatures = []
        for field, inside in ((level, whole), (level.T, whole.T)):
            curvature = np.abs(field[: -2 * step] + field[2 * step :] - 2 * field[step:-step])
            curvatures.append(curvature[inside[: -2 * step] & inside[2 * step :] & inside[step:-step]])
        values = np.concatenate(curvatures)
        return _mean_of_least(values) / self.contrast if len(values) >= _LEAST_CURVATURES else np.inf

    @property
    def colourless(self) -> bool:
        return max(abs(self.hue[0]), abs(self.hue[1]), self.change_of_hue) < LIMITS.colourless

    @cached_property
    def smoothness(self) -> float:
        """Differences of neighbours over those of pixels 8 apart, where it differs least."""
        return self._smoothness(self.brightness)

    @cached_property
    def smoothness_of_means(self) -> float:
        """The same of a brightness whose noise is averaged out."""
        means: Floats = uniform_filter(self.brightness, _MEAN_PX)
        return self._smoothness(means)

    @cached_property
    def growth(self) -> float:
        """How many times more brightness differs between pixels 4 apart than between neighbours, where it
        differs most."""
        return self._greatest_difference(4) / max(self._greatest_difference(1), 1e-3)

    @cached_property
    def growth_along(self) -> float:
        """The same of differences along one direction, that in which it is largest: a camera or a head that
        moved leaves the other directions sharp."""
        return max(
            _quantile(_differences_along(self.brightness, 4, slope, self.face), 0.98)
            / max(_quantile(_differences_along(self.brightness, 1, slope, self.face), 0.98), 1e-3)
            for slope in _SLOPES
        )

    @cached_property
    def steepness(self) -> float:
        """Of brightness over 4 pixels, where it is steepest, of the contrast per pixel."""
        return self._greatest_difference(4) / (4 * self.contrast)

    def darker_eye(self) -> float:
        """How much darker the eyes are than the skin below, of the contrast; of the eye that is less so."""
        differences = [self._at(skin).mean() - self._at(eye).mean() for eye, skin in _EYES]
        return float(min(differences)) / self.contrast

    def _smoothness(self, level: Floats) -> float:
        fine, coarse = (_mean_of_least(_differences(level, step, self.skin)) for step in (1, 8))
        return fine / max(coarse, 0.3)

    def _greatest_difference(self, step: int) -> float:
        return _quantile(_differences(self.brightness, step, self.face), 0.98)

    def _at(self, points: tuple[int, ...]) -> Floats:
        column, row = self.landmarks[list(points)].astype(np.intp).T
        height, width = self.brightness.shape
        values: Floats = self.brightness[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
        return values


def _differences(level: Floats, step: int, area: Mask) -> Floats:
    """Between pixels ``step`` apart, across plus down; of every second row."""
    here = level[:-step:2, :-step]
    result: Floats = np.abs(level[:-step:2, step:] - here) + np.abs(level[step::2, :-step] - here)
    return result[area[:-step:2, :-step]]


def _differences_along(level: Floats, step: int, slope: tuple[int, int], area: Mask) -> Floats:
    """Between pixels ``step`` apart in the direction ``slope`` (across, down), which goes right or down."""
    across, down = step * slope[0], step * slope[1]
    height, width = level.shape
    if down < 0:
        level, area, down = level[::-1], area[::-1], -down
    result: Floats = np.abs(level[down:, across:] - level[: height - down, : width - across])
    return result[area[: height - down, : width - across]]


def _quantile(values: Floats, share: float) -> float:
    """The value that this share of them does not reach."""
    place = min(int(share * len(values)), len(values) - 1)
    return float(np.partition(values, place)[place])


def _mean_of_least(differences: Floats) -> float:
    count = max(1, int(0.7 * len(differences)))
    return float(np.partition(differences, count - 1)[:count].mean())


def _areas(landmarks: F64, shape: tuple[int, ...]) -> tuple[Mask, Mask]:
    """The face inside its outline, and its skin: without brows, eyes, nostrils and lips. Each ``[H, W]``."""
    oval = landmarks[list(OVAL)]
    centre = oval.mean(axis=0)
    picture = Image.new("L", (shape[1], shape[0]))
    draw = ImageDraw.Draw(picture)
    draw.polygon([(x, y) for x, y in centre + _INSIDE * (oval - centre)], fill=255)
    face = np.array(picture) > 0
    for feature in _FEATURES:
        outline = [(x, y) for x, y in landmarks[[*feature, feature[0]]]]
        draw.polygon(outline, fill=0)
        draw.line(outline, fill=0, width=_MARGIN_PX)
    return face, np.array(picture) > 0


def hues_of(colours: Floats, dark_floor: float = 0.01) -> tuple[Floats, Floats]:
    """ln(R/G) and ln(B/G) of linear light, from codes ``[3, ...]``; below ``dark_floor`` (0.01: code 30)
    there is hardly a hue.
    """
    # A power close to sRGB's curve.
    red, green, blue = np.log((colours / np.float32(255)) ** np.float32(2.2) + np.float32(dark_floor))
    return red - green, blue - green
