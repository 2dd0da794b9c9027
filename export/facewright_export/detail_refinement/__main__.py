"""Trains the open network ``detail_refinement`` and writes the ONNX file that travels with the code.

    .venv-export/bin/python -m facewright_export.detail_refinement people FOLDER --count 6000
    .venv-export/bin/python -m facewright_export.detail_refinement train FOLDER

The first draws people, photographs and unwraps them (80 ms of a core each); several may run side by side,
each with its own ``--first``. The second trains on all of FOLDER but the last hundred people, which it
measures on, for so many minutes of one core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from rich.console import Console
from rich.progress import track

from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright_export.detail_refinement.network import OpenDetailRefinement
from facewright_export.detail_refinement.onnx_file import NETWORK_FILE, write_network
from facewright_export.detail_refinement.training import People, Trainer, held_out
from facewright_export.detail_refinement.uv_people import UvPeople, write_samples

SEED: Final = 21
#: Highest learning rate.
RATE: Final = 2e-3
#: People to a file.
BATCH: Final = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one of the two; 0."""
    given = _parse(arguments)
    console = Console(stderr=True)
    head = HeadModel.load(asset_path("head.npz"))
    if given.what == "people":
        people = UvPeople(head, SEED)
        given.folder.mkdir(parents=True, exist_ok=True)
        for first in track(range(given.first, given.first + given.count, BATCH), "people", console=console):
            write_samples(list(people.samples(first, BATCH)), given.folder / f"people_{first:06d}.npz")
        return 0
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    network = OpenDetailRefinement(head)
    *files, last = sorted(given.folder.glob("*.npz"))
    known, unknown = People.read(files, network), People.read([last], network)
    steps = Trainer(head, network, known, SEED).train(60 * given.minutes, RATE, console.print)
    errors = held_out(network, unknown, head)
    console.print(errors)
    provenance = {
        "command": f"python -m facewright_export.detail_refinement train --minutes {given.minutes:g}",
        "people": len(known),
        "people_seed": SEED,
        "seed": SEED,
        "steps": steps,
        "held_out": errors,
        "held_out_people": len(unknown),
    }
    write_network(network, given.out, provenance)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="facewright_export.detail_refinement", description=(__doc__ or "").splitlines()[0]
    )
    steps = parser.add_subparsers(dest="what", required=True)
    people = steps.add_parser("people", help="photograph synthetic people and unwrap them")
    people.add_argument("--first", type=int, default=0, help="number of the first person")
    people.add_argument("--count", type=int, default=6000, help="people (default: %(default)s)")
    train = steps.add_parser("train", help="train on the people of a folder")
    train.add_argument("--minutes", type=float, default=20.0, help="of one core (default: %(default)s)")
    train.add_argument("--out", type=Path, default=NETWORK_FILE, help="the network (default: the code's)")
    for step in (people, train):
        step.add_argument("folder", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
