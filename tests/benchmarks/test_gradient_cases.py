"""The benchmark's cases of gradients, optimiser and displacement hold on a small scene."""

from __future__ import annotations

import numpy as np

from benchmarks.kernels.gradient_cases import make_gradient_cases
from benchmarks.kernels.scene import make_scene


def test_cases_hold_for_a_batch():
    cases = make_gradient_cases(make_scene(np, batch=2, side=48, columns=20, rows=14))
    assert len({case.name for case in cases}) == len(cases) > 10
    for case in cases:
        case.check()
        case.result(case.call())
        assert case.bytes_moved > 0
