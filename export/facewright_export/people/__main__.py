"""Writes photos of synthetic people and their truth: ``python -m facewright_export.people FOLDER``.

The folder gets ``000000.png`` and so on, ``truths.npz`` (arrays with one row for each photo, named as the
fields of ``PersonTruth``) and ``sheet.png``, all of the first photos side by side.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright_export.people.people_generator import SMALLEST_SIDE, PeopleGenerator
from facewright_export.people.truth import PersonTruth

_GROUP: Final = 64  # photos in memory at once
_SHEET: Final = 32  # photos on the sheet, eight in a row
#: Lamps that a row of ``truths.npz`` has room for; what is not there has no irradiance.
_LAMPS: Final = 3
_FLAGS: Final = ("glasses", "sunglasses", "hair", "beard", "hat", "occluder")
_ARRAYS: Final = ("identity", "expression", "eye_rotation", "intrinsics", "head_to_camera", "albedo")


def write_people(folder: Path, head: HeadModel, count: int, seed: int, side: int) -> None:
    """What the module's text says; an existing file of the same name is overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    people = PeopleGenerator(head, seed)
    rows: list[dict[str, Any]] = []
    shown: list[npt.NDArray[np.uint8]] = []
    for first in range(0, count, _GROUP):
        batch = people.photograph(min(_GROUP, count - first), side, first=first)
        for number, (image, truth) in enumerate(zip(batch.images, batch.truths, strict=True), first):
            pixels = (image.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:06}.png")
            rows.append(_row(truth))
            if len(shown) < _SHEET:
                shown.append(pixels)
    arrays: dict[str, Any] = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    np.savez(folder / "truths.npz", **arrays)
    _sheet(shown).save(folder / "sheet.png")


def _row(truth: PersonTruth) -> dict[str, Any]:
    lamps = np.zeros((_LAMPS, 2, 3), np.float32)
    for slot, lamp in zip(lamps, truth.light.lamps, strict=False):
        slot[:] = lamp.direction, lamp.irradiance
    return {
        **{name: getattr(truth, name) for name in (*_ARRAYS, *_FLAGS)},
        "environment": truth.light.environment,
        "lamps": lamps,
    }


def _sheet(pictures: Sequence[npt.NDArray[np.uint8]]) -> Image.Image:
    side = len(pictures[0])
    sheet = Image.new("RGB", (side * min(len(pictures), 8), side * -(-len(pictures) // 8)))
    for number, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture), (number % 8 * side, number // 8 * side))
    return sheet


def main(arguments: Sequence[str] | None = None) -> None:
    """The command of the module's text."""
    parser = argparse.ArgumentParser(
        prog="facewright_export.people",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--count", type=int, default=32, help="photos, one of each person (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the people, 0 or more (%(default)s)")
    parser.add_argument("--side", type=int, default=256, help="of the photos, pixels (%(default)s)")
    options = parser.parse_args(arguments)
    for name, least in (("count", 1), ("seed", 0), ("side", SMALLEST_SIDE)):
        if getattr(options, name) < least:
            parser.error(f"--{name} must be {least} or more, not {getattr(options, name)}")
    head = HeadModel.load(asset_path("head.npz"))
    write_people(options.folder, head, options.count, options.seed, options.side)
    print(f"wrote {options.count} photos, truths.npz and sheet.png to {options.folder}")


if __name__ == "__main__":
    main()
