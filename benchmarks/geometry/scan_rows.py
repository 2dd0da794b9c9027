"""Avatars of a folder of scans: each of its photo, or photographed at several yaws and in several lights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from rich.console import Console

from benchmarks.geometry.geometry_report import SCAN_COLUMNS
from benchmarks.geometry.scan_measures import ScanErrors, ScanMeasures
from benchmarks.geometry.scans import (
    LIGHTS,
    Scan,
    ScanError,
    in_head_frame,
    photo_of,
    photograph,
    read_scan,
    scan_files,
)
from benchmarks.likeness.make_avatar import AvatarMaker
from facewright.core.errors import FacewrightError

#: How scans without a photo are turned for theirs, degrees.
YAWS: Final = (0.0, -30.0, 30.0, 45.0)


def measure_scans(folder: Path, maker: AvatarMaker, maps: Path | None, console: Console) -> dict[str, Any]:
    """The rows of each scan in ``folder`` by its photos, and of the mean head, which is fitted to nobody.

    Args:
        folder: OBJ, PLY or GLB, looking along +z; beside them photos and textures (`photo_of`, `read_scan`).
        maker: of the avatars.
        maps: where error maps (PNG) are written; None for none.
        console: is told what is refused.
    """
    scans: dict[str, Any] = {}
    for path in scan_files(folder):
        try:
            scan = in_head_frame(read_scan(path), maker)
        except (ScanError, FacewrightError) as error:
            console.print(f"{path.name}: {error}", markup=False)
            scans[path.stem] = {"refused": str(error), "photos": {}}
            continue
        measures = ScanMeasures(maker.head, scan)
        mean = measures.errors(maker.head.vertices_mean)
        rows: dict[str, Any] = {}
        for name, photo in _photos(path, scan).items():
            try:
                face = maker.fit_photo(photo)
            except FacewrightError as error:
                console.print(f"{path.name}, {name}: {error}", markup=False)
                rows[name] = {"refused": str(error.code)}
                continue
            errors = measures.errors(face.fit.neutral_vertices)
            rows[name] = {**_row(errors), "yaw found": round(face.fit.info.yaw, 1)}
            if maps:
                _write_map(maps, f"{path.stem} {name}", measures, errors)
        if maps:
            _write_map(maps, f"{path.stem} mean head", measures, mean)
        scans[path.stem] = {"photos": rows, "the mean head": _row(mean)}
    return scans


def summary(scans: Mapping[str, Any]) -> dict[str, Any]:
    """Over all photos that became avatars, and over their scans' mean heads."""
    rows = [row for scan in scans.values() for row in scan["photos"].values()]
    made = [row for row in rows if "mean mm" in row]
    means = [scan["the mean head"] for scan in scans.values() if "the mean head" in scan]
    return {
        "photos": len(rows),
        "refused": len(rows) - len(made),
        "avatars": _over(made),
        "the mean head": _over(means),
    }


def _photos(path: Path, scan: Scan) -> dict[str, bytes]:
    photo = photo_of(path)
    if photo is not None:
        return {"photo": photo.read_bytes()}
    return {
        f"yaw {yaw:.0f}, {name}": photograph(scan, yaw, light)
        for yaw in YAWS
        for name, light in LIGHTS.items()
    }


def _row(errors: ScanErrors) -> dict[str, float]:
    return {
        "mean mm": round(errors.mean * 1e3, 3),
        "median mm": round(float(np.median(errors.distance)) * 1e3, 3),
        "mean by area mm": round(errors.mean_by_area * 1e3, 3),
    }


def _over(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    if not rows:
        return {}
    return {name: round(float(np.mean([row[name] for row in rows])), 3) for name in SCAN_COLUMNS}


def _write_map(folder: Path, name: str, measures: ScanMeasures, errors: ScanErrors) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stem = name.replace(", ", "_").replace(" ", "_")
    Image.fromarray(measures.error_map(errors, name)).save(folder / f"{stem}.png")
