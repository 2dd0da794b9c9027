"""Every kernel's cases on one scene."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import facewright_kernels as kernels
from benchmarks.kernels import rivals as programs
from benchmarks.kernels.camera_cases import make_camera_cases
from benchmarks.kernels.case import Case, LazyCase, assert_close, first64
from benchmarks.kernels.image_cases import make_image_cases
from benchmarks.kernels.rasterizer_cases import make_rasterizer_cases
from benchmarks.kernels.rivals import rivals
from benchmarks.kernels.scene import Scene
from benchmarks.kernels.surface_cases import make_surface_cases
from benchmarks.kernels.texture_cases import make_texture_cases
from facewright_kernels.adam_step import adam_step_reference


def make_cases(scene: Scene, nvdiffrast: kernels.RasterizerBackend | None) -> list[LazyCase]:
    """All cases, none of them built; beside nvdiffrast where it is installed."""
    return [
        *make_rasterizer_cases(scene, nvdiffrast),
        *make_camera_cases(scene),
        *make_surface_cases(scene),
        *make_texture_cases(scene),
        *make_image_cases(scene),
        LazyCase(f"adam_step {scene.batch} × 2²⁰ values", partial(_adam_step, scene)),
    ]


def _adam_step(scene: Scene) -> Case:
    """From moments as they are after some steps. Every call moves the state on; rivals make the first of
    these steps.
    """
    values, step, rate = 1 << 20, 7, 0.01
    parameter, gradient, first, second = state = _state(scene, values)

    def check() -> None:
        moved, given, m, v = (array.copy() for array in state)
        start, slope, mean, square = (first64(array) for array in state)
        expected = adam_step_reference(start, slope, mean, square, step, rate)
        kernels.adam_step(moved, given, m, v, step, learning_rate=rate)
        for got, wanted in zip((moved, m, v), expected, strict=True):
            assert_close(got[0], wanted, 1e-5)

    def call() -> Any:
        kernels.adam_step(parameter, gradient, first, second, step, learning_rate=rate)
        return parameter

    before = [array.copy() for array in state]

    def numpy() -> Any:
        given, slope, mean, square = before
        m = np.float32(0.9) * mean + np.float32(0.1) * slope
        v = np.float32(0.999) * square + np.float32(0.001) * slope * slope
        unbiased = np.sqrt(v / np.float32(1 - 0.999**step)) + np.float32(1e-8)
        return given - np.float32(rate) * (m / np.float32(1 - 0.9**step)) / unbiased

    return Case(
        call,
        check,
        7 * parameter.nbytes,
        rivals=rivals(scene, numpy, lambda torch: programs.adam(torch, before, step, rate)),
        result=lambda moved: moved.copy(),
        in_place=True,
    )


def _state(scene: Scene, values: int) -> tuple[Any, Any, Any, Any]:
    """Parameter 0 (so that all that is seen of it is the step), gradient and both moments, ``[B, values]``;
    no second moment is so small that its value's step hides the errors of the others.
    """
    gradient, first, second = (scene.noise(seed, scene.batch, values) for seed in (2, 3, 4))
    return scene.xp.zeros_like(gradient), gradient, first, 1 + second * second
