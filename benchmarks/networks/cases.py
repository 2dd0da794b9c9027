"""One network at one batch, by ONNX Runtime and by torch, checked against each other before it is timed."""

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

from benchmarks.networks.roofline import Ceiling, least_ms
from facewright.engine import OnnxEngine
from facewright_export.network import Network
from facewright_export.network_export import build_graph
from facewright_export.parity_gates import judge, require_passed
from facewright_export.precision import Precision

#: A batch is left out when it would take longer than this by the time of the batch before it, seconds.
LONGEST_RUN_S = 20.0


@dataclass(frozen=True)
class Prepared:
    """A network ready to be timed.

    Args:
        network: its row.
        module: with seeded weights, on the device.
        onnx_file: the exported file.
        gflop: multiplications and additions of convolutions and products, for one of a batch.
        weight_gb: of all weights.
    """

    network: Network
    module: nn.Module
    onnx_file: Path
    gflop: float
    weight_gb: float


def measure_network(
    network: Network, batches: tuple[int, ...], device: str, ceiling: Ceiling
) -> list[dict[str, Any]]:
    """Rows of one network: one for each batch and each of ONNX Runtime and torch.

    Raises:
        GateError: the file does not compute what the module does; nothing wrong is timed.
    """
    with TemporaryDirectory() as folder:
        prepared = _prepare(network, Path(folder) / "model.onnx", device)
        rows: list[dict[str, Any]] = []
        slowest_per_item = 0.0
        for batch in batches:
            if slowest_per_item * batch > LONGEST_RUN_S:
                rows.append(
                    {"network": network.name, "batch": batch, "left_out_after_s": round(slowest_per_item, 2)}
                )
                continue
            timed = _time(prepared, batch, device)
            slowest_per_item = max(timed.values()) / 1e3 / batch
            rows += [_row(prepared, batch, runner, ms, ceiling) for runner, ms in timed.items()]
        return rows


def _prepare(network: Network, onnx_file: Path, device: str) -> Prepared:
    module = network.seeded()
    model = build_graph(network, module, Precision.FP32)
    onnx_file.write_bytes(model.SerializeToString())
    inputs = network.module_inputs(network.examples(1))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(*inputs.values())
    weights = sum(p.numel() * p.element_size() for p in module.state_dict().values())
    return Prepared(network, module.to(device), onnx_file, counter.get_total_flops() / 1e9, weights / 1e9)


def _time(prepared: Prepared, batch: int, device: str) -> dict[str, float]:
    """Milliseconds by runner."""
    network = prepared.network
    examples = network.examples(batch)
    engine = OnnxEngine(
        prepared.onnx_file, "cuda" if device == "cuda" else "cpu", threads=torch.get_num_threads()
    )
    given = {name: tensor.to(device) for name, tensor in network.module_inputs(examples).items()}
    run_torch = _torch_runner(prepared.module, tuple(given.values()), device)
    reference = dict(zip(network.outputs, (np.asarray(t.cpu()) for t in run_torch()), strict=True))
    results = judge(network.gates, Precision.FP32, reference, engine.run(examples))
    require_passed(network.name, Precision.FP32, results)
    run_onnx: Callable[[], Any] = lambda: engine.run(examples)  # noqa: E731
    if device == "cuda":
        import cupy

        on_device = {name: cupy.asarray(array) for name, array in examples.items()}
        outputs = {name: cupy.asarray(array) for name, array in engine.run(examples).items()}
        run_onnx = engine.bind({**on_device, **outputs})
    torch_name = "torch, CUDA graph" if device == "cuda" else "torch eager"
    return {"ONNX Runtime": least_ms(run_onnx, device), torch_name: least_ms(run_torch, device)}


def _torch_runner(
    module: nn.Module, inputs: tuple[torch.Tensor, ...], device: str
) -> Callable[[], tuple[torch.Tensor, ...]]:
    """Runs the module; on a GPU by replaying a captured graph into outputs that stay where they are."""

    def eager() -> tuple[torch.Tensor, ...]:
        with torch.inference_mode():
            results: Any = module(*inputs)
        return results if isinstance(results, tuple) else (results,)

    if device == "cpu":
        return eager
    side_stream = torch.cuda.Stream()
    with torch.cuda.stream(side_stream):
        for _ in range(3):  # libraries choose and allocate before the capture
            eager()
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = eager()

    def replay() -> tuple[torch.Tensor, ...]:
        graph.replay()
        return outputs

    return replay


def _row(prepared: Prepared, batch: int, runner: str, ms: float, ceiling: Ceiling) -> dict[str, Any]:
    gflop = prepared.gflop * batch
    return {
        "network": prepared.network.name,
        "batch": batch,
        "runner": runner,
        "ms": round(ms, 2),
        "gflop": round(gflop, 2),
        "gflop_per_s": round(gflop / ms * 1e3, 1),
        "roofline_ms": round(ceiling.milliseconds(gflop, prepared.weight_gb), 2),
    }
