"""Measures the likeness of avatars made from a folder of photos.

    .venv/bin/python -m benchmarks.likeness ~/portraits --sheets out/sheets

The stages run in this process, one photo after the other. dlib's face recognition, which the pipeline does
not use, compares photos with renders of the neutral avatar (`pip install -e '.[bench]'`). Photos of one
person share the part of their names before a double underscore: ann__sea.jpg, ann__office.jpg. The result
written to benchmarks/results names photos by number only.

Which photos count is decided by a rule that is stated before anything is judged, never by the result:
`--smallest-face 140` leaves out photos whose face is a thumbnail (the longer side of the box around its
landmarks, in pixels of the file), and says how many.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.likeness.contact_sheet import Row, sheet_row, write_sheets
from benchmarks.likeness.face_recognition_judge import FaceBox, FaceRecognitionJudge
from benchmarks.likeness.identity_statistics import person_of
from benchmarks.likeness.make_avatar import AvatarMaker
from benchmarks.likeness.measures import PhotoMeasures, judge_table, measure, table
from benchmarks.run_conditions import RunConditions, write_result
from facewright.core.errors import FacewrightError

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 0 when every photo became an avatar, 1 when some failed, 2 for wrong usage."""
    options = _parse(arguments)
    console = Console(stderr=True)
    paths = sorted(p for p in options.photos.iterdir() if p.suffix.lower() in _SUFFIXES)
    if options.only:
        paths = [p for p in paths if any(word in p.name for word in options.only)]
    if not paths:
        console.print(f"no {', '.join(sorted(_SUFFIXES))} in {options.photos}")
        return 2
    conditions = RunConditions()
    try:
        judge = FaceRecognitionJudge()
    except ImportError as error:
        console.print(str(error))
        return 2
    maker = AvatarMaker({"texture_size": options.texture_size, "delight": options.delight})

    measured: list[PhotoMeasures] = []
    names: list[str] = []
    failed: dict[int, str] = {}
    left_out: dict[int, int] = {}
    rows: list[Row] = []
    began = time.perf_counter()
    for number, path in enumerate(track(paths, "judging", console=console), 1):
        try:
            avatar = maker.make(path.read_bytes())
        except FacewrightError as error:
            failed[number] = str(error.code)
            console.print(f"{path.name}: {error}")
            continue
        face_px = FaceBox.around(avatar.landmarks_in_photo).side
        if face_px < options.smallest_face:
            left_out[number] = round(face_px)
            console.print(f"{path.name}: left out, its face spans {face_px:.0f} pixels")
            continue
        measures = measure(maker, judge, avatar, number, person_of(path.name), options.light)
        measured.append(measures)
        names.append(path.name)
        if options.sheets:
            distances = {render: measures.distance(render) for render in measures.renders}
            rows.append(sheet_row(maker.head, avatar, path.stem, distances))
    if options.sheets:
        write_sheets(rows, options.sheets)
    if options.smallest_face:
        console.print(
            f"{len(left_out)} of {len(paths)} photos left out: face below {options.smallest_face} px"
        )

    result = {
        "benchmark": "likeness",
        **conditions.as_row(),
        "light": options.light,
        "texture_size": options.texture_size,
        "delight": options.delight,
        "seconds": round(time.perf_counter() - began, 1),
        "photos": len(paths),
        "failed": failed,
        "smallest_face": options.smallest_face,
        "left_out": left_out,
        "persons": len({m.person for m in measured}),
        "tables": _tables(measured),
        "per_photo": [_row(m) for m in measured],
    }
    if options.details:
        rows_by_name = {name: _row(m) for name, m in zip(names, measured, strict=True)}
        options.details.write_text(json.dumps(rows_by_name, indent=1) + "\n")
    if not options.no_result:
        console.print(f"wrote {write_result('likeness', result)}")
    json.dump(result["tables"], sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
    return 1 if failed else 0


def _tables(measured: Sequence[PhotoMeasures]) -> dict[str, Any]:
    turned = [m for m in measured if not m.frontal]
    frontal = [m for m in measured if m.frontal]
    tables = {"|yaw| < 40°": table(frontal) | judge_table(frontal, measured)}
    if turned:
        tables["|yaw| ≥ 40°"] = table(turned) | judge_table(turned, measured)
    return tables


def _row(photo: PhotoMeasures) -> dict[str, Any]:
    """One photo's numbers; nothing that tells who it is."""

    def median(errors: Any) -> float | None:
        return None if errors is None else round(float(np.median(errors)), 2)

    return {
        "photo": photo.number,
        "yaw": round(photo.yaw, 1),
        "pitch": round(photo.pitch, 1),
        "reprojection_median": median(photo.reprojection),
        "reprojection_p95": round(float(np.percentile(photo.reprojection, 95)), 2),
        "refound_median": {str(yaw): median(errors) for yaw, errors in photo.refound.items()},
        "distance": {name: round(photo.distance(name), 3) for name in photo.renders},
        "distance_silhouette": round(photo.photo_face.distance(photo.masked_face), 3),
        "judge_found_face": {
            "photo": photo.photo_face.detected,
            **{name: face.detected for name, face in photo.renders.items()},
        },
        "jaw_open": round(photo.jaw_open, 3),
        "jaw_open_left": None if photo.jaw_open_left is None else round(photo.jaw_open_left, 3),
        "smile": round(photo.smile, 3),
        "smile_left": None if photo.smile_left is None else round(photo.smile_left, 3),
        "milliseconds": {stage: round(ms, 1) for stage, ms in photo.milliseconds.items()},
        "warnings": len(photo.warnings),
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.likeness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", type=Path, help="folder of photos (JPEG, PNG, WebP)")
    parser.add_argument("--only", nargs="*", help="only photos whose names contain one of these words")
    parser.add_argument(
        "--smallest-face",
        type=int,
        default=0,
        metavar="PX",
        help="leave out photos whose face spans less than this many pixels of the file (default: none)",
    )
    parser.add_argument("--sheets", type=Path, help="write contact sheets (PNG) into this folder")
    parser.add_argument("--details", type=Path, help="write the rows with file names to this JSON")
    parser.add_argument(
        "--light",
        choices=("studio", "even", "photo"),
        default="even",
        help="light of the judged renders: even (default: the texture as it is), studio, or the photo's own",
    )
    parser.add_argument("--texture-size", type=int, default=1024, choices=(512, 1024, 2048, 4096))
    parser.add_argument("--delight", type=float, default=0.5, help="the request option of that name")
    parser.add_argument("--no-result", action="store_true", help="leave benchmarks/results alone")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
