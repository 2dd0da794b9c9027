"""One network at one batch, by ONNX Runtime and by torch: what was timed is checked against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.networks.roofline import timed
from benchmarks.process_memory import available_gb, forget_peak, peak_gb, resident_gb
from facewright.core.errors import FacewrightError
from facewright.core.onnx_runtime import ort
from facewright.engines.onnx_engine import OnnxEngine
from facewright_export.network import Array, Network
from facewright_export.network_export import build_graph
from facewright_export.onnx.precision import Precision
from facewright_export.parity.parity_gates import judge, require_passed

#: A batch is left out when one run would take longer than this by the time of the batch before it, seconds.
LONGEST_RUN_S = 300.0


@dataclass(frozen=True)
class Prepared:
    """A network ready to be timed.

    Args:
        network: its row.
        module: with seeded weights, on the device.
        onnx_file: the exported file; None where ONNX Runtime cannot run it on the device.
        gflop: multiplications and additions of convolutions and products, for one of a batch.
        weight_gb: of all weights.
    """

    network: Network
    module: nn.Module
    onnx_file: Path | None
    gflop: float
    weight_gb: float


def runs_onnx_on(device: str) -> bool:
    """Whether ONNX Runtime has the device's provider here."""
    return device == "cpu" or "CUDAExecutionProvider" in ort.get_available_providers()


def measure_network(network: Network, batches: tuple[int, ...], device: str) -> list[dict[str, Any]]:
    """Rows of one network: one for each batch and runner, ONNX Runtime (where it can) and torch.

    Raises:
        GateError: the file, or the module on the device, does not compute what the module does on the CPU;
            nothing wrong is timed.
    """
    with TemporaryDirectory() as folder:
        prepared = _prepare(network, Path(folder) / "model.onnx", device)
        rows: list[dict[str, Any]] = []
        seconds_per_item = gb_per_item = 0.0
        for batch in batches:
            reason = _reason_to_leave_out(seconds_per_item * batch, gb_per_item * batch, device)
            if reason:
                rows.append({**_work(prepared, batch), "batch": batch, "left_out": reason})
                continue
            forget_peak()
            before_gb = resident_gb()
            milliseconds = _time(prepared, batch, device)
            seconds_per_item = max(milliseconds.values()) / 1e3 / batch
            gb_per_item = (peak_gb() - before_gb) / batch
            rows += [_row(prepared, batch, runner, ms) for runner, ms in milliseconds.items()]
        return rows


def _reason_to_leave_out(seconds: float, gigabytes: float, device: str) -> str | None:
    """By what one of the batch before it took; None: it can be run."""
    if seconds > LONGEST_RUN_S:
        return f"a run would take about {seconds:.0f} s"
    if device == "cpu" and gigabytes > available_gb():
        return f"a run would need about {gigabytes:.0f} GB"
    return None


def _prepare(network: Network, onnx_file: Path, device: str) -> Prepared:
    # torch's counter cannot follow a parameter that wants a gradient into a module that is called without.
    module = network.seeded().requires_grad_(False)
    examples = network.examples(1)
    with FlopCounterMode(display=False) as counter:
        expected = network.reference(module, examples)
    if runs_onnx_on(device):
        onnx_file.write_bytes(build_graph(network, module, Precision.FP32).SerializeToString())
    module.to(device)
    given = (tensor.to(device) for tensor in network.module_inputs(examples).values())
    _require_same(network, expected, _by_name(network, _eager(module, tuple(given))))
    return Prepared(
        network,
        module,
        onnx_file if runs_onnx_on(device) else None,
        counter.get_total_flops() / 1e9,
        sum(p.numel() * p.element_size() for p in module.state_dict().values()) / 1e9,
    )


def _time(prepared: Prepared, batch: int, device: str) -> dict[str, float]:
    """Milliseconds by runner."""
    network = prepared.network
    examples = network.examples(batch)
    given = tuple(tensor.to(device) for tensor in network.module_inputs(examples).values())
    torch_ms, results = timed(_torch_runner(prepared.module, given, device), device)
    torch_name = "torch, CUDA graph" if device == "cuda" else "torch eager"
    if prepared.onnx_file is None:
        return {torch_name: torch_ms}
    onnx_name, run = _onnx_runner(prepared.onnx_file, examples, device)
    onnx_ms, outputs = timed(run, device)
    _require_same(network, _by_name(network, results), {name: _on_host(outputs[name]) for name in outputs})
    return {onnx_name: onnx_ms, torch_name: torch_ms}


def _onnx_runner(
    onnx_file: Path, examples: dict[str, Array], device: str
) -> tuple[str, Callable[[], dict[str, Array]]]:
    """How the file is run, and what runs it: on a GPU, as in refinement, the replay of a CUDA graph, which
    `timed` waits for; of a network that cannot be captured, a run with its buffers bound.
    """
    if device == "cpu":
        on_cpu = OnnxEngine(onnx_file, threads=torch.get_num_threads())
        return "ONNX Runtime", lambda: on_cpu.run(examples)
    import cupy

    try:  # torch never frees its streams
        engine = OnnxEngine(onnx_file, "cuda", stream=torch.cuda.Stream().cuda_stream)
        runner = "ONNX Runtime, CUDA graph"
    except FacewrightError:
        engine, runner = OnnxEngine(onnx_file, "cuda"), "ONNX Runtime, no graph"
    outputs = {name: cupy.asarray(array) for name, array in engine.run(examples).items()}
    replay = engine.bind({**{name: cupy.asarray(array) for name, array in examples.items()}, **outputs})
    cupy.cuda.Device().synchronize()  # the copies are on another stream

    def run() -> dict[str, Array]:
        replay()
        return outputs

    return runner, run


def _on_host(array: Any) -> Array:
    on_host: Array = array if isinstance(array, np.ndarray) else array.get()
    return on_host


def _require_same(network: Network, reference: dict[str, Array], other: dict[str, Array]) -> None:
    require_passed(network.name, Precision.FP32, judge(network.gates, Precision.FP32, reference, other))


def _by_name(network: Network, results: tuple[torch.Tensor, ...]) -> dict[str, Array]:
    return {name: tensor.cpu().numpy() for name, tensor in zip(network.outputs, results, strict=True)}


def _eager(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    with torch.inference_mode():
        results: Any = module(*inputs)
    return results if isinstance(results, tuple) else (results,)


def _torch_runner(
    module: nn.Module, inputs: tuple[torch.Tensor, ...], device: str
) -> Callable[[], tuple[torch.Tensor, ...]]:
    """Runs the module; on a GPU by replaying a captured graph into outputs that stay where they are."""

    if device == "cpu":
        return lambda: _eager(module, inputs)
    side_stream = torch.cuda.Stream()
    with torch.cuda.stream(side_stream):
        for _ in range(3):  # libraries choose and allocate before the capture
            _eager(module, inputs)
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = _eager(module, inputs)

    def replay() -> tuple[torch.Tensor, ...]:
        graph.replay()
        return outputs

    return replay


def _row(prepared: Prepared, batch: int, runner: str, ms: float) -> dict[str, Any]:
    return {
        **_work(prepared, batch),
        "batch": batch,
        "runner": runner,
        "ms": round(ms, 2),
        "gflop_per_s": round(prepared.gflop * batch / ms * 1e3, 1),
    }


def _work(prepared: Prepared, batch: int) -> dict[str, Any]:
    return {
        "network": prepared.network.name,
        "gflop": round(prepared.gflop * batch, 4),
        "weights_gb": round(prepared.weight_gb, 4),
    }
