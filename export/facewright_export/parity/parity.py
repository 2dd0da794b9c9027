"""How far one network's outputs are from another's, also in units that mean something.

Cosine and relative L2 compare across networks; a model owner asks for millimetres, degrees, pixels or ΔE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx

from facewright.core.onnx_runtime import ort
from facewright_export.onnx.precision import Precision, emulated

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Measure:
    """An error in a unit of the domain.

    Args:
        unit: as printed: ``mm``, ``°``, ``ΔE``, ``%``, ``σ`` or ``1`` (a plain number).
        error: of (reference, other), both float64 and of one shape with the batch as axis 0; the worst of
            the batch.
    """

    unit: str
    error: Callable[[Array, Array], float]


def _largest_difference(reference: Array, other: Array) -> float:
    return float(np.abs(reference - other).max())


def vertex_millimetres(metres_per_unit: float = 1.0) -> Measure:
    """Largest distance between two positions ``[B, …, 3]``."""

    def error(reference: Array, other: Array) -> float:
        distances = np.linalg.norm(reference - other, axis=-1)
        return float(distances.max()) * 1e3 * metres_per_unit

    return Measure("mm", error)


def displacement_millimetres(metres_per_unit: float) -> Measure:
    """Largest difference of displacements along the normal, any shape."""
    return Measure("mm", lambda a, b: _largest_difference(a, b) * 1e3 * metres_per_unit)


def albedo_delta_e(low: float = -1.0, high: float = 1.0, channels: slice = slice(0, 3)) -> Measure:
    """Mean CIE 1976 ΔE of the worst image, sRGB ``[B, C, H, W]`` from ``low`` (black) to ``high``."""

    def error(reference: Array, other: Array) -> float:
        colours = [_lab(np.clip((x[:, channels] - low) / (high - low), 0, 1)) for x in (reference, other)]
        distances = np.linalg.norm(colours[0] - colours[1], axis=1)
        return float(distances.mean(axis=tuple(range(1, distances.ndim))).max())

    return Measure("ΔE", error)


def angle_degrees() -> Measure:
    """Largest angle between two vectors ``[B, N]``: embeddings are compared by their direction."""

    def error(reference: Array, other: Array) -> float:
        # Kahan's formula: the arc cosine of a cosine loses half of the digits near 0.
        a = reference / np.linalg.norm(reference, axis=1, keepdims=True)
        b = other / np.linalg.norm(other, axis=1, keepdims=True)
        apart, together = np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1)
        return float(np.degrees(2 * np.arctan2(apart, together)).max())

    return Measure("°", error)


def rotation_degrees(columns: slice) -> Measure:
    """Largest difference of angles in radians, columns of a vector of coefficients ``[B, N]``."""

    def error(reference: Array, other: Array) -> float:
        return float(np.degrees(np.abs(reference[:, columns] - other[:, columns]).max()))

    return Measure("°", error)


def coefficient_sigma() -> Measure:
    """Largest difference of coefficients that are distributed like N(0, 1)."""
    return Measure("σ", _largest_difference)


def label_percent() -> Measure:
    """Share of pixels that get another label, of labels ``[B, H, W]``, of the worst image."""

    def error(reference: Array, other: Array) -> float:
        return 100 * float((reference != other).mean(axis=(1, 2)).max())

    return Measure("%", error)


def plain_difference() -> Measure:
    """Largest absolute difference, for numbers without a unit."""
    return Measure("1", _largest_difference)


@dataclass(frozen=True)
class TensorParity:
    """One output compared with its reference, over the whole batch.

    Args:
        tensor: its name.
        cosine: of the two as vectors.
        relative_l2: ‖other − reference‖ / ‖reference‖.
        largest: largest absolute difference.
        in_unit: the error as the measure counts it.
        unit: of ``in_unit``.
    """

    tensor: str
    cosine: float
    relative_l2: float
    largest: float
    in_unit: float
    unit: str


def compare(tensor: str, reference: Array, other: Array, measure: Measure) -> TensorParity:
    """Compares two arrays.

    Raises:
        ValueError: their shapes differ. Values that are not finite give NaN, which no bound accepts.
    """
    if reference.shape != other.shape:
        raise ValueError(f"{tensor} is {list(other.shape)}, its reference {list(reference.shape)}")
    a, b = reference.astype(np.float64), other.astype(np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        nan = float("nan")
        return TensorParity(tensor, nan, nan, nan, nan, measure.unit)
    length, other_length = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    same = bool((a == b).all())
    cosine = 1.0 if same else float(a.ravel() @ b.ravel() / max(length * other_length, _TINY))
    relative = 0.0 if same else float(np.linalg.norm(a - b) / max(length, _TINY))
    return TensorParity(
        tensor, cosine, relative, _largest_difference(a, b), measure.error(a, b), measure.unit
    )


def run_onnx(
    model: onnx.ModelProto,
    inputs: Mapping[str, Array],
    precision: Precision = Precision.FP32,
    threads: int = 1,
) -> dict[str, Array]:
    """The graph's outputs on ONNX Runtime's CPU provider.

    Args:
        model: in this precision; a narrow file is run as `precision.emulated` says, because ONNX Runtime has
            no bfloat16 kernels on a CPU and does not round between float16 operators there.
        inputs: by name.
        precision: of the file.
        threads: of one run.
    """
    narrow = precision is not Precision.FP32
    session = onnx_session(emulated(model, precision) if narrow else model, not narrow, threads)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def onnx_session(model: onnx.ModelProto, optimised: bool, threads: int = 1) -> ort.InferenceSession:
    """A graph on ONNX Runtime's CPU provider; one that `precision.emulated` made may not be optimised."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


_TINY: Final = 1e-300
_SRGB_TO_XYZ: Final = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE: Final = np.array([0.95047, 1.0, 1.08883])


def _lab(srgb: Array) -> Array:
    """CIE L*a*b* (D65) of sRGB ``[B, 3, …]`` in 0–1."""
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = np.einsum("ij,bj...->bi...", _SRGB_TO_XYZ / _WHITE[:, None], linear)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def worst(rows: Sequence[TensorParity]) -> TensorParity:
    """The tensor with the largest relative error; one that is not finite is worse than any."""
    return max(rows, key=lambda row: (np.isnan(row.relative_l2), row.relative_l2))
