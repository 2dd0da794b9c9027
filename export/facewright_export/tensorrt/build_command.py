"""``facewright build``: the plans of an exported repository, on the GPU that serves them. Needs no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from facewright.tensorrt_plan import compute_capability, plan_name
from facewright_export.export_error import ExportError
from facewright_export.repository_assembly import versions_in
from facewright_export.tensorrt.plan_builder import BuildOptions, build_plan, restore_weights


def newest_files(repository: Path, networks: Sequence[str]) -> list[Path]:
    """``model.onnx`` of the newest version of each network, by name.

    Raises:
        ExportError: the repository, or a network that was asked for, is not there.
    """
    folders = {
        path.name: path / str(versions[-1])
        for path in (sorted(repository.iterdir()) if repository.is_dir() else ())
        if path.is_dir() and (versions := versions_in(path))
    }
    files = {
        name: folder / "model.onnx" for name, folder in folders.items() if (folder / "model.onnx").is_file()
    }
    unknown = sorted(set(networks) - set(files))
    if unknown or not files:
        raise ExportError(
            f"{repository} holds no exported network {', '.join(unknown)}".rstrip(),
            f"there are: {', '.join(files) or 'none'}; facewright export writes them",
        )
    return [path for name, path in files.items() if not networks or name in networks]


def build_repository(repository: Path, networks: Sequence[str], options: BuildOptions) -> int:
    """Builds the plan of the newest version of each network; returns the exit status.

    Args:
        repository: written by ``facewright export``.
        networks: to build; () for all.
        options: of every plan.

    Raises:
        FacewrightError: ENGINE_MISMATCH without a GPU; see `build_plan` for the rest.
    """
    files = newest_files(repository, networks)
    console = Console()
    columns = (TextColumn("{task.fields[network]:24}"), BarColumn(), TextColumn("{task.description}"))
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), disable=not sys.stderr.isatty()
    ) as bars:
        for path in files:
            task = bars.add_task("", total=1.0, network=path.parents[1].name)

            def report(share: float, what: str, task: object = task) -> None:
                bars.update(task, completed=share, description=what)  # type: ignore[arg-type]

            console.print(f"built {build_plan(path, options, report)}", soft_wrap=True, highlight=False)
    return 0


def restore_repository(repository: Path, networks: Sequence[str]) -> int:
    """Fills plans that were built with ``--strip`` from the ONNX files beside them; returns the exit status.

    Raises:
        FacewrightError: ENGINE_MISMATCH without a GPU; see `restore_weights` for the rest.
    """
    name = plan_name(compute_capability())
    for path in newest_files(repository, networks):
        plan = path.with_name(name)
        if not plan.is_file():
            raise ExportError(f"there is no plan {plan}", "build it: facewright build --strip")
        restore_weights(plan, path)
        Console().print(f"weights restored into {plan}", soft_wrap=True, highlight=False)
    return 0
