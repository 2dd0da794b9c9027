"""What the pipeline's first stages see of real people's photos, of whom statistics alone are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track

from facewright.adapter.in_process import PipelineRunner, Run
from facewright.core.errors import FacewrightError
from facewright.pipelines.twin import AVATAR_TWIN, OBSERVED
from facewright_client import contract

#: Fewer are not like people.
FEWEST_FACES: Final = 50
_PICTURES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def seen_faces(folder: Path, console: Console) -> Iterator[Run]:
    """What a fit is given (`OBSERVED`) of each photo in a folder that shows a face, in the order of names.

    Raises ValueError, after the last of them, where these were fewer than `FEWEST_FACES`.
    """
    stages = PipelineRunner(AVATAR_TWIN)
    photos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PICTURES)
    found = 0
    for photo in track(photos, "photos", console=console):
        try:
            run = stages.run({contract.PHOTO: photo.read_bytes()}, {}, OBSERVED)
        except FacewrightError:
            continue
        found += 1
        yield run
    if found < FEWEST_FACES:
        raise ValueError(f"{found} faces in {folder}; {FEWEST_FACES} are needed to be like people")
