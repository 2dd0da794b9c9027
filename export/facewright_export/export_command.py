"""``facewright export``, ``facewright build`` and ``facewright parity``: what the command line runs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from facewright.cli.messages import complain
from facewright.core.assets import cache_folder
from facewright.engines.profile import Profile
from facewright_export.export_error import ExportError
from facewright_export.network import Network
from facewright_export.network_export import ExportedNetwork, export_network
from facewright_export.network_tables import PIPELINES, network, pipeline_networks
from facewright_export.onnx.precision import Precision
from facewright_export.parity.parity_gates import GateResult
from facewright_export.repository_assembly import add_version, parity_rows, rolled_back_to
from facewright_export.weight_files import WeightFiles, fits, likeness, load_network, parse_weights, refusals

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

    A network that has no file, fails its gate, or that TensorRT would refuse, is not written; the others are.

    Raises:
        ExportError: what was not exported and why, and what was.
    """
    console = table_console()
    groups = _wanted_groups(request)
    files = parse_weights(request.weights, [row.name for row in pipeline_networks(request.pipeline)])
    outcome = _Outcome()
    with _progress(sum(map(len, groups))) as step:
        for group in groups:
            _export_group(group, files, request, outcome, step)
    _account_for_files(outcome, files, request)
    if outcome.done:
        title = f"{request.pipeline} in {request.precision}"
        console.print(gate_table(title, [(made.network.name, made.results) for made in outcome.done]))
    for sentence in outcome.notes:
        console.print(sentence, soft_wrap=True, highlight=False, markup=False)
    if outcome.failures:
        raise _failure(outcome, request)
    if request.check:
        console.print("everything fits and passes; nothing was written (--check)")
        return 0
    console.print(f"written to {request.output}", soft_wrap=True, highlight=False, markup=False)
    if request.profile == "tensorrt":
        console.print(
            f"next, on the GPU that serves: facewright build {request.output}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    return 0


@dataclass
class _Outcome:
    """What became of what was asked for.

    Args:
        done: networks that were exported.
        taken: files that they were made from.
        notes: what there is to say of them.
        failures: why a network, or a file, was not used, by its name.
    """

    done: list[ExportedNetwork] = field(default_factory=list)
    taken: set[Path] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    failures: dict[str, ExportError] = field(default_factory=dict)


def table_console() -> Console:
    """Standard output; wide enough for a table where it is no terminal that says its width."""
    return Console(width=None if sys.stdout.isatty() else 120, emoji=False)


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


def _export_group(
    group: Sequence[str], files: WeightFiles, request: ExportRequest, outcome: _Outcome, step: Report
) -> None:
    """Exports what there are files for of a network and its alternatives."""
    before = len(outcome.done), len(outcome.failures)
    for name in group:
        row = network(name)
        reserved = _reserved(row, outcome.taken, len(outcome.done) > before[0])
        try:
            _export(row, files, reserved, request, outcome, step)
        except ExportError as error:
            outcome.failures[name] = error
        gc.collect()
    if (len(outcome.done), len(outcome.failures)) == before:
        outcome.failures[group[0]] = _missing(group, files, outcome.taken)


def _export(
    row: Network,
    files: WeightFiles,
    reserved: frozenset[Path],
    request: ExportRequest,
    outcome: _Outcome,
    step: Report,
) -> None:
    step(f"{row.name}: reading weights")
    loaded = load_network(row, files, reserved)
    if loaded is None:
        return
    outcome.taken.update(loaded.paths)
    step(f"{row.name}: graph, linter, parity in {request.precision}")
    exported = export_network(row, loaded.module, request.precision, loaded.weights, loaded.notes)
    outcome.notes += [f"{row.name}: {sentence}" for sentence in loaded.notes]
    if not request.check:

        def beside(folder: Path) -> None:
            if row.gradients is not None:
                step(f"{row.name}: graphs with gradients, held to autograd")
                row.gradients(loaded.module, folder)

        parity = parity_rows(exported.results)
        version = add_version(request.output, exported.model, parity, request.profile, beside)
        if held := rolled_back_to(version.parent):
            outcome.notes.append(
                f"{row.name}: version {version.name} was written, but the network was rolled back and stays "
                f"at {', '.join(map(str, held))}; to serve the newest: "
                f"python -m facewright_export.repository_assembly {request.output} {row.name} --latest"
            )
    outcome.done.append(exported)


def _missing(group: Sequence[str], files: WeightFiles, taken: set[Path]) -> ExportError:
    rows = [network(name) for name in group]
    left = [path for path in files.unnamed if path not in taken]
    wanted = " or ".join(f"{row.name} ({' and '.join(row.files)})" for row in rows)
    reasons = "".join(f"\n    {reason}" for row in rows for reason in refusals(row, left))
    files_wanted = ",".join("FILE" for _ in rows[0].files)
    return ExportError(
        f"no file was given that holds {wanted}{reasons}",
        f"--weights {group[0]}={files_wanted}, in a form that docs/export.md names, or leave the network "
        "out: --network NAME…",
    )


def _account_for_files(outcome: _Outcome, files: WeightFiles, request: ExportRequest) -> None:
    """Every file that was given must be used; one for a network that --network leaves out is only told of."""
    left_out = [
        row for row in pipeline_networks(request.pipeline) if request.only and row.name not in request.only
    ]
    for row in left_out:
        outcome.taken.update(files.named.get(row.name, ()))
    for path in files.unnamed:
        if path in outcome.taken:
            continue
        if holds := [row.name for row in left_out if fits(row, path)]:
            outcome.notes.append(f"{path.name} holds {holds[0]}, which --network leaves out: not used")
            continue
        like = likeness(path)
        if not any(like == f"{name} ({request.pipeline})" for name in outcome.failures):
            outcome.failures[path.name] = ExportError(
                f"{path.name} fits no network of this pipeline"
                + (f": its names are those of {like}" if like else ""),
                "leave it out, or name its network to be told what does not fit: --weights NETWORK=FILE",
            )


def _failure(outcome: _Outcome, request: ExportRequest) -> ExportError:
    """One error for all that was not exported, which says what was."""
    names = [row.name for row in pipeline_networks(request.pipeline) if row.name in outcome.failures]
    done = ", ".join(made.network.name for made in outcome.done)
    kept = f"; {'fit and pass' if request.check else f'written to {request.output}'}: {done}" if done else ""
    again = f"facewright export {request.pipeline} --network {' '.join(names)} --weights FILE…"
    if len(outcome.failures) == 1:
        (error,) = outcome.failures.values()
        rest = f"; the rest is done, {names[0]} alone: {again}" if done and names else ""
        return ExportError(error.message + kept, error.hint + rest)
    for name, error in outcome.failures.items():
        complain(f"{'' if error.message.startswith(name) else f'{name}: '}{error.message}", error.hint)
    return ExportError(
        f"{len(outcome.failures)} things stand in the way, as said above{kept or '; nothing was written'}",
        f"mend each, then these alone: {again}" if done and names else "mend each as said there",
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
