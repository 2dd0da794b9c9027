"""Times refinement, in all and by part, beside torch autograd; shows where it arrives.

.venv/bin/python -m benchmarks.refinement                            # open networks on the CPU
.venv-export/bin/python -m benchmarks.refinement --published         # and published sizes, beside autograd
python -m benchmarks.refinement --device cuda                        # a GPU, see below
python -m benchmarks.refinement --device cuda --published            # and published sizes on ONNX Runtime

On a GPU the open networks run as they are served, on ONNX Runtime with CUDA graphs, and published
sizes as torch graphs in fp32 and fp16: they need no export, which takes minutes.

Loss and gradient are checked against autograd, and that the loss falls, before anything is timed. Iterations
of ours and of autograd take turns. A batch of published size that would not fit into ``--memory`` is not run,
and its row says how much it needs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.machine_load import MachineLoad
from benchmarks.process_memory import available_gb, forget_peak, peak_gb, resident_gb
from benchmarks.refinement import PUBLISHED_GFLOP
from benchmarks.refinement.measure import check, convergence, iteration_cost
from benchmarks.refinement.problem import Problem, make_problem
from benchmarks.run_conditions import RunConditions, result_path, write_result
from facewright.core.onnx_runtime import ort
from facewright.refine.device import RefinementDevice
from facewright.refine.network_files import refinement_folder
from facewright.refine.networks import RefinementNetworks, load_refinement_networks
from facewright_kernels._runtime.kernel_source import cpu_threads, set_cpu_threads

if TYPE_CHECKING:
    from benchmarks.refinement.torch_networks import TorchNetworks

#: Autograd's iteration, and the cosine between its gradient and ours.
Rival = tuple[Callable[[], object], float]
_BATCHES: Final = (1, 8, 32)
_NO_TORCH: Final = "not run: torch is not installed"
_FAILED: Final = "failed:"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs, prints the table and writes the result file; 1 where a case on a GPU failed, 2 where there is no
    GPU for ``cuda``.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.refinement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--published", action="store_true", help="published sizes on ONNX Runtime too (needs torch)"
    )
    parser.add_argument(
        "--open-stays",
        action="store_true",
        help="rows and convergence of the last run with open networks on the CPU stay",
    )
    parser.add_argument("--batches", type=int, nargs="+", help="photos at once (default: 1 8 32)")
    parser.add_argument("--runs", type=int, help="iterations timed of each case (default: as many as fit)")
    parser.add_argument(
        "--threads",
        type=int,
        default=2,
        help="CPU threads of the networks (default: %(default)s); kernels have one",
    )
    parser.add_argument(
        "--memory",
        type=float,
        default=16.0,
        metavar="GB",
        help="most that published sizes may take on a CPU (default: %(default)s)",
    )
    parser.add_argument(
        "--iterations", type=int, default=200, help="of the convergence; 0: none (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    conditions = RunConditions()
    on_gpu = options.device == "cuda"
    if on_gpu and (conditions.gpu is None or find_spec("cupy") is None or find_spec("torch") is None):
        sys.stderr.write("benchmarks.refinement: --device cuda needs an NVIDIA GPU, CuPy and torch\n")
        return 2
    result: dict[str, Any] = {
        "benchmark": "refinement",
        **conditions.as_row(),
        "device": options.device,
        "threads": options.threads,
        "rows": [],
        "convergence": [],
    }
    if options.open_stays:
        last = json.loads(result_path("refinement").read_text())
        rows = ({"commit": last["commit"], **row} for row in last["rows"])
        result["rows"] = [row for row in rows if row["networks"] == "open"]
        result["convergence"] = last["convergence"]
    before = cpu_threads()
    set_cpu_threads(1)
    try:
        load = MachineLoad()
        for row in _gpu_rows(options) if on_gpu else _cpu_rows(options):
            result["rows"].append({**row, "commit": conditions.commit, **load.as_row()})
            result |= conditions.as_row()
            path = write_result("refinement", result)  # a run that is stopped keeps what it measured
            load = MachineLoad()
        if options.iterations and not on_gpu and not result["convergence"]:
            result["convergence"] = _convergence(options)
            result |= conditions.as_row()
            path = write_result("refinement", result)
    finally:
        set_cpu_threads(before)
    sys.stdout.write(f"{path}\n")
    return 1 if any(row.get("not_run", "").startswith(_FAILED) for row in result["rows"]) else 0


def _cpu_rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    device = RefinementDevice.cpu(options.threads)
    networks = load_refinement_networks(refinement_folder(), device.open_engine)
    for batch in () if options.open_stays else options.batches or _BATCHES:
        problem = make_problem(networks, device, batch)
        check(problem)
        rival = _open_rival(problem) if find_spec("torch") else _NO_TORCH
        name = {"networks": "open", "precision": "fp32", "engine": "ONNX Runtime", "batch": batch}
        yield _row(name, problem, options.runs or max(3, 10 // batch), rival)
    if options.published:
        with tempfile.TemporaryDirectory() as folder:
            yield from _published_cpu_rows(options, device, Path(folder))


def _published_cpu_rows(
    options: argparse.Namespace, device: RefinementDevice, folder: Path
) -> Iterator[dict[str, Any]]:
    """As many batches as memory allows, told from what batches of one take."""
    from benchmarks.refinement.autograd_rival import checked_rival
    from benchmarks.refinement.torch_networks import core_gflop_per_s, export, published

    modules = published()
    networks = export(modules, folder, device)
    ceiling = core_gflop_per_s()
    held = resident_gb()
    forget_peak()
    iteration_cost(make_problem(networks, device, 1), 2)
    ours = peak_gb() - held
    checked_rival(modules, make_problem(networks, device, 1), "fp32")
    theirs = peak_gb() - held - ours
    for batch in options.batches or _BATCHES:
        limit = min(options.memory, resident_gb() + available_gb())
        alone, both = held + batch * ours, held + batch * (ours + theirs)
        name = {"networks": "published sizes", "precision": "fp32", "engine": "ONNX Runtime", "batch": batch}
        if alone > limit:
            reason = f"not run: needs about {alone:.0f} GB, {limit:.0f} may be used"
            sys.stdout.write(f"published sizes batch {batch}: {reason}\n")
            yield {**name, "not_run": reason}
            continue
        problem = make_problem(networks, device, batch)
        rival: Rival | str = f"not run: would need about {both:.0f} GB, {limit:.0f} may be used"
        if both <= limit:
            autograd, cosine = checked_rival(modules, problem, "fp32")
            rival = autograd.step, cosine
        row = _row(name, problem, options.runs or max(1, 5 // batch), rival)
        yield {**row, "roofline_processor_ms": round(1e3 * batch * PUBLISHED_GFLOP / ceiling, 1)}


def _gpu_rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    import torch

    from benchmarks.refinement.torch_networks import as_graphs, export, open_networks, published, to_device

    device = RefinementDevice.cuda()
    has_provider = "CUDAExecutionProvider" in ort.get_available_providers()
    onnx_name = {"networks": "open", "precision": "fp32", "engine": "ONNX Runtime, CUDA graphs"}
    if has_provider:
        modules = to_device(open_networks(), "cuda")
        opened = partial(load_refinement_networks, refinement_folder(), device.open_engine)
        yield from _gpu_batches(options, device, onnx_name, opened, modules)
    else:
        for batch in options.batches or _BATCHES:
            yield {**onnx_name, "batch": batch, "not_run": "not run: ONNX Runtime has no CUDA provider here"}
    precisions = {"fp16": torch.float16, "fp32": torch.float32}
    for precision, dtype in precisions.items():
        name = {"networks": "published sizes", "precision": precision, "engine": "torch graphs"}
        opened = partial(as_graphs, published(dtype), device)
        yield from _gpu_batches(options, device, name, opened, to_device(published(dtype), "cuda"))
    for precision, dtype in precisions.items() if options.published and has_provider else ():
        name = onnx_name | {"networks": "published sizes", "precision": precision}
        with tempfile.TemporaryDirectory() as folder:
            opened = partial(export, published(dtype), Path(folder), device)
            yield from _gpu_batches(options, device, name, opened, to_device(published(dtype), "cuda"))


def _gpu_batches(
    options: argparse.Namespace,
    device: RefinementDevice,
    name: dict[str, str],
    opened: Callable[[], RefinementNetworks],
    modules: TorchNetworks,
) -> Iterator[dict[str, Any]]:
    """A row for each batch. Time on a GPU is rare: after one that fails the others are measured."""
    from benchmarks.refinement.autograd_rival import checked_rival

    networks: RefinementNetworks | None = None
    for batch in options.batches or _BATCHES:
        try:
            networks = networks or opened()
            problem = make_problem(networks, device, batch)
            autograd, cosine = checked_rival(modules, problem, name["precision"])
            row = _row({**name, "batch": batch}, problem, options.runs or 20, (autograd.step, cosine))
        except Exception as error:
            reason = f"{_FAILED} {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            sys.stdout.write(f"{name['networks']} {name['precision']} batch {batch}: {reason}\n")
            sys.stdout.flush()
            row = {**name, "batch": batch, "not_run": reason}
        yield row


def _open_rival(problem: Problem) -> Rival:
    from benchmarks.refinement.autograd_rival import checked_rival
    from benchmarks.refinement.torch_networks import open_networks

    autograd, cosine = checked_rival(open_networks(), problem, "fp32")
    return autograd.step, cosine


def _row(name: dict[str, Any], problem: Problem, runs: int, rival: Rival | str) -> dict[str, Any]:
    """One measured case; ``rival``: or why there is none."""
    cost = iteration_cost(problem, runs, None if isinstance(rival, str) else rival[0])
    autograd: dict[str, float] | str
    if isinstance(rival, str):
        autograd, beside = rival, f"autograd {rival}"
    else:
        autograd = {**cost.pop("rival"), "gradient_cosine": round(rival[1], 6)}
        beside = f"autograd {autograd['ms']:.1f} ms (processor {autograd['processor_ms']:.1f})"
    parts = ", ".join(f"{part} {ms:.1f}" for part, ms in cost["parts_ms"].items())
    sys.stdout.write(
        f"{name['networks']:16} {name['precision']} batch {name['batch']:2}: {cost['ms']:8.1f} ms (processor "
        f"{cost['processor_ms']:.1f}), {cost['seconds_per_200']:.1f} s per 200, {cost['memory_gb']:.1f} GB; "
        f"{beside}\n    {parts}\n"
    )
    sys.stdout.flush()
    return {**name, **cost, "autograd": autograd}


def _convergence(options: argparse.Namespace) -> list[dict[str, Any]]:
    device = RefinementDevice.cpu(options.threads)
    networks: RefinementNetworks = load_refinement_networks(refinement_folder(), device.open_engine)
    rows = convergence(make_problem(networks, device, 1), options.iterations)
    for row in rows:
        sys.stdout.write(f"{row['refined']}: loss {row['loss']}\n  {row['before']}\n  {row['after']}\n")
    return rows


if __name__ == "__main__":
    sys.exit(main())
