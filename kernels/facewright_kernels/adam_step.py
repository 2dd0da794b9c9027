"""One step of the Adam optimiser over a batch of parameters, in place."""

from __future__ import annotations

import math

import numpy as np

from facewright_kernels._runtime.boundary import Boundary, Float64Array, FloatArray, IntArray, array_module
from facewright_kernels._runtime.kernel_source import KernelSource

_SOURCE = KernelSource("adam_step")


def adam_step(
    parameter: FloatArray,
    gradient: FloatArray,
    first_moment: FloatArray,
    second_moment: FloatArray,
    step: int | IntArray,
    *,
    learning_rate: float | FloatArray,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> None:
    """Updates ``parameter``, ``first_moment`` and ``second_moment`` **in place** (Kingma and Ba 2015, "Adam:
    a method for stochastic optimization", Algorithm 1).

    Row b of a batch is left untouched, its moments included, where its learning rate is 0: a photo that has
    stopped. Elsewhere a gradient that is not finite makes the parameter not finite: the caller checks.

    Args:
        parameter, gradient, first_moment, second_moment: f32 ``[B, ...]``; the moments start at 0.
        step: t of Algorithm 1, 1 at the first step; or i32 ``[B]``, which a recorded CUDA graph can read
            anew at every replay (rows below 1 are refused on a CPU, give NaN on a GPU).
        learning_rate: α of Algorithm 1, ≥ 0; or f32 ``[B]``.
        beta1, beta2: decay of the moments, 0 to 0.999999.
        epsilon: added to the root of the second moment.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, arrays that are not C-contiguous or not writeable,
            a step below 1, a rate or decay out of range.
    """
    check = Boundary("adam_step")
    parameter = _updatable(check, "parameter", parameter, "B ...")
    shape = " ".join(str(size) for size in parameter.shape)
    gradient = check.array("gradient", gradient, "float32", shape)
    first_moment = _updatable(check, "first_moment", first_moment, shape)
    second_moment = _updatable(check, "second_moment", second_moment, shape)
    check.number("beta1", beta1, 0, 0.999999)
    check.number("beta2", beta2, 0, 0.999999)
    check.number("epsilon", epsilon, 0, 1)
    row_corrections: FloatArray | None = None
    if isinstance(step, (int, np.integer)):
        step = int(step)
        check.number("step", step, 1, 1 << 30)
    else:
        row_corrections = _bias_corrections(check, step, beta1, beta2)
        step = 1
    row_rate: FloatArray | None = None
    if isinstance(learning_rate, (int, float, np.floating)):
        check.number("learning_rate", float(learning_rate), 0, 1e6)
    else:
        row_rate, learning_rate = check.array("learning_rate", learning_rate, "float32", "B"), 0.0
        if isinstance(row_rate, np.ndarray) and not (row_rate >= 0).all():
            raise ValueError(f"adam_step: learning_rate must be 0 or more in every row, got {row_rate.min()}")
    _SOURCE.launch(
        "adam_step",
        parameter.size,
        parameter,
        gradient,
        first_moment,
        second_moment,
        row_corrections,
        row_rate,
        check.size("B"),
        parameter.size // max(check.size("B"), 1),
        1 - beta1**step,
        1 - beta2**step,
        float(learning_rate),
        beta1,
        beta2,
        epsilon,
    )


def _bias_corrections(check: Boundary, step: IntArray, beta1: float, beta2: float) -> FloatArray:
    """f32 ``[B, 2]`` from i32 ``[B]``, on the device."""
    step = check.array("step", step, "int32", "B")
    if isinstance(step, np.ndarray) and step.size and step.min() < 1:
        raise ValueError(f"adam_step: step must be 1 or more in every row, got {int(step.min())}")
    corrections: FloatArray = array_module(step).empty((len(step), 2), np.float32)
    _SOURCE.launch("bias_corrections", len(step), step, corrections, len(step), _log(beta1), _log(beta2))
    return corrections


def _log(beta: float) -> float:
    return math.log(beta) if beta > 0 else -math.inf


def _updatable(check: Boundary, name: str, array: FloatArray, shape: str) -> FloatArray:
    checked: FloatArray = check.array(name, array, "float32", shape)
    if not array.flags.c_contiguous:
        raise ValueError(
            f"adam_step: {name} is updated in place and must be C-contiguous, has strides {array.strides}"
        )
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        raise ValueError(f"adam_step: {name} is updated in place, but the array is read-only; pass a copy")
    return checked


def adam_step_reference(
    parameter: Float64Array,
    gradient: Float64Array,
    first_moment: Float64Array,
    second_moment: Float64Array,
    step: int,
    learning_rate: float,
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Parameter and moments after one step in float64, with β₁ = 0.9, β₂ = 0.999, ε = 10⁻⁸ (Kingma and Ba
    2015, Algorithm 1).
    """
    first = 0.9 * first_moment + 0.1 * gradient
    second = 0.999 * second_moment + 0.001 * gradient**2
    unbiased_first, unbiased_second = first / (1 - 0.9**step), second / (1 - 0.999**step)
    return parameter - learning_rate * unbiased_first / (np.sqrt(unbiased_second) + 1e-8), first, second
