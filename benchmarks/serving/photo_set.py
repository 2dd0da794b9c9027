"""The photos that the service is measured with."""

from __future__ import annotations

import io
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.likeness.identity_statistics import person_of
from benchmarks.run_conditions import ROOT

_ASTRONAUT = ROOT / "tests" / "data" / "astronaut.jpg"
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class PhotoSet:
    """Photos whose rows stand together in the report.

    Attributes:
        name: in the result file.
        description: for readers of the report; tells no private photo's name.
        public: they lie in this repository, so that anybody can repeat the numbers.
        photos: as encoded, each to be sent equally often.
    """

    name: str
    description: str
    public: bool
    photos: tuple[bytes, ...] = field(repr=False)

    def as_row(self) -> dict[str, Any]:
        """All but the photos."""
        return {"description": self.description, "public": self.public, "photos": len(self.photos)}

    def rounds(self, requests: int) -> int:
        """The least number of requests from ``requests`` on that sends each photo equally often."""
        return -(-requests // len(self.photos)) * len(self.photos)


def astronaut() -> PhotoSet:
    """The one photo of this repository."""
    photo = _ASTRONAUT.read_bytes()
    return PhotoSet("astronaut", f"astronaut ({_size(photo)})", public=True, photos=(photo,))


def portraits(folder: Path, count: int) -> PhotoSet:
    """``count`` photos of a folder, all of it where it has fewer, the same ones each time: in the order of
    their names one of each person, then a second one of each (`person_of` tells who a photo shows).

    Raises:
        ValueError: no photos there, or none wanted.
    """
    if count < 1:
        raise ValueError(f"at least one portrait is needed, not {count}")
    of_person: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _SUFFIXES:
            of_person[person_of(path.name)].append(path)
    if not of_person:
        raise ValueError(f"no {', '.join(sorted(_SUFFIXES))} in {folder}")
    in_turns = chain.from_iterable(zip_longest(*of_person.values()))
    chosen = [path for path in in_turns if path is not None][:count]
    photos = tuple(path.read_bytes() for path in chosen)
    persons = len({person_of(path.name) for path in chosen})
    megapixels = np.median([_megapixels(photo) for photo in photos])
    return PhotoSet(
        "portraits",
        f"{len(photos)} portraits of {persons} people ({megapixels:.1f} megapixels in the median)",
        public=False,
        photos=photos,
    )


def _size(photo: bytes) -> str:
    with Image.open(io.BytesIO(photo)) as image:
        return f"{image.width} × {image.height}"


def _megapixels(photo: bytes) -> float:
    with Image.open(io.BytesIO(photo)) as image:
        return image.width * image.height / 1e6
