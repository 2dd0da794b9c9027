"""A sheet of labelled square pictures: even gaps, rounded corners, small captions."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from facewright.core.arrays import Floats

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SheetStyle:
    """Sizes in pixels and sRGB colours of a sheet.

    Attributes:
        tile: side of a picture.
        gap: between pictures and around the sheet.
        caption: height of the caption's strip below a picture.
        font: height of the captions' letters.
        corner: radius of the pictures' corners.
        paper, ink: colours of the sheet and of the captions.
    """

    tile: int = 320
    gap: int = 14
    caption: int = 26
    font: int = 15
    corner: int = 10
    paper: tuple[int, int, int] = (24, 25, 28)
    ink: tuple[int, int, int] = (178, 181, 188)


def compose_sheet(pictures: list[tuple[str, U8]], columns: int, style: SheetStyle) -> Image.Image:
    """Pictures u8 [tile, tile, 3] with their captions, row by row."""
    rows = -(-len(pictures) // columns)
    pitch_x, pitch_y = style.tile + style.gap, style.tile + style.caption + style.gap
    size = (columns * pitch_x + style.gap, rows * pitch_y + style.gap)
    sheet = Image.new("RGB", size, style.paper)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(style.font)
    mask = _rounded_corners(style.tile, style.corner)
    for i, (caption, picture) in enumerate(pictures):
        left = style.gap + i % columns * pitch_x
        top = style.gap + i // columns * pitch_y
        sheet.paste(Image.fromarray(picture), (left, top), mask)
        middle = (left + 3, top + style.tile + style.caption / 2 + 2)
        draw.text(middle, caption, fill=style.ink, font=font, anchor="lm")
    return sheet


def encode_png(sheet: Image.Image) -> bytes:
    """The sheet's PNG bytes; the fast level costs a few per cent of size and saves half of the time."""
    content = io.BytesIO()
    sheet.save(content, "PNG", compress_level=3)
    return content.getvalue()


@lru_cache(maxsize=8)
def backdrop(size: int, colour: tuple[float, float, float], middle: float = 0.42) -> Floats:
    """A studio's paper roll, linear f32 [size, size, 3]: lit behind the head, falling off to the corners."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    squared = (axis[None, :] - 0.5) ** 2 + (1.15 * (axis[:, None] - middle)) ** 2
    light = 0.35 + 0.9 * np.exp(-squared / 0.16)
    picture: Floats = (light[..., None] * np.asarray(colour)).astype(np.float32)
    picture.setflags(write=False)
    return picture


@lru_cache(maxsize=4)
def _rounded_corners(size: int, radius: int) -> Image.Image:
    big = Image.new("L", (size * 4, size * 4), 0)
    ImageDraw.Draw(big).rounded_rectangle((0, 0, size * 4 - 1, size * 4 - 1), radius * 4, fill=255)
    return big.resize((size, size), Image.Resampling.BOX)
