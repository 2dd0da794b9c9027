"""What is drawn on a face's skin: brows, beards, freckles, moles, blush, creases, in millimetres of a chart.

The chart unrolls the canonical head (``HeadModel.vertices_canonical``) onto a cylinder about a vertical axis,
so what is drawn moves with every identity and expression. Its channels say what the skin has at a place:
hair strokes, extra pigment, blood, height (creases, pores) and shine.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from facewright.head.head_model import HeadModel
from facewright_export.people.chart_patterns import BEARDS, BROW, CREASES, Line, noise
from facewright_export.people.complexion import Complexion

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

#: Axis of the cylinder and its radius; extent of the chart; all in millimetres.
AXIS_DEPTH: Final = -60.0
RADIUS: Final = 90.0
HALF_WIDTH: Final = 135.0
TOP: Final = 75.0
BOTTOM: Final = -150.0
PER_MM: Final = 2  # texels
WIDTH: Final = int(2 * HALF_WIDTH * PER_MM)
HEIGHT: Final = int((TOP - BOTTOM) * PER_MM)
#: Channels of the skin, whose texels are twice as large; 128 is "none" for blood, height and shine.
PIGMENT, BLOOD, RELIEF, SHINE = range(4)
_COARSE: Final = (HEIGHT // 2, WIDTH // 2)
_NOISES: Final = 6
#: Millimetres of the strip in which brows are drawn: half its width, top and bottom.
_BROW_BOX: Final = (75.0, 36.0, -2.0)


class FaceChart:
    """Places on the chart of one head, and charts of people.

    Args:
        head: whose canonical shape is unrolled.
        random: draws the patterns that people share (noise, beards' strokes).
    """

    def __init__(self, head: HeadModel, random: np.random.Generator) -> None:
        canonical = head.vertices_canonical.astype(np.float64) * 1e3
        face = (head.region("face") > 0.3) | (head.region("forehead") > 0.1)
        self._front = canonical[face & (head.region("mouth_inside") < 0.5)]
        #: float32 [V, 2], where each vertex lies on the chart, 0-1.
        self.uv = self._uv(canonical[:, [0, 2]], canonical[:, 1])
        # larger than a chart: people get a part of one
        larger = (_COARSE[0] + 100, _COARSE[1] + 100)
        self._noises = [noise(random, larger, octaves, 9) for octaves in (3, 4, 5) * (_NOISES // 3)]
        self._brow_middles = [self._texels(np.array(BROW) * [side, 1]) for side in (-1, 1)]
        self._stubble = self._stubble_pattern(random)
        self._beards = {name: self._beard(polygons, random) for name, polygons in BEARDS.items()}
        self._creases = [self._crease(line) for line in CREASES]
        self._freckles = self._freckle_pattern(random)
        self._blush = self._blobs([(48, -28, 17), (0, -36, 10), (0, -104, 14)], 7)
        self._shine = self._blobs([(0, 40, 24), (0, -12, 7), (0, -36, 9), (0, -104, 9), (50, -15, 8)], 5)

    def draw(self, skin: Complexion, random: np.random.Generator) -> tuple[Bytes, Bytes]:
        """A person's hair strokes, uint8 [HEIGHT, WIDTH, 1], and skin, uint8 [HEIGHT / 2, WIDTH / 2, 4]."""
        first, second, third = (self._varied(random) for _ in range(3))
        strokes = self._brows(skin, random)
        for kind, amount in skin.beards.items():
            grown = (self._beards[kind] * np.float32(amount)).astype(np.uint8)
            np.maximum(strokes, grown, out=strokes)
        if skin.stubble:
            short = self._stubble * np.float32(0.6 * skin.stubble)
            np.maximum(strokes, short.astype(np.uint8), out=strokes)
        chart = np.empty((*_COARSE, 4), np.uint8)
        spots = first * np.float32(14 * skin.mottling) + np.float32(20)
        if skin.freckles:
            np.maximum(spots, self._freckles * (np.float32(skin.freckles) * (0.7 + second)), out=spots)
        chart[..., PIGMENT] = np.clip(self._with_moles(spots, skin, random), 0, 255)
        blood = second * np.float32(26 * skin.mottling) + self._blush * np.float32(70 * skin.blush) + 128
        chart[..., BLOOD] = np.clip(blood, 0, 255)
        relief = third * np.float32(10 + 10 * skin.age) + 128
        for rows, columns, pattern in self._creases:
            strength = skin.age * random.uniform(0.2, 1.2)
            if strength > 0.15:
                relief[rows, columns] -= pattern * np.float32(75 * strength)
        chart[..., RELIEF] = np.clip(relief, 0, 255)
        chart[..., SHINE] = np.clip(self._shine * 110 + first * 25 + 110, 0, 255)
        return strokes[..., None], chart

    def _uv(self, across_and_depth: npt.NDArray[np.float64], up: npt.NDArray[np.float64]) -> Floats:
        angle = np.arctan2(across_and_depth[:, 0], across_and_depth[:, 1] - AXIS_DEPTH)
        u = 0.5 + RADIUS * angle / (2 * HALF_WIDTH)
        return np.stack([u, (TOP - up) / (TOP - BOTTOM)], axis=1).astype(np.float32)

    def _texels(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Texels [N, 2] (x, y) of canonical places [N, 2] (across, up; millimetres) on the front."""
        places = np.asarray(points, np.float64)
        apart = ((self._front[None, :, :2] - places[:, None]) ** 2).sum(axis=2)
        nearest = np.argpartition(apart, 3, axis=1)[:, :3]
        weight = 1 / (np.take_along_axis(apart, nearest, 1) + 1)
        depth = (self._front[nearest, 2] * weight).sum(1) / weight.sum(1)
        uv = self._uv(np.stack([places[:, 0], depth], axis=1), places[:, 1])
        return uv.astype(np.float64) * [WIDTH, HEIGHT]

    def _brows(self, skin: Complexion, random: np.random.Generator) -> Bytes:
        """Brows as strokes: upright near the nose, then along the arch; uint8 [HEIGHT, WIDTH]."""
        zoom = 2
        half = np.interp(np.linspace(0, 1, 6), [0, 0.15, 0.6, 1], [3.4, 4.2, 3.3, 1.0]) * skin.brow_width
        reach, above, below = _BROW_BOX
        corner = int((HALF_WIDTH - reach) * PER_MM), int((TOP - above) * PER_MM)
        picture = Image.new("L", (int(2 * reach * PER_MM * zoom), int((above - below) * PER_MM * zoom)))
        pen = ImageDraw.Draw(picture)
        count = int(190 * skin.brow_density)
        lift = skin.brow_lift + random.normal(0, 1.0) * np.array([0, 0, 0.5, 1, 0, -1])
        for side, middle in zip((-1, 1), self._brow_middles, strict=True):
            spine = (middle - np.stack([np.zeros(6), lift * PER_MM], axis=1) - corner) * zoom
            at, along, across = (
                np.linspace(0, 1, 6),
                random.uniform(0, 1, count),
                random.uniform(-1, 1, count),
            )
            root = np.stack([np.interp(along, at, spine[:, k]) for k in (0, 1)], axis=1)
            root[:, 1] -= across * np.interp(along, at, half) * PER_MM * zoom
            # from outwards: up at the inner end, slightly down at the outer end
            lean = np.radians(np.interp(along, [0, 0.25, 0.6, 1], [70, 35, 5, -20]) - 18 * across)
            lean += random.normal(0, 0.15, count)
            length = random.uniform(3.2, 6.8, count) * np.interp(along, [0, 1], [1, 0.88]) * PER_MM * zoom
            tip = root + np.stack([side * np.cos(lean), -np.sin(lean)], axis=1) * length[:, None]
            shade = random.integers(130, 235, count)
            for ends, tone in zip(np.hstack([root, tip]).tolist(), shade.tolist(), strict=True):
                pen.line(ends, fill=tone, width=2)
        brows = np.asarray(picture.reduce(zoom), np.float32) * np.float32(1.45)
        strokes = np.zeros((HEIGHT, WIDTH), np.uint8)
        rows, columns = slice(corner[1], corner[1] + len(brows)), slice(corner[0], corner[0] + brows.shape[1])
        strokes[rows, columns] = np.minimum(brows, 250)
        return strokes

    def _with_moles(self, spots: Floats, skin: Complexion, random: np.random.Generator) -> Floats:
        height, width = _COARSE
        for _ in range(skin.moles):
            x, y = int(random.uniform(0.15, 0.85) * width), int(random.uniform(0.1, 0.9) * height)
            size = random.uniform(0.7, 1.9)
            reach = int(size * 2) + 2
            rows, columns = np.mgrid[y - reach : y + reach + 1, x - reach : x + reach + 1]
            round_ = np.clip(1.5 - np.hypot(rows - y, columns - x) / size, 0, 1) * random.uniform(120, 230)
            patch = spots[y - reach : y + reach + 1, x - reach : x + reach + 1]
            np.maximum(patch, round_, out=patch)
        return spots

    def _varied(self, random: np.random.Generator) -> Floats:
        """A part of one of the shared noises, turned; about -1 to 1."""
        chosen = self._noises[random.integers(len(self._noises))]
        row, column = random.integers(0, 100, 2)
        part = chosen[row : row + _COARSE[0], column : column + _COARSE[1]]
        return part[:: random.choice([-1, 1]), :: random.choice([-1, 1])]

    def _filled(self, polygons: tuple[Line, ...], blur: float) -> Floats:
        picture = Image.new("L", (WIDTH, HEIGHT))
        pen = ImageDraw.Draw(picture)
        for polygon in polygons:
            for side in (-1, 1):
                corners = self._texels(np.array(polygon) * [side, 1])
                pen.polygon([tuple(corner) for corner in corners.tolist()], fill=255)
        return _soft(picture, blur * PER_MM, 1)

    def _beard(self, polygons: tuple[Line, ...], random: np.random.Generator) -> Bytes:
        """Dense strokes that hang down and outwards, thinner at the edge."""
        mask = self._filled(polygons, 2.5)
        picture = Image.new("L", (WIDTH, HEIGHT))
        pen = ImageDraw.Draw(picture)
        rows, columns = np.nonzero(mask > random.uniform(0.05, 0.9, mask.shape))
        for pick in random.integers(0, len(rows), 26 * int(mask.sum()) // 100):
            x, y = float(columns[pick]), float(rows[pick])
            lean = (x - WIDTH / 2) / WIDTH * 1.2 + random.normal(0, 0.35)
            length = random.uniform(4, 9) * PER_MM * 0.6
            ends = (x, y, x + np.sin(lean) * length, y + np.cos(lean) * length)
            pen.line(ends, fill=int(random.integers(110, 255)), width=1)
        strokes = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.6)), np.float32)
        return np.clip(0.8 * strokes + 130 * mask * mask, 0, 250).astype(np.uint8)

    def _stubble_pattern(self, random: np.random.Generator) -> Floats:
        grain = random.uniform(0, 1, (HEIGHT, WIDTH)).astype(np.float32) ** 2
        return self._filled(BEARDS["full"], 5) * (110 + 145 * grain)

    def _crease(self, line: Line) -> tuple[slice, slice, Floats]:
        """A soft line on both sides of the face: where it lies on the chart, and 0-1 there."""
        corners, at = np.array(line), np.linspace(0, len(line) - 1, 12)
        dense = np.stack([np.interp(at, np.arange(len(line)), corners[:, k]) for k in (0, 1)], axis=1)
        picture = Image.new("L", (WIDTH, HEIGHT))
        pen = ImageDraw.Draw(picture)
        for side in (-1, 1):
            texels = self._texels(dense * [side, 1])
            pen.line([tuple(texel) for texel in texels.tolist()], fill=255, width=2)
        soft = _soft(picture, 1.6, 2) * np.float32(2.3)
        rows, columns = np.flatnonzero(soft.max(1) > 0.02), np.flatnonzero(soft.max(0) > 0.02)
        where = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
        return (*where, np.ascontiguousarray(soft[where]))

    def _freckle_pattern(self, random: np.random.Generator) -> Floats:
        picture = Image.new("L", (WIDTH, HEIGHT))
        pen = ImageDraw.Draw(picture)
        places = np.concatenate(
            [random.normal([0, -15], [34, 13], (420, 2)), random.uniform([-60, -100], [60, 60], (160, 2))]
        )
        for x, y in self._texels(places).tolist():
            size = random.uniform(0.25, 0.8) * PER_MM
            pen.ellipse((x - size, y - size, x + size, y + size), fill=int(random.integers(60, 170)))
        return _soft(picture, 0.7, 2) * np.float32(255)

    def _blobs(self, places: list[tuple[float, float, float]], blur: float) -> Floats:
        """Soft discs (across, up, radius; millimetres) on both sides; 0-1."""
        picture = Image.new("L", (WIDTH, HEIGHT))
        pen = ImageDraw.Draw(picture)
        for across, up, size in places:
            for side in (-1, 1):
                x, y = self._texels([(across * side, up)])[0]
                reach = size * PER_MM
                pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=255)
        return _soft(picture, blur * PER_MM, 2)


def _soft(picture: Image.Image, blur: float, reduction: int) -> Floats:
    """A grey picture blurred by ``blur`` texels and averaged down by a whole number; 0-1."""
    blurred = picture.filter(ImageFilter.GaussianBlur(blur)).reduce(reduction)
    return np.asarray(blurred).astype(np.float32) / np.float32(255)
