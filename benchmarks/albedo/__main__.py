"""Measures albedos of real portraits and of synthetic people.

    .venv-export/bin/python -m benchmarks.albedo ~/portraits --sheets out/albedo

Photos of one person share the part of their names before a double underscore: ann__sea.jpg, ann__office.jpg;
people of one photo and photos without colour are left out. Beside the network's albedo as an avatar wears it
stand today's texture, and the trivial rival: today's with its contrast halved, which halves all distances and
so tells people apart no better. ``--people`` more are synthetic: their albedo is known.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.progress import track

from benchmarks.albedo.people import KnownAlbedos
from benchmarks.albedo.portraits import SIDE, Portrait, PortraitMaker
from benchmarks.albedo.skin import SkinFigures, WornAlbedo, with_half_contrast
from benchmarks.likeness.identity_statistics import person_of
from benchmarks.run_conditions import RunConditions, write_result
from facewright.appearance.texel_layout import TexelPoints, padded_texel_map
from facewright.core.assets import asset_path
from facewright.core.colour import srgb_from_linear
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright_kernels import vertex_normals

U8 = npt.NDArray[np.uint8]

_SUFFIXES: Final = {".jpg", ".jpeg", ".png", ".webp"}
#: Mean difference of a pixel's channels from its grey below which a photo has no colour, codes.
_GREY: Final = 2.5
#: Portraits to a sheet.
_TO_A_SHEET: Final = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 0, or 2 where there is nothing to compare."""
    options = _parse(arguments)
    console = Console(stderr=True)
    conditions = RunConditions()
    head = HeadModel.load(asset_path("head.npz"))
    result: dict[str, Any] = {"benchmark": "albedo", "blur_texels": options.blur}
    if options.photos is not None:
        portraits = _portraits(head, options.photos, console)
        if len(portraits) < 2:
            console.print(f"{options.photos} has no two colour photos of one person", markup=False)
            return 2
        result |= _rows(head, portraits, options)
    if options.people:
        result["synthetic_people"] = options.people
        result["synthetic"] = KnownAlbedos(head, options.people).row()
    result |= conditions.as_row()
    if not options.no_result:
        console.print(f"wrote {write_result('albedo', result)}", markup=False)
    shown = ("photos", "persons", "rows", "synthetic")
    json.dump(
        {name: result[name] for name in shown if name in result}, sys.stdout, indent=1, ensure_ascii=False
    )
    sys.stdout.write("\n")
    return 0


def _portraits(head: HeadModel, folder: Path, console: Console) -> list[tuple[str, Portrait]]:
    """Who each shows, and what came of it."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    of_each = Counter(person_of(path.name) for path in paths)
    points = TexelPoints(head, padded_texel_map(head, SIDE))
    normals = points.interpolate(vertex_normals(head.vertices_mean[None], head.triangles)[0])
    maker = PortraitMaker(head, normals.reshape(SIDE, SIDE, 3))
    made: list[tuple[str, Portrait]] = []
    for path in track([p for p in paths if of_each[person_of(p.name)] > 1], "portraits", console=console):
        try:
            portrait = maker.make(path.read_bytes())
        except FacewrightError as error:
            console.print(f"{path.name}: {error}", markup=False)
            continue
        colours = portrait.crop.astype(np.int64)
        if np.abs(colours - colours.mean(axis=2, keepdims=True)).mean() >= _GREY:
            made.append((person_of(path.name), portrait))
    of_each = Counter(person for person, _ in made)
    return [(person, portrait) for person, portrait in made if of_each[person] > 1]


def _rows(
    head: HeadModel, portraits: Sequence[tuple[str, Portrait]], options: argparse.Namespace
) -> dict[str, Any]:
    persons = [person for person, _ in portraits]
    own = [portrait for _, portrait in portraits]
    worn = WornAlbedo(head, options.blur)
    clothed = [worn(portrait.albedo, portrait.baked[1]) for portrait in own]
    today = [portrait.baked[0] for portrait in own]
    figures = SkinFigures(head)
    if options.sheets:
        _write_sheets(own, clothed, options.sheets)
    textures = {
        "photo": [portrait.texture for portrait in own],
        "today": today,
        "today, all light divided out": [portrait.baked[1] for portrait in own],
        "today, contrast halved": with_half_contrast(today),
        "network": [portrait.albedo for portrait in own],
        "network, as worn": clothed,
    }
    return {
        "photos": len(own),
        "persons": len(set(persons)),
        "rows": {name: figures.row(some, persons) for name, some in textures.items()},
    }


def _write_sheets(portraits: Sequence[Portrait], worn: Sequence[U8], folder: Path) -> None:
    """Rows of crop, unwrapped texture, today's texture, the network's albedo, as worn, and light."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        np.hstack([p.crop, p.texture, p.baked[0], p.albedo, own, srgb_from_linear(0.4 * p.light)])
        for p, own in zip(portraits, worn, strict=True)
    ]
    for first in range(0, len(rows), _TO_A_SHEET):
        sheet = Image.fromarray(np.vstack(rows[first : first + _TO_A_SHEET]))
        sheet.save(folder / f"albedo_{first // _TO_A_SHEET:02d}.png")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.albedo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", type=Path, nargs="?", help="folder of photos (JPEG, PNG, WebP)")
    parser.add_argument("--people", type=int, default=200, help="synthetic people (default: %(default)s)")
    parser.add_argument(
        "--blur", type=float, default=6.0, help="between coarse and fine, texels (default: %(default)s)"
    )
    parser.add_argument("--sheets", type=Path, help="write sheets of pictures (PNG) into this folder")
    parser.add_argument("--no-result", action="store_true", help="leave benchmarks/results alone")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
