"""What each change to an exported graph buys, on one CPU thread.

    .venv-export/bin/python -m benchmarks.networks.surgery

Processor time of this thread, least of several runs, of a graph without and with the change: constants folded
(StyleGAN2 multiplies its kernels by a constant), pixels normalised inside (a client sends bytes, the stage
before does not convert), labels as bytes (the stage after reads no scores).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import numpy as np
import onnx
import torch

from facewright.core.onnx_runtime import ort
from facewright_export.network import Array
from facewright_export.network_tables import network
from facewright_export.onnx.graph_surgery import fold_constants
from facewright_export.onnx.onnx_export import EXAMPLE_BATCH, trace_onnx
from facewright_export.onnx.onnx_lint import lint


def least_ms(model: onnx.ModelProto, inputs: Mapping[str, Array], runs: int = 5) -> float:
    """Least processor time of a run, milliseconds."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    session.run(None, dict(inputs))
    times = []
    for _ in range(runs):
        started = time.thread_time()
        session.run(None, dict(inputs))
        times.append(time.thread_time() - started)
    return 1e3 * min(times)


def _computed_kernels(model: onnx.ModelProto) -> int:
    return sum("kernel is computed" in finding.problem for finding in lint(model))


def main() -> int:
    """Prints one line for each change."""
    torch.set_num_threads(1)
    generator = network("avatar_generator")
    module = generator.seeded()
    examples = generator.examples(1)
    given = generator.module_inputs(generator.examples(EXAMPLE_BATCH))
    unfolded = trace_onnx(module, given, generator.outputs)
    folded = fold_constants(unfolded)
    kernels = " -> ".join(str(_computed_kernels(model)) for model in (unfolded, folded))
    before, after = (least_ms(model, examples) for model in (unfolded, folded))
    sys.stdout.write(
        f"constants folded, {generator.name}: convolutions with a computed kernel {kernels}; "
        f"ONNX Runtime {before:.1f} -> {after:.1f} ms\n"
    )
    camera = network("camera_regressor")
    assert camera.pixels is not None
    pixels = camera.examples(1)
    started = time.thread_time()
    for _ in range(20):
        floats = camera.pixels.apply(pixels["FACE_IMAGE"])
    apply_ms = 1e3 * (time.thread_time() - started) / 20
    sys.stdout.write(
        f"pixels normalised inside, {camera.name}: {floats.nbytes} -> {pixels['FACE_IMAGE'].nbytes} bytes "
        f"a request, {apply_ms:.2f} ms of NumPy saved\n"
    )
    parts = network("face_parts")
    labels = np.zeros(parts.inputs[0].shape[:2], np.uint8)
    sys.stdout.write(
        f"labels as bytes, {parts.name}: {4 * 19 * labels.size} -> {labels.nbytes} bytes a request\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
