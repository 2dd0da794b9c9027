"""Pictures to look at: a row for each photo, the photo beside what a player would see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.likeness.make_avatar import MadeAvatar
from facewright.core.colour import linear_from_srgb
from facewright.head.head_model import HeadModel
from facewright.render.light import STUDIO, Light
from facewright.render.preview_sheet import SheetStyle, compose_sheet
from facewright.render.render_head import HeadRenderer, View
from facewright.render.render_preview import BLINK, JAW_OPEN, SMILE

U8 = npt.NDArray[np.uint8]
#: Captioned pictures of one photo.
Row = list[tuple[str, U8]]

_STYLE: Final = SheetStyle(tile=216, gap=5, caption=16, font=12, corner=0)
_ROWS: Final = 5
_GREY: Final = (0.16, 0.16, 0.165)
#: Metres across a picture of the neutral: the head fills it.
_SPAN: Final = 0.28
#: Yaw of a picture → the judged render whose distance its caption shows.
_JUDGED: Final = {0: "0", -30: "-30", 30: "30"}


def sheet_row(head: HeadModel, avatar: MadeAvatar, name: str, distances: Mapping[str, float]) -> Row:
    """The photo, the fit over it, the neutral at 0, ±30 and 65°, with open jaw, and smiling with closed eyes.

    Args:
        head: the head model of ``avatar``.
        avatar: the photo and what was made of it.
        name: caption of the photo.
        distances: the judge's, by render, shown below the pictures they belong to.
    """
    tile = _STYLE.tile
    renderer = HeadRenderer(head, avatar.texture)
    left, top, side = _window(avatar)
    image = Image.fromarray(avatar.face_crop)
    filtered = Image.Resampling.BOX if side > tile else Image.Resampling.BICUBIC
    photo = np.asarray(image.resize((tile, tile), filtered, (left, top, left + side, top + side)))

    fit = avatar.fit
    view = View(fit.intrinsics, fit.head_to_camera, 1024, 1024).window(left, top, side, tile)
    fitted = renderer.render(fit.fitted_vertices, view, Light(avatar.sh_light)).over(linear_from_srgb(photo))
    pose = f"yaw {fit.info.yaw:.0f} pitch {fit.info.pitch:.0f}"
    pictures: Row = [(name, photo), (f"{pose}  d {distances['photo pose']:.2f}", fitted)]
    for yaw in (0, -30, 30, 65):
        judged = _JUDGED.get(yaw)
        caption = f"{yaw}°" + (f"  d {distances[judged]:.2f}" if judged else "")
        pictures.append((caption, _neutral(head, renderer, avatar, yaw, {})))
    pictures.append(("jaw open", _neutral(head, renderer, avatar, 0, JAW_OPEN)))
    pictures.append(("smile, blink", _neutral(head, renderer, avatar, 20, {**SMILE, **BLINK})))
    return pictures


def write_sheets(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes ``sheet_01.png`` …, five photos each; gives the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for first in range(0, len(rows), _ROWS):
        part = rows[first : first + _ROWS]
        path = folder / f"sheet_{first // _ROWS + 1:02d}.png"
        compose_sheet([picture for row in part for picture in row], len(part[0]), _STYLE).save(path)
        paths.append(path)
    return paths


def _window(avatar: MadeAvatar) -> tuple[float, float, float]:
    """Left, top and side of the square of the crop around the head, inside the crop."""
    low, high = avatar.landmarks_in_crop.min(axis=0), avatar.landmarks_in_crop.max(axis=0)
    side = min(1.8 * float((high - low).max()), 1024.0)
    centre = (low + high) / 2 - (0, 0.06 * side)
    left, top = np.clip(centre - side / 2, 0, 1024 - side)
    return float(left), float(top), side


def _neutral(
    head: HeadModel, renderer: HeadRenderer, avatar: MadeAvatar, yaw: float, weights: Mapping[str, float]
) -> U8:
    names = [str(name) for name in head.expression_names]
    vertices = avatar.fit.neutral_vertices
    for shape, weight in weights.items():
        vertices = vertices + np.float32(weight) * head.expression_basis[names.index(shape)]
    return renderer.render(vertices, View.turned(yaw, size=_STYLE.tile, span=_SPAN), STUDIO).over(_GREY)
