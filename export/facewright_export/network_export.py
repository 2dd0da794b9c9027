"""One network to one verified ONNX file: graph, surgery, precision, linter, parity gate, in this order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import onnx
from torch import nn

from facewright_export.export_error import ExportError
from facewright_export.network import Network
from facewright_export.onnx.graph_surgery import fuse_pixel_normalisation
from facewright_export.onnx.network_metadata import NetworkMetadata, write_metadata
from facewright_export.onnx.onnx_export import BF16_OPSET, EXAMPLE_BATCH, OPSET, export_onnx
from facewright_export.onnx.onnx_lint import require_clean
from facewright_export.onnx.precision import Narrowing, Precision, narrow
from facewright_export.parity.parity import run_onnx
from facewright_export.parity.parity_gates import GateResult, judge, require_passed
from facewright_export.parity.parity_layers import LayerDeviation, layer_deviations, telling_layers


@dataclass(frozen=True)
class ExportedNetwork:
    """A network's file, and the proof that it computes what the module does.

    Args:
        network: its row.
        precision: of the file.
        model: the graph, weights inside.
        results: the gate's numbers for each output; all passed.
        weights: where the weights came from: ``name sha256`` of each file.
        notes: what their importer said of them.
    """

    network: Network
    precision: Precision
    model: onnx.ModelProto
    results: tuple[GateResult, ...]
    weights: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def export_network(
    network: Network,
    module: nn.Module,
    precision: Precision,
    weights: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> ExportedNetwork:
    """Exports a network and holds the file to the module.

    Args:
        network: its row in the table.
        module: what is served, with weights (`Network.from_files` or `Network.seeded`).
        precision: of the file.
        weights: where they came from, for the file's metadata.
        notes: what their importer said of them, for the metadata, too.

    Raises:
        ExportError: the network is not served in this precision, the graph cannot be made or TensorRT would
            refuse it (`OnnxLintError`), or the file computes something else (`GateError`).
    """
    model = build_graph(network, module, precision)
    results = measure(network, module, model, precision)
    layers = partial(deviating_layers, network, module, model, precision)
    require_passed(network.name, precision, results, layers)
    batch = (network.batch.least, network.batch.usual, network.batch.largest)
    write_metadata(model, NetworkMetadata(network.name, str(precision), batch, weights, notes))
    return ExportedNetwork(network, precision, model, tuple(results), weights, notes)


def build_graph(network: Network, module: nn.Module, precision: Precision) -> onnx.ModelProto:
    """The linted graph; see `export_network`."""
    if precision not in network.precisions:
        raise ExportError(
            f"{network.name} is not served in {precision}",
            f"choose one of: {', '.join(network.precisions)}",
        )
    given = network.module_inputs(network.examples(EXAMPLE_BATCH))
    opset = BF16_OPSET if precision is Precision.BF16 else OPSET
    model = export_onnx(module, given, network.outputs, opset, network.batch.largest)
    islands = network.islands
    if network.pixels is not None:
        image = next(given.name for given in network.inputs if given.dtype.kind == "u")
        model = fuse_pixel_normalisation(model, image, network.pixels)
        islands = (*islands, "pixels/*")  # 8 bits of a pixel and its mean's fraction do not fit into fp16
    model = narrow(model, Narrowing(precision, islands))
    require_clean(model, network.name)
    return model


def measure(
    network: Network, module: nn.Module, model: onnx.ModelProto, precision: Precision
) -> list[GateResult]:
    """The file on ONNX Runtime beside the module in torch float32, on the row's seeded examples.

    One example where the usual batch is 1, else two: the graph was traced with two, so that a batch that
    froze shows.
    """
    examples = network.examples(min(network.batch.usual, EXAMPLE_BATCH))
    reference = network.reference(module, examples)
    return judge(network.gates, precision, reference, run_onnx(model, examples, precision))


def deviating_layers(
    network: Network, module: nn.Module, model: onnx.ModelProto, precision: Precision
) -> list[LayerDeviation]:
    """Where inside a narrow file its errors come from, on one seeded example; none inside a float32 file."""
    if precision is Precision.FP32:
        return []
    exact = build_graph(network, module, Precision.FP32)
    return telling_layers(layer_deviations(exact, model, precision, network.examples(1)))
