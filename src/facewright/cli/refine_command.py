"""``facewright refine``: latents in a file, refined by a server, with a progress bar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from facewright.cli.arguments import require_readable
from facewright.cli.live_bar import progress_on_log
from facewright.cli.messages import LOG, complain, printable, reason, say
from facewright.core.errors import FacewrightError
from facewright.refine.start_file import read_start
from facewright_client import (
    Client,
    Connection,
    DeadlineExceededError,
    FacewrightClientError,
    Refinement,
    RefinementProgress,
    RefinementStart,
)
from facewright_client._rest_address import is_rest
from facewright_client._whole_file import (
    file_behind,
    make_folder_first,
    obstacle,
    try_folder,
    write_whole,
)
from facewright_client.contract import ErrorCode


@dataclass(frozen=True)
class RefineCommand:
    """What the command line says.

    Args:
        start: an ``.npz`` with the arrays of `facewright_client.RefinementStart`, by their names.
        output: the ``.npz`` to write: the arrays of `facewright_client.Refinement`.
        server: address.
        options: docs/pipelines.md, given ones only.
        preview: JPEG of the last picture; None: none.
        connection: how the server is asked; its time limit is for all of it.

    Raises:
        FacewrightError: BAD_OPTION when a file cannot be written there, or would be written over another.
    """

    start: Path
    output: Path
    server: str
    options: Mapping[str, Any]
    preview: Path | None = None
    connection: Connection = field(default_factory=lambda: Connection(timeout_s=600.0))

    def __post_init__(self) -> None:
        written: dict[str, tuple[Path, tuple[str, ...]]] = {"--output": (self.output, (".npz",))}
        if self.preview is not None:
            written["--preview"] = (self.preview, (".jpg", ".jpeg"))
            if is_rest(self.server):
                raise _bad("--preview over REST", "pictures come over gRPC alone, give its port")
            if self.options.get("preview_every") == 0:
                raise _bad("--preview without pictures", "give --preview-every 1 or more")
        taken = {file_behind(self.start)}
        for option, (path, suffixes) in written.items():
            if path.suffix.lower() not in suffixes:
                raise _bad(f"{option} is {path}", f"give it the name of a {suffixes[0]}")
            missing = make_folder_first(path)
            if missing:
                raise _bad(
                    f"{option} {path} is in no folder that there is", f"{missing}, or give another file"
                )
            what = obstacle(path)
            if what:
                raise _bad(f"{option} {path} {what}", "give another file")
            if file_behind(path) in taken:
                raise _bad(f"{option} {path} would be written over another file", "give it another name")
            taken.add(file_behind(path))
            try:
                try_folder(file_behind(path).parent)
            except OSError as error:
                raise _bad(
                    f"{option} {path} cannot be written: {reason(error)}", "give another file"
                ) from None


def refine_latents(command: RefineCommand) -> int:
    """Refine and write the files; exit status 0 done, 1 failed."""
    try:
        require_readable(command.start, "START")
        with command.start.open("rb") as file:
            start = read_start(file, str(command.start))
    except FacewrightError as error:  # as of a photo that cannot be read, and no wrong usage
        complain(error.message, error.hint)
        return 1
    try:
        refined, picture = _refine(command, start)
    except FacewrightClientError as error:
        late = isinstance(error, DeadlineExceededError)
        kept = "; --deadline-ms N, less than --timeout, answers with the best so far" if late else ""
        complain(f"{error.code}: {error.message}", f"{error.hint}{kept}")
        return 1
    names = ("w_plus", "head_to_camera", "sh_light", "losses")
    content = BytesIO()
    np.savez(content, **{name: getattr(refined, name) for name in names})
    for path, written in ((command.output, content.getvalue()), (command.preview, picture)):
        if path is not None and written is not None:
            try:
                write_whole(path, written)
            except OSError as error:
                complain(f"{path} cannot be written: {reason(error)}", "make room, or give another file")
                return 1
    info = refined.info
    print(
        f"{printable(command.output)}: loss {info['first_loss']:.4g} -> {info['best_loss']:.4g} after "
        f"{info['iterations']} iterations ({info['ended']}), {info['ms_per_iteration']:.1f} ms each"
        if info["iterations"]
        else f"{printable(command.output)}: no iteration was done ({info['ended']})"
    )
    if info["ended"] == "diverged":  # later than at the start, which the server refuses
        say(
            f"warning: it diverged: iteration {info['iterations']} has no finite loss; {command.output} is "
            f"of iteration {info['best_iteration'] + 1}, the best before; try a smaller --learning-rate"
        )
    if command.preview is not None and picture is None:
        complain("no picture was made", "give --preview-every less than the iterations")
        return 1
    return 0


def _bad(what: str, mend: str) -> FacewrightError:
    return FacewrightError(ErrorCode.BAD_OPTION, what, mend)


def _refine(command: RefineCommand, start: RefinementStart) -> tuple[Refinement, bytes | None]:
    pictures: list[bytes] = []
    columns = (
        TextColumn("refining"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    bar = progress_on_log(Console(file=LOG), *columns)
    task = bar.add_task("refining", total=None, loss="")
    with Client(command.server, command.connection) as client:

        def show(progress: RefinementProgress) -> None:
            bar.start()  # not before: a refusal needs no bar
            bar.update(
                task,
                completed=progress.iteration,
                total=progress.iterations,
                loss=f"{progress.losses['total']:.4g}",
            )
            if progress.preview is not None:
                pictures[:] = [progress.preview]

        try:
            refined = client.refine(start, show, **command.options)
        finally:
            if bar.live.is_started:
                bar.stop()
    return refined, pictures[0] if pictures else None
