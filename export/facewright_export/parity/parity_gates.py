"""Gates: a network whose file computes something else than the published module is not exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from facewright_export.export_error import ExportError
from facewright_export.onnx.precision import Precision
from facewright_export.parity.parity import Array, Measure, TensorParity, compare, worst
from facewright_export.parity.parity_layers import LayerDeviation, deviation_line


@dataclass(frozen=True)
class Bounds:
    """What an output must keep to.

    Args:
        cosine: at least.
        relative_l2: at most.
        in_unit: at most, in the measure's unit.
    """

    cosine: float
    relative_l2: float
    in_unit: float


@dataclass(frozen=True)
class Gate:
    """How one output is judged.

    Args:
        measure: the error in a unit of the domain.
        bounds: for each precision.
    """

    measure: Measure
    bounds: Mapping[Precision, Bounds]


#: Cosine and relative L2 that a network of ordinary depth keeps to. float32 differs by the order of sums
#: only, which is the processor's: 1e-4 is a floor, not what one of them measures. float16 keeps 11 bits,
#: bfloat16 8: three to four times the largest relative L2 of the networks in the table.
_USUAL: Final = {
    Precision.FP32: (0.999999, 1e-4),
    Precision.FP16: (0.9999, 1.5e-2),
    Precision.BF16: (0.999, 6e-2),
}


def gate(measure: Measure, fp32: float, fp16: float, bf16: float) -> Gate:
    """A gate with the usual cosine and relative L2; the arguments bound the error in the measure's unit."""
    limits = {Precision.FP32: fp32, Precision.FP16: fp16, Precision.BF16: bf16}
    return Gate(measure, {p: Bounds(*_USUAL[p], limits[p]) for p in Precision})


def labels_gate(measure: Measure, fp32: float, fp16: float, bf16: float) -> Gate:
    """A gate for class labels, whose cosine means nothing: only the measure counts."""
    limits = {Precision.FP32: fp32, Precision.FP16: fp16, Precision.BF16: bf16}
    return Gate(measure, {p: Bounds(-1.0, float("inf"), limits[p]) for p in Precision})


@dataclass(frozen=True)
class GateResult:
    """One output's errors beside its bounds."""

    parity: TensorParity
    bounds: Bounds

    @property
    def failures(self) -> tuple[str, ...]:
        """Which bounds are broken, in words; () where the gate is passed."""
        row, bounds = self.parity, self.bounds
        if np.isnan(row.relative_l2):
            return ("values that are not finite",)
        said = []
        if row.cosine < bounds.cosine:
            said.append(f"cosine {row.cosine:.6f} < {bounds.cosine:g}")
        if row.relative_l2 > bounds.relative_l2:
            said.append(f"relative L2 {row.relative_l2:.2e} > {bounds.relative_l2:g}")
        if row.in_unit > bounds.in_unit:
            said.append(f"{row.in_unit:.3g} {row.unit} > {bounds.in_unit:g} {row.unit}")
        return tuple(said)


class GateError(ExportError):
    """A network that does not compute what the published one does, with every tensor's errors.

    Args:
        network: its name.
        precision: of the file.
        results: all outputs.
        layers: where in the file the error comes from.
        unexplained: why that is not known; "" when it is.
    """

    def __init__(
        self,
        network: str,
        precision: Precision,
        results: Sequence[GateResult],
        layers: Sequence[LayerDeviation] = (),
        unexplained: str = "",
    ) -> None:
        bad = worst([result.parity for result in results if result.failures])
        table = [f"  {result_line(result)}" for result in results]
        if layers:
            table += ["layers where it comes from:", *(f"  {deviation_line(layer)}" for layer in layers)]
        if unexplained:
            table.append(f"the layers where it comes from are not known: {unexplained}")
        super().__init__(
            f"{network} in {precision} does not compute what the published network does; the worst tensor is "
            + "\n".join([f"{bad.tensor}:", *table]),
            "use a wider --precision, or name the layers where it comes from among the row's islands"
            if precision is not Precision.FP32
            else "a float32 file must agree: the graph differs from the module, please report it",
        )
        self.results = tuple(results)


def result_line(result: GateResult) -> str:
    """One line of words and numbers for one output."""
    row = result.parity
    verdict = "ok" if not result.failures else "FAILS: " + ", ".join(result.failures)
    return (
        f"{row.tensor}: cosine {row.cosine:.6f}, relative L2 {row.relative_l2:.2e}, "
        f"largest {row.largest:.2e}, {row.in_unit:.3g} {row.unit}; {verdict}"
    )


def judge(
    gates: Mapping[str, Gate],
    precision: Precision,
    reference: Mapping[str, Array],
    other: Mapping[str, Array],
) -> list[GateResult]:
    """Compares every output that has a gate.

    Raises:
        KeyError: an output of a gate is missing.
        ValueError: shapes differ.
    """
    return [
        GateResult(compare(name, reference[name], other[name], gate.measure), gate.bounds[precision])
        for name, gate in gates.items()
    ]


def require_passed(
    network: str,
    precision: Precision,
    results: Sequence[GateResult],
    layers: Callable[[], Sequence[LayerDeviation]] = tuple,
) -> None:
    """Raises `GateError` where a bound is broken, with the layers that ``layers`` then finds, or what kept it
    from finding them.
    """
    if not any(result.failures for result in results):
        return
    try:
        found = layers()
    except Exception as error:  # whatever it is: the verdict stands without its explanation
        raised = f"{type(error).__name__}: {error}"
        reason = f"{error.message} ({error.hint})" if isinstance(error, ExportError) else raised
        raise GateError(network, precision, results, unexplained=reason) from error
    raise GateError(network, precision, results, found)
