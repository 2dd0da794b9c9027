"""Which layer of a narrow file deviates first: every tensor inside it beside the same one in float32.

A gate judges outputs and says that one of them is wrong; this says where it became so, by the name of the
layer, which is what `precision.Narrowing.islands` takes. Polygraphy marks the tensors, runs both graphs and
compares.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import onnx

from facewright_export.export_error import ExportError
from facewright_export.onnx.precision import Precision, emulated
from facewright_export.parity.parity import Array, TensorParity, compare, onnx_session, plain_difference

if TYPE_CHECKING:
    from polygraphy.comparator import IterationResult


@dataclass(frozen=True)
class LayerDeviation:
    """How far one tensor inside a narrow file is from the same tensor in float32.

    Args:
        layer: the node that makes it, as `Narrowing.islands` names it: ``convs.3/Conv``.
        relative_l2: ‖narrow − exact‖ / ‖exact‖; NaN where values are not finite.
        inherited: the largest of that among the tensors that the layer reads; 0 where it reads inputs only.
    """

    layer: str
    relative_l2: float
    inherited: float

    @property
    def growth(self) -> float:
        """How many times larger the error is than what came in; infinite where only the result is not finite,
        0 where already an input is not.
        """
        if math.isnan(self.inherited):
            return 0.0
        if math.isnan(self.relative_l2):
            return math.inf
        return self.relative_l2 / max(self.inherited, _ONE_ROUNDING)


#: fp16 rounds by up to 2⁻¹¹, by half of that on average: an error below that needs no layer to explain it.
_ONE_ROUNDING: Final = 2.0**-12
#: Of the tensors that are held at once, for each of the two graphs: all of StyleGAN2's at 1024² are 4 GB.
_BYTES_AT_ONCE: Final = 1 << 30


def layer_deviations(
    exact: onnx.ModelProto, narrow: onnx.ModelProto, precision: Precision, inputs: Mapping[str, Array]
) -> list[LayerDeviation]:
    """Compares every float tensor that a layer of both graphs makes.

    Args:
        exact: the network in float32.
        narrow: what `precision.narrow` made of it; tensors have the same names.
        precision: of ``narrow``.
        inputs: by name; one example is enough, as each tensor of it is held.

    Returns:
        In the order in which the graph computes them.

    Raises:
        ExportError: Polygraphy is not installed.
    """
    try:  # here, not above: gates and benchmarks run where Polygraphy is not installed
        from polygraphy.backend.onnx import modify_outputs
        from polygraphy.backend.onnxrt import OnnxrtRunner
        from polygraphy.comparator import Comparator
        from polygraphy.logger import G_LOGGER
    except ModuleNotFoundError as error:
        raise ExportError(
            f"the tensors inside two files are compared by Polygraphy, and {error.name} cannot be imported",
            "scripts/setup --export",
        ) from error

    rounded = emulated(narrow, precision)
    parities: dict[str, TensorParity] = {}
    for names in _groups(exact, inputs):
        runners = [
            OnnxrtRunner(onnx_session(modify_outputs(model, outputs=names, copy=True), optimised=False), name)
            for model, name in ((exact, "fp32"), (rounded, str(precision)))
        ]
        with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
            runs = Comparator.run(runners, data_loader=[dict(inputs)])
            (accuracy,) = Comparator.compare_accuracy(runs, compare_func=_compare_tensors)
        ((compared,),) = accuracy.values()
        parities |= compared
    return [
        LayerDeviation(
            node.name,
            parities[output].relative_l2,
            _largest([parities[name].relative_l2 for name in node.input if name in parities]),
        )
        for node in exact.graph.node
        for output in node.output
        if output in parities
    ]


def telling_layers(deviations: Sequence[LayerDeviation], count: int = 8) -> list[LayerDeviation]:
    """The layers to look at, in the graph's order: the one with the largest error, and those that make finite
    values infinite or errors grow most, ``count`` in all.
    """
    growing = [i for i, row in enumerate(deviations) if row.growth > 1]
    growing.sort(key=lambda i: -deviations[i].growth)
    finite = [i for i, row in enumerate(deviations) if not math.isnan(row.relative_l2)]
    worst = sorted(finite, key=lambda i: -deviations[i].relative_l2)[:1]
    return [deviations[i] for i in sorted({*worst, *growing[: count - len(worst)]})]


def deviation_line(deviation: LayerDeviation) -> str:
    """One line of words and numbers for one layer."""
    return (
        f"{deviation.layer}: {error_in_words(deviation.relative_l2)}, "
        f"from {error_in_words(deviation.inherited)}"
    )


def error_in_words(relative_l2: float) -> str:
    """``relative L2 1.2e-03``, or that values are not finite."""
    return "values that are not finite" if math.isnan(relative_l2) else f"relative L2 {relative_l2:.1e}"


def _compare_tensors(exact: IterationResult, narrow: IterationResult) -> dict[str, TensorParity]:
    """A comparison function of `Comparator.compare_accuracy`: a row for each float tensor."""
    return {
        name: compare(name, array, narrow[name], plain_difference())
        for name, array in exact.items()
        if array.dtype.kind == "f"
    }


def _largest(errors: Sequence[float]) -> float:
    return max(errors, key=lambda error: (math.isnan(error), error), default=0.0)


def _groups(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> Iterator[list[str]]:
    """The names of what layers make, in groups that fit into `_BYTES_AT_ONCE` each."""
    sizes = _tensor_bytes(model, inputs)
    group: list[str] = []
    total = 0
    for name in (output for node in model.graph.node for output in node.output):
        size = sizes.get(name, _BYTES_AT_ONCE)  # what shape inference does not know goes alone
        if group and total + size > _BYTES_AT_ONCE:
            yield group
            group, total = [], 0
        group.append(name)
        total += size
    yield group


def _tensor_bytes(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, int]:
    """Sizes of the tensors of a run on these inputs, where their shapes follow from the inputs'."""
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    del sized.graph.value_info[:], sized.graph.output[:]
    for value in sized.graph.input:
        for dimension, length in zip(value.type.tensor_type.shape.dim, inputs[value.name].shape, strict=True):
            dimension.dim_value = length
    inferred = onnx.shape_inference.infer_shapes(sized, data_prop=True)
    sizes = {}
    for value in inferred.graph.value_info:
        dimensions = value.type.tensor_type.shape.dim
        if all(dimension.HasField("dim_value") for dimension in dimensions):
            sizes[value.name] = 4 * math.prod(dimension.dim_value for dimension in dimensions)
    return sizes
