"""``facewright build --check``: a plan beside the file that it was built from, on the GPU that serves it."""

from __future__ import annotations

from pathlib import Path

import onnx

from facewright.engines.engine import Engine
from facewright.engines.tensorrt_engine import TensorRTEngine
from facewright_export.export_error import ExportError
from facewright_export.network_tables import NETWORKS
from facewright_export.onnx.network_metadata import metadata_of
from facewright_export.onnx.precision import Precision
from facewright_export.parity.parity import run_onnx
from facewright_export.parity.parity_gates import GateResult, judge, require_passed, result_line


def check_plan(onnx_file: Path, engine: Engine) -> list[GateResult]:
    """Holds an engine to its ONNX file by the bounds that the file itself was held to, on the same inputs.

    Args:
        onnx_file: written by ``facewright export``, with the owner's weights; run on ONNX Runtime as the
            export's gate runs it.
        engine: the plan that was built from it.

    Returns:
        The numbers of each output; all are within their bounds.

    Raises:
        ExportError: the file holds no network of the table.
        GateError: the engine computes something else.
    """
    model = onnx.load(onnx_file)
    metadata = metadata_of(model, str(onnx_file))
    row = next((row for row in NETWORKS if row.name == metadata.name), None)
    if row is None:
        raise ExportError(
            f"the network table has no network {metadata.name}, which {onnx_file} holds",
            "export it again with this version of Facewright",
        )
    precision = Precision(metadata.precision)
    examples = row.examples(row.batch.usual)
    results = judge(row.gates, precision, run_onnx(model, examples, precision), engine.run(examples))
    require_passed(f"the plan of {row.name}", precision, results)
    return results


def plan_parity(onnx_file: Path, plan: Path) -> str:
    """A line for each output of a plan for this machine's GPU; raises what `check_plan` and the engine do."""
    results = check_plan(onnx_file, TensorRTEngine(plan, onnx_file))
    return "\n".join(f"  {result_line(result)}" for result in results)
