"""Measures the shape of avatars on heads that are known.

    .venv/bin/python -m benchmarks.geometry --heads 20

People (`facewright_export.people`) are drawn from the open head's own prior, ICT-FaceKit's, and photographed;
the stages run in this process. So this is a regression check: what counts as truth is a scan of somebody who
is in no prior.
Compared is the skin within 95 mm of the tip of the nose. The mean head, fitted to nobody, is measured beside.

    .venv/bin/python -m benchmarks.geometry --scans FOLDER --maps out/maps

measures what is seen of scans from outside instead (`pip install -e '.[bench,test]'`): OBJ, PLY or GLB,
looking along +z, +y up, each with the photo of the same name beside it; one that has no photo is drawn,
turned by several angles and in two lights, with NAME.texture.jpg as its colours where its file has none.
The Lee Perry-Smith scan (CC BY 3.0, Infinite-Realities) is such a one; the colour map that goes around with
its GLB stands on its head.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from benchmarks.geometry.geometry_report import geometry_section, scans_section
from benchmarks.geometry.known_heads import EXPRESSIONS, HeadPhotographer, KnownHead
from benchmarks.geometry.measures import FaceMeasures
from benchmarks.geometry.sittings import measure_sittings
from benchmarks.likeness.make_avatar import AvatarMaker, FittedFace
from benchmarks.run_conditions import RunConditions, write_result
from facewright.adapter.in_process import PipelineRunner, run_in_process
from facewright.core.errors import FacewrightError
from facewright.pipelines.merge import MERGE_AVATARS
from facewright_client.contract import CODE, CODES, NEUTRAL_VERTICES

FloatArray = npt.NDArray[np.float64]
#: Of the people; nothing is trained or tuned on these.
_SEED = 20261130
_YAW = 30.0
#: Photos of one person that are merged: expression and yaw of each.
_TOGETHER: Final[dict[str, tuple[tuple[str, float], ...]]] = {
    "merged: calm, at yaw 0, -30 and 30": (("", 0.0), ("", -_YAW), ("", _YAW)),
    "merged: smile, jaw open at 30, brow raise at -30": (
        ("smile .8", 0.0),
        ("jawOpen .6", _YAW),
        ("brow raise .9", -_YAW),
    ),
}
#: Pipelines that make avatars of the open head; others get a row when they exist.
_PIPELINES: dict[str, Callable[[], AvatarMaker]] = {"avatar_twin": AvatarMaker}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 0."""
    options = _parse(arguments)
    console = Console(stderr=True)
    conditions = RunConditions()
    maker = _PIPELINES[options.pipeline]()
    if options.scans:
        return _measure_scans(options, maker, conditions, console)
    photographer = HeadPhotographer(maker.head, options.seed)
    people = [photographer.draw() for _ in range(options.heads)]
    measured = _measure(maker, photographer, people, options.expressive, console)
    told = {"benchmark": "geometry", "heads": options.heads, "seed": options.seed}
    result = {**told, **measured, **conditions.as_row()}
    print(geometry_section(result))
    if not options.no_result:
        console.print(f"wrote {write_result('geometry', result)}")
    return 0


def _measure_scans(
    options: argparse.Namespace, maker: AvatarMaker, conditions: RunConditions, console: Console
) -> int:
    """The scans' rows; 2 where their reader is missing, or the folder has none."""
    try:
        from benchmarks.geometry.scan_rows import measure_scans, summary
    except ImportError as error:
        console.print(f"{error}: .venv/bin/pip install -e '.[bench,test]'", markup=False)
        return 2
    scans = measure_scans(options.scans, maker, options.maps, console)
    if not scans:
        console.print(f"no OBJ, PLY or GLB in {options.scans}", markup=False)
        return 2
    result = {
        "benchmark": "scans",
        "pipeline": options.pipeline,
        "all": summary(scans),
        "scans": scans,
        **conditions.as_row(),
    }
    print(scans_section(result))
    if not options.no_result:
        console.print(f"wrote {write_result('scans', result)}")
    return 0


def _measure(
    maker: AvatarMaker,
    photographer: HeadPhotographer,
    people: Sequence[KnownHead],
    expressive: int,
    console: Console,
) -> dict[str, Any]:
    measures = FaceMeasures(maker.head)
    mean = maker.head.vertices_mean.astype(np.float64)
    taken: list[KnownHead] = []
    frontal: list[FittedFace] = []
    turned: list[FittedFace] = []
    for person in track(people, "neutral", console=console):
        try:
            faces = [maker.fit_photo(photographer.photo(person, yaw=yaw)) for yaw in (0.0, _YAW)]
        except FacewrightError as error:
            console.print(f"refused: {error}", markup=False)
            continue
        taken.append(person)
        frontal.append(faces[0])
        turned.append(faces[1])
    truths = [person.neutral for person in taken]
    rows = {
        "avatars": _against(measures, [_neutral(face) for face in frontal], truths),
        f"avatars of photos at yaw {_YAW:.0f}": _against(
            measures, [_neutral(face) for face in turned], truths
        ),
        "the mean head": _against(measures, [mean] * len(taken), truths),
        **_merged(photographer, measures, taken, console),
    }
    apart = [measures.rms(_neutral(b), _neutral(a)) for a, b in zip(frontal, turned, strict=True)]
    strangers = [measures.rms(_neutral(b), _neutral(a)) for a, b in pairwise(frontal)]
    return {
        "refused": len(people) - len(taken),
        "rows": rows,
        "yaw 30 against yaw 0, rms mm": _mm(apart),
        "strangers, rms mm": _mm(strangers),
        **measure_sittings(maker, photographer, measures, taken, frontal, console),
        "yaw error at 0, degrees": float(np.mean([abs(face.fit.info.yaw) for face in frontal])),
        "yaw error at 30, degrees": float(np.mean([abs(abs(face.fit.info.yaw) - _YAW) for face in turned])),
        "weight found in neutral photos, mean": float(np.mean([face.fit.expression for face in frontal])),
        "expressions": {
            name: _expression(maker, photographer, measures, taken[:expressive], frontal, name)
            for name in track(EXPRESSIONS, "expressions", console=console)
        },
    }


