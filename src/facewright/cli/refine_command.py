"""``facewright refine``: latents in a file, refined by a server, with a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from facewright_client import (
    Client,
    Connection,
    FacewrightClientError,
    Refinement,
    RefinementProgress,
    RefinementStart,
    Tls,
)


@dataclass(frozen=True)
class RefineCommand:
    """What the command line says.

    Args:
        start: an ``.npz`` with the arrays of `facewright_client.RefinementStart`, by their names.
        output: the ``.npz`` to write: the arrays of `facewright_client.Refinement`.
        server: address.
        options: docs/pipelines.md, given ones only.
        preview: JPEG of the last picture; None: none.
        timeout_s: for all of it.
        tls: encryption; None: plain text.
    """

    start: Path
    output: Path
    server: str
    options: Mapping[str, Any]
    preview: Path | None = None
    timeout_s: float = 600.0
    tls: Tls | None = None


def refine_latents(command: RefineCommand) -> int:
    """Refine and write the files; exit status 0 done, 1 failed."""
    try:
        start = read_start(command.start)
        refined, picture = _refine(command, start)
    except (FacewrightClientError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    arrays = {name: getattr(refined, name) for name in ("w_plus", "head_to_camera", "sh_light", "losses")}
    np.savez(command.output, **arrays)
    if command.preview is not None and picture is not None:
        command.preview.write_bytes(picture)
    info = refined.info
    print(
        f"{command.output}: loss {info['first_loss']:.4g} -> {info['best_loss']:.4g} after "
        f"{info['iterations']} iterations ({info['ended']}), {info['ms_per_iteration']:.1f} ms each"
        if info["iterations"]
        else f"{command.output}: no iteration was done ({info['ended']})"
    )
    return 0


def read_start(path: Path) -> RefinementStart:
    """The arrays of a start.

    Raises:
        ValueError: one is missing, or the file is no ``.npz``.
        OSError: the file cannot be read.
    """
    names = [field.name for field in fields(RefinementStart)]
    archive = np.load(path, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError(f"{path} is no .npz file; write one with numpy.savez")
    with archive:
        missing = sorted(set(names) - set(archive.files))
        if missing:
            raise ValueError(f"{path} has no {', '.join(missing)}; it has {', '.join(archive.files)}")
        return RefinementStart(**{name: archive[name] for name in names})


def _refine(command: RefineCommand, start: RefinementStart) -> tuple[Refinement, bytes | None]:
    pictures: list[bytes] = []
    columns = (
        TextColumn("refining"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    connection = Connection(timeout_s=command.timeout_s, tls=command.tls)
    console = Console(stderr=True)
    with Client(command.server, connection) as client, Progress(*columns, console=console) as bar:
        task = bar.add_task("refining", total=None, loss="")

        def show(progress: RefinementProgress) -> None:
            bar.update(
                task,
                completed=progress.iteration,
                total=progress.iterations,
                loss=f"{progress.losses['total']:.4g}",
            )
            if progress.preview is not None:
                pictures[:] = [progress.preview]

        refined = client.refine(start, show, **command.options)
    return refined, pictures[0] if pictures else None
