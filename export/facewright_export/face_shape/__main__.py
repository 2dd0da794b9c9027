"""Trains the network ``face_shape`` and writes the weights that travel with the code.

    .venv-export/bin/python -m facewright_export.face_shape people FOLDER --count 8000
    .venv-export/bin/python -m facewright_export.face_shape train FOLDER

The first draws people, photographs them and keeps what the networks saw; several may run side by side, each
with its own ``--first``. The second trains on all of FOLDER (some minutes on one core). What real photos have
in common is taken away by the third: the mean of what is regressed from many, of which nothing else is kept.
The assets must be built anew before it (``make setup``), as the pipeline itself reads the photos.

    .venv-export/bin/python -m facewright_export.face_shape centre PHOTOS
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import track

from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright.pipelines.tensors import IDENTITY_PRIOR
from facewright_export.face_shape.observing import PeopleObserver, read_people
from facewright_export.face_shape.training import train_face_shape
from facewright_export.face_shape.weights import IDENTITY_REGRESSED, WEIGHTS_FILE, FaceShapeWeights
from facewright_export.real_faces import seen_faces

SEED: Final = 7
#: People that are observed between two marks of progress.
BATCH: Final = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one of the three; 0."""
    given = _parse(arguments)
    console = Console(stderr=True)
    if given.what == "people":
        observer = PeopleObserver(HeadModel.load(asset_path("head.npz")), SEED)
        given.folder.mkdir(parents=True, exist_ok=True)
        for first in track(range(given.first, given.first + given.count, BATCH), "people", console=console):
            observer.observe(first, BATCH, given.folder / f"people_{first:06d}.npz")
    elif given.what == "train":
        head = HeadModel.load(asset_path("head.npz"))
        weights = train_face_shape(head, read_people(given.folder), SEED, console.print)
        weights.save(given.out)
    else:
        weights = FaceShapeWeights.load(given.out)
        try:
            found = [
                run.array(IDENTITY_PRIOR)[:IDENTITY_REGRESSED, 0] for run in seen_faces(given.folder, console)
            ]
        except ValueError as error:
            console.print(str(error), markup=False)
            return 1
        common = weights.identity_common + np.mean(found, axis=0)
        replace(weights, identity_common=common).save(given.out)
        console.print(f"centred on {len(found)} faces: {np.linalg.norm(common):.2f} standard deviations")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="facewright_export.face_shape", description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="what", required=True)
    people = steps.add_parser("people", help="photograph synthetic people and keep what the networks see")
    people.add_argument("--first", type=int, default=0, help="number of the first person")
    people.add_argument("--count", type=int, default=8000, help="people (default: %(default)s)")
    train = steps.add_parser("train", help="train on the people of a folder")
    centre = steps.add_parser("centre", help="take away what real photos have in common")
    for step in (people, train, centre):
        step.add_argument("folder", type=Path)
    for step in (train, centre):
        step.add_argument("--out", type=Path, default=WEIGHTS_FILE, help="the weights (default: the code's)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