def _against(
    measures: FaceMeasures, avatars: Sequence[FloatArray], truths: Sequence[FloatArray]
) -> dict[str, Any]:
    distance = [measures.to_surface(a, t) for a, t in zip(avatars, truths, strict=True)]
    return {
        "median mm": _mm([float(np.median(one)) for one in distance]),
        "mean mm": _mm([float(np.mean(one)) for one in distance]),
        "mean at unit scale mm": _mm(
            [float(np.mean(measures.to_surface(a, t, False))) for a, t in zip(avatars, truths, strict=True)]
        ),
        "rms at unit scale mm": _mm([measures.rms(a, t) for a, t in zip(avatars, truths, strict=True)]),
        "captured": measures.captured(avatars, truths),
    }


def _merged(
    photographer: HeadPhotographer, measures: FaceMeasures, people: Sequence[KnownHead], console: Console
) -> dict[str, Any]:
    """Rows of avatars of several photos, and of the first of them alone."""
    merger = PipelineRunner(MERGE_AVATARS)
    rows: dict[str, Any] = {}
    alone = {f"{name}: the first alone": shown[:1] for name, shown in _TOGETHER.items()}
    for name, shown in {**_TOGETHER, **alone}.items():
        avatars, truths = [], []
        for person in track(people, name, console=console):
            try:
                codes = [_code(photographer.photo(person, EXPRESSIONS.get(e), yaw)) for e, yaw in shown]
            except FacewrightError:
                continue
            run = merger.run({CODES: b"".join(codes)}, wanted=(NEUTRAL_VERTICES,))
            avatars.append(run.array(NEUTRAL_VERTICES).astype(np.float64))
            truths.append(person.neutral)
        rows[name] = _against(measures, avatars, truths)
    return rows


def _code(photo: bytes) -> bytes:
    return run_in_process("avatar_twin", photo, {"texture_size": 512}, (CODE,)).content(CODE)


def _expression(
    maker: AvatarMaker,
    photographer: HeadPhotographer,
    measures: FaceMeasures,
    people: Sequence[KnownHead],
    calm: Sequence[FittedFace],
    name: str,
) -> dict[str, Any]:
    """The weight found, mean of its shapes, what stays in the neutral, and how far this is from the neutral
    of the same person's calm photo."""
    weights = photographer.weights(EXPRESSIONS[name])
    displacement = np.einsum("e,evc->vc", weights, maker.head.expression_basis.astype(np.float64))
    found, left, apart, lips_apart = [], [], [], []
    for person, neutral in zip(people, calm, strict=False):
        try:
            face = maker.fit_photo(photographer.photo(person, EXPRESSIONS[name]))
        except FacewrightError:
            continue
        found.append(float(face.fit.expression[weights > 0].mean()))
        left.append(measures.left_behind(_neutral(neutral), _neutral(face), displacement))
        apart.append(measures.rms(_neutral(face), _neutral(neutral)))
        lips_apart.append(measures.lips_rms(_neutral(face), _neutral(neutral)))
    return {
        "people": len(found),
        "found": float(np.mean(found)),
        "left in the neutral": float(np.mean(left)),
        "against calm, rms mm": _mm(apart),
        "lips against calm, rms mm": _mm(lips_apart),
    }


def _neutral(face: FittedFace) -> FloatArray:
    return face.fit.neutral_vertices.astype(np.float64)


def _mm(metres: Sequence[float]) -> float:
    return float(np.mean(metres)) * 1e3


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.geometry",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--heads", type=int, default=20, help="people that are drawn (default: %(default)s)")
    parser.add_argument(
        "--expressive", type=int, default=8, help="of whom so many show expressions (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=_SEED, help="of the people (default: %(default)s)")
    parser.add_argument(
        "--pipeline", choices=list(_PIPELINES), default="avatar_twin", help="default: %(default)s"
    )
    parser.add_argument(
        "--scans", type=Path, metavar="FOLDER", help="measure these scans instead of drawn people"
    )
    parser.add_argument("--maps", type=Path, metavar="FOLDER", help="write error maps of scans here (PNG)")
    parser.add_argument("--no-result", action="store_true", help="only print, write no result file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
