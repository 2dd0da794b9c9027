"""How far avatars of one person's photos are apart that show the same face, from the front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.geometry.known_heads import HeadPhotographer, KnownHead, Sitting
from benchmarks.geometry.measures import FaceMeasures
from benchmarks.likeness.make_avatar import AvatarMaker, FittedFace
from facewright.core.errors import FacewrightError

LIGHTS: Final = "one head in three lights, rms mm"
ANOTHER: Final = "one head with other hair, in other light, from 2 m, rms mm"
_FAR: Final = 2.0  # metres


def measure_sittings(
    maker: AvatarMaker,
    photographer: HeadPhotographer,
    measures: FaceMeasures,
    people: Sequence[KnownHead],
    first: Sequence[FittedFace],
    console: Console,
) -> dict[str, float]:
    """A row for each of `LIGHTS` and `ANOTHER`, each photo beside the person's ``first``."""
    apart: dict[str, list[float]] = {LIGHTS: [], ANOTHER: []}
    for index, person in enumerate(track(people, "sittings", console=console)):
        others = people[index - 1].person.hair
        for name, sitting in (
            (LIGHTS, Sitting(light=1)),
            (LIGHTS, Sitting(light=2)),
            (ANOTHER, Sitting(light=3, distance=_FAR, hair=others)),
        ):
            try:
                face = maker.fit_photo(photographer.photo(person, sitting=sitting))
            except FacewrightError as error:
                console.print(f"refused: {error}", markup=False)
                continue
            here, there = (one.fit.neutral_vertices.astype(np.float64) for one in (face, first[index]))
            apart[name].append(measures.rms(here, there) * 1e3)
    return {name: float(np.mean(values)) for name, values in apart.items()}
