"""Times refinement, in all and by part, beside torch autograd; shows where it arrives.

.venv/bin/python -m benchmarks.refinement                            # demonstration networks on the CPU
.venv-export/bin/python -m benchmarks.refinement --published         # and published sizes, beside autograd
python -m benchmarks.refinement --device cuda                        # a GPU: published sizes, fp32 and fp16

Loss and gradient are checked against autograd, and that the loss falls, before anything is timed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.refinement.measure import check, convergence, iteration_cost, make_step
from benchmarks.refinement.problem import Problem, make_problem
from benchmarks.run_conditions import run_conditions, write_result
from facewright.demo_networks import DEMO_NETWORKS
from facewright.refinement_device import RefinementDevice
from facewright.refinement_networks import load_refinement_networks
from facewright_kernels.kernel_source import cpu_threads, set_cpu_threads

#: Least cosine between our gradient and autograd's, fp32 and fp16.
_LEAST_COSINE = {"fp32": 0.999, "fp16": 0.95}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs, prints the table and writes the result file; 2 where there is no GPU for ``cuda``."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.refinement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--published", action="store_true", help="published sizes too (needs torch)")
    parser.add_argument("--batches", type=int, nargs="+", help="photos at once (default: 1 8 32)")
    parser.add_argument("--runs", type=int, help="iterations timed of each case (default: as many as fit)")
    parser.add_argument(
        "--threads",
        type=int,
        default=2,
        help="CPU threads of the networks (default: %(default)s); kernels have one",
    )
    parser.add_argument(
        "--iterations", type=int, default=200, help="of the convergence; 0: none (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    conditions = run_conditions()
    on_gpu = options.device == "cuda"
    if on_gpu and (conditions["gpu"] is None or find_spec("cupy") is None or find_spec("torch") is None):
        sys.stderr.write("benchmarks.refinement: --device cuda needs an NVIDIA GPU, CuPy and torch\n")
        return 2
    result: dict[str, Any] = {
        "benchmark": "refinement",
        **conditions,
        "device": options.device,
        "threads": options.threads,
        "rows": [],
        "convergence": [],
    }
    before = cpu_threads()
    set_cpu_threads(1)
    try:
        for row in _gpu_rows(options) if on_gpu else _cpu_rows(options):
            result["rows"].append(row)
            path = write_result("refinement", result)  # a run that is stopped keeps what it measured
        if options.iterations and not on_gpu:
            result["convergence"] = _convergence(options)
            path = write_result("refinement", result)
    finally:
        set_cpu_threads(before)
    sys.stdout.write(f"{path}\n")
    return 0


def _cpu_rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    device = RefinementDevice.cpu(options.threads)
    networks = load_refinement_networks(DEMO_NETWORKS, device.open_engine)
    for batch in options.batches or (1, 8, 32):
        problem = make_problem(networks, device, batch)
        yield _row("demonstration", "fp32", "ONNX Runtime", problem, options, _demo_rival)
    if options.published:
        from benchmarks.refinement.torch_networks import export, published

        with tempfile.TemporaryDirectory() as folder:
            full = export(published(), Path(folder), device)
            problem = make_problem(full, device, 1)
            yield _row("published sizes", "fp32", "ONNX Runtime", problem, options, _published_rival)


def _gpu_rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    import torch

    from benchmarks.refinement.torch_networks import as_graphs, published

    device = RefinementDevice.cuda()
    for precision, dtype in (("fp16", torch.float16), ("fp32", torch.float32)):
        networks = as_graphs(published(dtype), device)
        for batch in options.batches or (1, 8, 32):
            problem = make_problem(networks, device, batch)
            rival = _published_rival if precision == "fp32" else _published_half_rival
            yield _row("published sizes", precision, "torch graphs", problem, options, rival)


def _row(
    name: str, precision: str, engine: str, problem: Problem, options: argparse.Namespace, rival: Any
) -> dict[str, Any]:
    """One measured case; what is slow is run less often."""
    if name == "demonstration":
        check(problem)
    runs = options.runs or (20 if problem.device.is_gpu else max(3, 10 // problem.truth.batch))
    row: dict[str, Any] = {
        "networks": name,
        "precision": precision,
        "engine": engine,
        "batch": problem.truth.batch,
        **iteration_cost(problem, runs),
        "autograd": rival(problem, runs, precision)
        if find_spec("torch")
        else "not run: torch is not installed",
    }
    other = row["autograd"]
    beside = f"autograd {other['ms']:.1f} ms" if isinstance(other, dict) else f"autograd {other}"
    parts = ", ".join(f"{part} {ms:.1f}" for part, ms in row["parts_ms"].items())
    sys.stdout.write(
        f"{name:16} {precision} batch {row['batch']:2}: {row['ms']:8.1f} ms (processor "
        f"{row['processor_ms']:.1f}), {row['seconds_per_200']:.1f} s per 200; {beside}\n    {parts}\n"
    )
    sys.stdout.flush()
    return row


def _demo_rival(problem: Problem, runs: int, precision: str) -> dict[str, Any]:
    from benchmarks.refinement.torch_networks import demonstration

    return _autograd(demonstration(), problem, runs, precision)


def _published_rival(problem: Problem, runs: int, precision: str) -> dict[str, Any]:
    from benchmarks.refinement.torch_networks import published

    return _autograd(published(), problem, runs, precision)


def _published_half_rival(problem: Problem, runs: int, precision: str) -> dict[str, Any]:
    import torch

    from benchmarks.refinement.torch_networks import published

    return _autograd(published(torch.float16), problem, runs, precision)


def _autograd(networks: Any, problem: Problem, runs: int, precision: str) -> dict[str, Any]:
    """The rival's time; raises AssertionError where its loss or gradient is not ours."""
    import torch

    from benchmarks.refinement.autograd_rival import AutogradRival
    from benchmarks.refinement.torch_networks import to_device

    torch.set_num_threads(problem.device.threads)
    step = make_step(problem, runs + 2)
    with problem.device.queue():
        step.evaluate()
        ours = problem.device.host(step.gradients.w_plus).ravel().astype(np.float64)
        ours_losses = problem.device.host(step.losses)[:, 0]
    rival = AutogradRival(
        to_device(networks, "cuda" if problem.device.is_gpu else "cpu"), problem, step.options
    )
    losses = rival.step()
    problem.device.finish()
    assert rival.w_plus.grad is not None
    theirs = rival.w_plus.grad.cpu().numpy().ravel().astype(np.float64)
    cosine = float(ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs)))
    assert cosine > _LEAST_COSINE[precision], f"gradients differ: cosine {cosine}"
    np.testing.assert_allclose(losses.cpu().numpy(), ours_losses, rtol=0.02 if precision == "fp16" else 0.01)
    wall, processor = [], []
    for _ in range(runs):
        started, used = time.perf_counter(), time.process_time()
        rival.step()
        problem.device.finish()
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
    return {
        "ms": round(1e3 * float(np.median(wall)), 2),
        "least_ms": round(1e3 * min(wall), 2),
        "processor_ms": round(1e3 * min(processor), 2),
        "gradient_cosine": round(cosine, 6),
    }


def _convergence(options: argparse.Namespace) -> list[dict[str, Any]]:
    device = RefinementDevice.cpu(options.threads)
    networks = load_refinement_networks(DEMO_NETWORKS, device.open_engine)
    rows = convergence(make_problem(networks, device, 1), options.iterations)
    for row in rows:
        sys.stdout.write(f"{row['refined']}: loss {row['loss']}\n  {row['before']}\n  {row['after']}\n")
    return rows


if __name__ == "__main__":
    sys.exit(main())
