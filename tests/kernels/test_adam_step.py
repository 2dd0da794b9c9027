"""The fused Adam step against Algorithm 1 in float64."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels import adam_step
from facewright_kernels.adam_step import adam_step_reference


def _start(rng: np.random.Generator, shape=(3, 4, 5)) -> list[np.ndarray]:
    return [
        rng.normal(size=shape).astype(np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
    ]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("steps_on_device", [False, True])
def test_many_steps_match_algorithm_1(device, batch, steps_on_device):
    rng = np.random.default_rng(0)
    start = _start(rng, (batch, 4, 5))
    parameter, first, second = (device.send(array) for array in start)
    expected = [array.astype(np.float64) for array in start]
    for step in range(1, 31):
        gradient = rng.normal(size=(batch, 4, 5)) * 10.0 ** rng.integers(-6, 3)
        given = device.send(np.full(batch, step, np.int32)) if steps_on_device else step
        adam_step(
            parameter, device.send(gradient.astype(np.float32)), first, second, given, learning_rate=0.01
        )
        expected[0], expected[1], expected[2] = adam_step_reference(
            expected[0], gradient, expected[1], expected[2], step, 0.01
        )
    for got, wanted in zip((parameter, first, second), expected, strict=True):
        np.testing.assert_allclose(device.fetch(got), wanted, rtol=5e-5, atol=2e-6)  # 30 roundings


def test_first_step_is_the_learning_rate_for_any_gradient(device):
    """m̂/√v̂ is ±1 at t = 1, so cancellation in 1 − β₂ would show here at once."""
    gradient = np.array([[1e-4, -3.0, 700.0]], np.float32)
    parameter, first, second = (device.send(np.zeros((1, 3), np.float32)) for _ in range(3))
    adam_step(parameter, device.send(gradient), first, second, 1, learning_rate=0.5)
    expected = -0.5 * gradient / (np.abs(gradient) + 1e-8)  # ε of algorithm 1
    np.testing.assert_allclose(device.fetch(parameter), expected, rtol=5e-5)


def test_it_finds_the_minimum_of_a_parabola(device):
    parameter, first, second = (device.send(np.zeros((1, 2), np.float32)) for _ in range(3))
    target = device.send(np.float32([[0.3, -0.7]]))
    for step in range(1, 300):
        adam_step(parameter, 2 * (parameter - target), first, second, step, learning_rate=0.02)
    np.testing.assert_allclose(device.fetch(parameter), device.fetch(target), atol=1e-3)


def test_a_row_with_rate_zero_is_untouched(device):
    rng = np.random.default_rng(1)
    start = _start(rng)
    start[1] += 0.25
    start[2] += 0.5
    gradient = rng.normal(size=start[0].shape).astype(np.float32)
    gradient[1] = np.nan
    rates = np.float32([0.1, 0, 0.2])
    arrays = [device.send(array.copy()) for array in start]
    parameter, first, second = arrays
    adam_step(parameter, device.send(gradient), first, second, 3, learning_rate=device.send(rates))
    for got, before in zip(arrays, start, strict=True):
        np.testing.assert_array_equal(device.fetch(got)[1], before[1])
    for row in (0, 2):
        wanted = adam_step_reference(
            *(array[row].astype(np.float64) for array in (start[0], gradient, start[1], start[2])),
            3,
            float(rates[row]),
        )
        np.testing.assert_allclose(device.fetch(parameter)[row], wanted[0], rtol=1e-5, atol=1e-6)


def test_nan_gradients_show_in_the_parameter(device):
    parameter, first, second = (device.send(np.zeros((2, 2), np.float32)) for _ in range(3))
    gradient = device.send(np.float32([[1, np.nan], [np.inf, 1]]))
    adam_step(parameter, gradient, first, second, 1, learning_rate=0.1)
    np.testing.assert_array_equal(np.isnan(device.fetch(parameter)), [[False, True], [True, False]])


def test_an_empty_batch_is_nothing_to_do(device):
    parameter, first, second = (device.send(np.zeros((0, 7), np.float32)) for _ in range(3))
    adam_step(parameter, parameter, first, second, 1, learning_rate=0.1)
    assert parameter.shape == (0, 7)


def test_boundary_says_what_is_wrong():
    parameter, first, second = (np.zeros((2, 4), np.float32) for _ in range(3))

    def call(parameter=parameter, gradient=parameter + 1, step=1, **options):
        adam_step(parameter, gradient, first, second, step, **{"learning_rate": 0.1, **options})

    with pytest.raises(ValueError, match=r"gradient must be float32 \[2, 4\].*got float32 \[2, 3\]"):
        call(gradient=np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"step must be 1 to \d+, got 0"):
        call(step=0)
    with pytest.raises(ValueError, match="step must be 1 or more in every row, got 0"):
        call(step=np.array([3, 0], np.int32))
    with pytest.raises(ValueError, match=r"learning_rate must be .*, got nan"):
        call(learning_rate=float("nan"))
    with pytest.raises(ValueError, match=r"learning_rate must be 0 or more in every row, got -1\.0"):
        call(learning_rate=np.float32([1, -1]))
    with pytest.raises(ValueError, match=r"learning_rate must be float32 \[B\] with B = 2"):
        call(learning_rate=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"beta2 must be .*, got 1\.0"):
        call(beta2=1.0)
    with pytest.raises(ValueError, match="updated in place and must be C-contiguous"):
        call(parameter=np.zeros((4, 2), np.float32).T)
    fixed = parameter.copy()
    fixed.setflags(write=False)
    with pytest.raises(ValueError, match="read-only; pass a copy"):
        call(parameter=fixed)
