"""``facewright export``, ``facewright build`` and ``facewright parity``: what the command line runs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from facewright.core.assets import cache_folder
from facewright.engines.profile import Profile
from facewright_export.checkpoints import CheckpointError
from facewright_export.export_error import ExportError
from facewright_export.network import Network
from facewright_export.network_export import ExportedNetwork, export_network
from facewright_export.network_tables import PIPELINES, network, pipeline_networks
from facewright_export.onnx.precision import Precision
from facewright_export.parity.parity_gates import GateResult
from facewright_export.repository_assembly import add_version, parity_rows
from facewright_export.weight_files import Loaded, WeightFiles, load_network, parse_weights, refusals

#: Told what is being done.
Report = Callable[[str], None]


@dataclass(frozen=True)
class ExportRequest:
    """What ``facewright export`` was asked for.

    Args:
        pipeline: a key of `PIPELINES`.
        weights: ``FILE`` or ``NETWORK=FILE[,FILE]``.
        precision: of the files.
        profile: whose config becomes ``config.pbtxt``.
        output: the model repository.
        only: networks of the pipeline to export; () for all.
        check: verify everything and write nothing.
    """

    pipeline: str
    weights: tuple[str, ...]
    precision: Precision
    profile: Profile
    output: Path
    only: tuple[str, ...] = ()
    check: bool = False


def default_repository() -> Path:
    """Where exported networks go unless the user says otherwise."""
    return cache_folder() / "model_repository"


def export_pipeline(request: ExportRequest) -> int:
    """Exports the networks of a pipeline that files were given for; returns the exit status.

    A network that fails its gate, or that TensorRT would refuse, stops the export; networks before it are
    written.

    Raises:
        ExportError: a network of the pipeline has no file, a file no network, or an export fails.
    """
    console = table_console()
    groups = _wanted_groups(request)
    rows = [network(name) for group in groups for name in group]
    files = parse_weights(request.weights, [row.name for row in pipeline_networks(request.pipeline)])
    done: list[ExportedNetwork] = []
    taken: set[Path] = set()
    try:
        with _progress(len(rows)) as step:
            for group in groups:
                exported: list[ExportedNetwork] = []
                for name in group:
                    reserved = _reserved(network(name), taken, bool(exported))
                    made = _export(network(name), files, reserved, taken, request, step)
                    exported += [made] if made else []
                if not exported:
                    raise _missing(group, files)
                done += exported
    except CheckpointError as error:
        raise ExportError(f"{error.what}: {error.seen}", error.mend) from error
    _require_all_used(taken, files)
    console.print(
        gate_table(f"{request.pipeline} in {request.precision}", [(e.network.name, e.results) for e in done])
    )
    if request.check:
        console.print("everything fits and passes; nothing was written (--check)")
        return 0
    console.print(f"written to {request.output}", soft_wrap=True, highlight=False)
    if request.profile == "tensorrt":
        console.print(
            f"next, on the GPU that serves: facewright build {request.output}",
            soft_wrap=True,
            highlight=False,
        )
    return 0


def table_console() -> Console:
    """Standard output; wide enough for a table where it is no terminal that says its width."""
    return Console(width=None if sys.stdout.isatty() else 120)


def gate_table(title: str, networks: Sequence[tuple[str, Sequence[GateResult]]]) -> Table:
    """The gate's numbers, one row for each output."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for heading in ("network", "output"):
        table.add_column(heading, no_wrap=True)
    for heading in ("cosine", "relative L2", "error", "allowed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, results in networks:
        for result in results:
            row, bounds = result.parity, result.bounds
            table.add_row(
                name,
                row.tensor,
                f"{row.cosine:.6f}",
                f"{row.relative_l2:.1e}",
                f"{row.in_unit:.2g} {row.unit}",
                f"{bounds.in_unit:g} {row.unit}" if not result.failures else f"FAILS {bounds.in_unit:g}",
            )
    return table


def _wanted_groups(request: ExportRequest) -> list[tuple[str, ...]]:
    groups = PIPELINES[request.pipeline]
    unknown = sorted(set(request.only) - {name for group in groups for name in group})
    if unknown:
        known = ", ".join(name for group in groups for name in group)
        raise ExportError(f"{request.pipeline} has no network {', '.join(unknown)}", f"one of: {known}")
    if not request.only:
        return list(groups)
    return [kept for group in groups if (kept := tuple(name for name in group if name in request.only))]


def _reserved(row: Network, taken: set[Path], has_alternative: bool) -> frozenset[Path]:
    """Files that an unnamed choice for a network leaves out.

    Networks may share a file (DECA's holds three), but an alternative is exported only for a file of its own,
    and one of several files looks among the others, or every pair would have to be read.
    """
    return frozenset(taken if has_alternative or len(row.files) > 1 else ())


def _export(
    row: Network,
    files: WeightFiles,
    reserved: frozenset[Path],
    taken: set[Path],
    request: ExportRequest,
    step: Report,
) -> ExportedNetwork | None:
    step(f"{row.name}: reading weights")
    loaded: Loaded | None = load_network(row, files, reserved)
    if loaded is None:
        return None
    taken.update(loaded.paths)
    step(f"{row.name}: graph, linter, parity in {request.precision}")
    exported = export_network(row, loaded.module, request.precision, loaded.weights)
    if not request.check:
        add_version(request.output, exported.model, parity_rows(exported.results), request.profile)
    del loaded
    gc.collect()
    return exported


def _missing(group: Sequence[str], files: WeightFiles) -> ExportError:
    said = []
    for name in group:
        row = network(name)
        said.append(f"  {name} ({' and '.join(row.files)})")
        if files.unnamed:
            said.append(refusals(row, files))
    return ExportError(
        ("no file was given that holds one of:\n" if len(group) > 1 else "no file was given that holds\n")
        + "\n".join(said),
        f"--weights {group[0]}=FILE, or leave the network out: --network NAME…",
    )


def _require_all_used(taken: set[Path], files: WeightFiles) -> None:
    unused = [path.name for path in files.unnamed if path not in taken]
    if unused:
        raise ExportError(
            f"{', '.join(unused)} fits no network of this pipeline",
            "leave it out, or name its network to be told what does not fit: --weights NETWORK=FILE",
        )


@contextmanager
def _progress(count: int) -> Iterator[Report]:
    """A bar over the networks, on standard error where that is a terminal."""
    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.completed}/{task.total}"), TextColumn("{task.description}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not sys.stderr.isatty()) as bars:
        task = bars.add_task("", total=count)
        current = ""

        def step(what: str) -> None:
            nonlocal current
            name = what.split(":")[0]
            bars.update(task, description=what, advance=int(bool(current) and name != current))
            current = name

        yield step
        bars.update(task, completed=count, description="done")
