"""What this machine can do at best: a large product or convolution, and a large copy, measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

from facewright.core.onnx_runtime import ort

Result = TypeVar("Result")


@dataclass(frozen=True)
class Ceiling:
    """Attainable rates, measured.

    Args:
        gflop_per_s: of a float32 (on a GPU: TF32 off) product of square matrices by torch or, on the CPU,
            of a 3 x 3 convolution by ONNX Runtime, whichever is faster.
        gb_per_s: of a copy, bytes read and written.
    """

    gflop_per_s: float
    gb_per_s: float

    def milliseconds(self, gflop: float, gigabytes: float) -> float:
        """The least time of work that needs so many operations and so many bytes."""
        return 1e3 * max(gflop / self.gflop_per_s, gigabytes / self.gb_per_s)

    def larger(self, other: Ceiling) -> Ceiling:
        """The better of both in each rate: clocks of a shared processor rise and fall."""
        return Ceiling(
            max(self.gflop_per_s, other.gflop_per_s),
            max(self.gb_per_s, other.gb_per_s),
        )


def measure_ceiling(device: str) -> Ceiling:
    """Both rates on ``cpu`` or ``cuda``."""
    side, elements = (2048, 1 << 26) if device == "cpu" else (8192, 1 << 28)
    a, b = torch.ones(side, side, device=device), torch.ones(side, side, device=device)
    product = torch.empty(side, side, device=device)
    source = torch.ones(elements, device=device)
    target = torch.empty_like(source)
    product_ms = least_ms(lambda: torch.mm(a, b, out=product), device)
    gflop_per_s = 2 * side**3 / product_ms / 1e6
    if device == "cpu":
        gflop_per_s = max(gflop_per_s, _onnx_gflop_per_s())
    copy_ms = least_ms(lambda: target.copy_(source), device)
    return Ceiling(gflop_per_s, 2 * 4 * elements / copy_ms / 1e6)


def least_ms(call: Callable[[], Any], device: str, seconds: float = 2.0, runs: int = 20) -> float:
    """The time of `timed`."""
    return timed(call, device, seconds, runs)[0]


def timed(
    call: Callable[[], Result], device: str, seconds: float = 2.0, runs: int = 20
) -> tuple[float, Result]:
    """Least milliseconds over runs that take at most about ``seconds`` together, after one that warms up, and
    what the last run gave. A run of half a minute and more is its own warming up.

    On the CPU, processor time of this thread, which does all the work: waiting for a busy processor is not
    counted. On a GPU, wall time until the GPU is done.
    """
    clock = time.thread_time if device == "cpu" else time.perf_counter
    wait = torch.cuda.synchronize if device == "cuda" else _no_wait

    def run() -> Result:
        started = clock()
        result = call()
        wait()
        times.append(clock() - started)
        return result

    times: list[float] = []
    result = run()
    if times[0] < 30.0:
        times.clear()
        while len(times) < runs and (len(times) < 2 or sum(times) < seconds):
            result = run()
    return min(times) * 1e3, result


def _onnx_gflop_per_s() -> float:
    """Of ONNX Runtime's convolution of 256 channels of 56 x 56 by a kernel of 3 x 3: its blocked
    kernels are faster than a matrix product.
    """
    channels, side = 256, 56
    image = [1, channels, side, side]
    kernel = np.ones((channels, channels, 3, 3), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["IMAGE", "KERNEL"], ["RESULT"], pads=[1, 1, 1, 1])],
        "convolution",
        [helper.make_tensor_value_info("IMAGE", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("RESULT", TensorProto.FLOAT, image)],
        [numpy_helper.from_array(kernel, "KERNEL")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = {"IMAGE": np.ones(image, np.float32)}
    # What falls on the padding is not computed; it is 2 % of the operations counted.
    return 2 * channels**2 * 9 * side**2 / least_ms(lambda: session.run(None, fed), "cpu") / 1e6


def _no_wait() -> None:
    return
