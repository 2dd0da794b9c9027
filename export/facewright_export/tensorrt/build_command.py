"""``facewright build``: the plans of an exported repository, on the GPU that serves them. Needs no torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.engines.exported_repository import exported_networks, require_plan, served_versions
from facewright.engines.tensorrt_plan import compute_capability, open_plan, plan_name
from facewright.pipelines.refinement import REFINE_LATENT
from facewright.pipelines.registry import networks as pipeline_networks
from facewright.pipelines.registry import pipelines
from facewright.refine.network_files import refinement_files, refinement_folder
from facewright_export.export_error import ExportError
from facewright_export.onnx.network_metadata import NetworkMetadata
from facewright_export.tensorrt.plan_builder import (
    BuildOptions,
    build_plan,
    import_tensorrt,
    restore_weights,
)

#: Of an ONNX file and the plan that was built from it: says in a line or more that they compute the same, or
#: raises.
Check = Callable[[Path, Path], str]


def served_files(repository: Path, networks: Sequence[str]) -> list[Path]:
    """``model.onnx`` of every version that is served of each network, newest first.

    Raises:
        FacewrightError: INTERNAL when the repository, or a network that was asked for, is not there.
    """
    there = exported_networks(repository)
    unknown = sorted(set(networks) - set(there))
    if unknown:
        raise ExportError(
            f"{repository} holds no exported network {', '.join(unknown)}",
            f"there are: {', '.join(there)}; facewright export writes them",
        )
    return [
        folder / str(version) / "model.onnx"
        for name, folder in there.items()
        if not networks or name in networks
        for version in reversed(served_versions(folder))
    ]


def open_networks(networks: Sequence[str] = ()) -> dict[str, tuple[Path, NetworkMetadata]]:
    """What the tensorrt profile runs as plans without an exported repository: networks of the default
    pipeline, and those in the refinement stages' folder; by name.

    Args:
        networks: to choose; () for all.

    Raises:
        FacewrightError: INTERNAL when the open assets are not built, or there is no such network.
    """
    found = {
        name: (asset_path(row.weights[0].file), NetworkMetadata(name, "fp32", _batches(row.largest_batch)))
        for name, row in sorted(pipeline_networks(pipelines()).items())
        if row.weights
    }
    refined = _batches(REFINE_LATENT.gpu_batch)
    found |= {
        name: (path, NetworkMetadata(name, _precision(path), refined))
        for name, path in refinement_files(refinement_folder()).items()
    }
    unknown = sorted(set(networks) - set(found))
    if unknown:
        raise ExportError(f"there is no open network {', '.join(unknown)}", f"there are: {', '.join(found)}")
    return {name: network for name, network in found.items() if not networks or name in networks}


def _batches(largest: int) -> tuple[int, int, int]:
    """Least, usual and largest batch of a plan."""
    return 1, largest // (2 if largest <= 8 else 4), largest


def _precision(onnx_file: Path) -> str:
    """Of a file that does not say it: what its layers read; float16 that is cast first only saves space."""
    graph = onnx.load(onnx_file).graph
    half = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    read = any(node.op_type != "Cast" and half.intersection(node.input) for node in graph.node)
    return "fp16" if read else "fp32"


def build_repository(
    repository: Path | None, networks: Sequence[str], options: BuildOptions, check: Check | None = None
) -> int:
    """Builds the plan of every version that is served, but for older ones that fit; returns the exit status.

    Args:
        repository: written by ``facewright export``; None: `open_networks`, for the tensorrt profile.
        networks: to build; () for all.
        options: of every plan.
        check: of each plan that is built.

    Raises:
        FacewrightError: ENGINE_MISMATCH without a GPU; see `build_plan` for the rest.
    """
    console = Console(markup=False, emoji=False, highlight=False)
    capability = compute_capability()
    jobs: dict[str, tuple[Path, NetworkMetadata | None, Path | None]]
    if repository is None:
        jobs = {
            name: (path, metadata, open_plan(name, capability).parent)
            for name, (path, metadata) in open_networks(networks).items()
        }
    else:
        jobs = {
            f"{path.parents[1].name} {path.parent.name}": (path, None, None)
            for path in served_files(repository, networks)
            if _wants_building(path, capability)
        }
    columns = (TextColumn("{task.fields[network]:24}"), BarColumn(), TextColumn("{task.description}"))
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), disable=not sys.stderr.isatty()
    ) as bars:
        for name, (path, metadata, folder) in jobs.items():
            task = bars.add_task("", total=1.0, network=name)

            def report(share: float, what: str, task: object = task) -> None:
                bars.update(task, completed=share, description=what)  # type: ignore[arg-type]

            plan = build_plan(path, options, report, metadata, folder)
            console.print(f"built {plan}", soft_wrap=True)
            if check is not None:
                report(1.0, "parity with the ONNX file")
                console.print(check(path, plan), soft_wrap=True)
    return 0


def _wants_building(onnx_file: Path, capability: str) -> bool:
    """The newest version always, with the options given now; an older one where its plan does not fit."""
    if int(onnx_file.parent.name) == served_versions(onnx_file.parents[1])[-1]:
        return True
    try:
        require_plan(onnx_file.parent, capability, import_tensorrt().__version__)
    except FacewrightError:
        return True
    return False


def restore_repository(repository: Path, networks: Sequence[str]) -> int:
    """Fills plans that were built with ``--strip`` from the ONNX files beside them; returns the exit status.

    Raises:
        FacewrightError: ENGINE_MISMATCH without a GPU; see `restore_weights` for the rest.
    """
    name = plan_name(compute_capability())
    for path in served_files(repository, networks):
        plan = path.with_name(name)
        if not plan.is_file():
            raise ExportError(f"there is no plan {plan}", "build it: facewright build --strip")
        restore_weights(plan, path)
        Console(markup=False, emoji=False, highlight=False).print(
            f"weights restored into {plan}", soft_wrap=True
        )
    return 0
