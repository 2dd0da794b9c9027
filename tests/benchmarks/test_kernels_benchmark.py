"""The kernel benchmark times nothing that is wrong, and its cases and parity table hold on a small scene."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.kernels.__main__ import main, measure, measure_each
from benchmarks.kernels.case import Case
from benchmarks.kernels.parity import find_nvdiffrast, parity_rows
from benchmarks.kernels.rasterizer_cases import make_rasterizer_cases
from benchmarks.kernels.scene import Scene, make_scene
from benchmarks.kernels.timing import CpuTimer
from benchmarks.run_conditions import find_gpu
from facewright_kernels import Raster
from facewright_kernels.rasterizer_backend import FacewrightRasterizer


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(np, batch=2, side=48, columns=20, rows=14)


def _case(**changes) -> Case:
    fields = {"name": "sum", "call": lambda: np.ones(3), "check": lambda: None, "bytes_moved": 10**6}
    return Case(**{**fields, **changes})


def test_a_right_result_is_timed_beside_a_copy_and_its_rivals():
    row = measure(_case(rivals={"numpy": lambda: np.ones(3) + 1e-6}), CpuTimer(runs=2))
    assert row["kernel"] == "sum"
    assert row["copy_ms"] > 0
    assert set(row["rivals_ms"]) == {"numpy"}


def test_a_wrong_kernel_and_a_wrong_rival_are_refused():
    def wrong() -> None:
        raise AssertionError("off by one")

    with pytest.raises(AssertionError, match="off by one"):
        measure(_case(check=wrong), CpuTimer(runs=1))
    with pytest.raises(AssertionError, match=r"sum: torch differs by 0\.5, more than 0\.001"):
        measure(_case(rivals={"torch": lambda: np.full(3, 1.5)}), CpuTimer(runs=1))
    rows, failed = measure_each([_case(check=wrong, name="bad"), _case()], CpuTimer(runs=1))
    assert failed == [{"kernel": "bad", "error": "AssertionError: off by one"}]
    assert [row["kernel"] for row in rows] == ["sum"]


def test_rasterizer_cases_hold_for_a_batch(scene):
    cases = make_rasterizer_cases(scene, None)
    assert len(cases) == 6
    for case in cases:
        case.check()
        assert case.bytes_moved > scene.side**2


class _EveryOtherRowMissing(FacewrightRasterizer):
    """A rasteriser that differs from ours: every other row of its images is empty."""

    def rasterize(self, *arguments, **options) -> Raster:
        raster = super().rasterize(*arguments, **options)
        raster.triangle_id[:, ::2] = -1
        return raster


def test_parity_is_exact_with_itself_and_counts_what_differs(scene):
    rows = parity_rows(scene, FacewrightRasterizer())
    assert len(rows) == 9
    assert all(row["largest_difference"] == 0 < row["largest_magnitude"] for row in rows)
    assert [row["other_triangle"] for row in rows[:2]] == [0, 0]
    rows = parity_rows(scene, _EveryOtherRowMissing())
    assert rows[0]["other_triangle"] > 100
    assert rows[0]["pixels"] == 2 * 48 * 48


def test_nvdiffrast_is_not_looked_for_on_a_cpu():
    assert find_nvdiffrast(np) == (None, "not run: nvdiffrast needs a GPU")


@pytest.mark.skipif(find_gpu() is not None, reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused(capsys):
    assert main(["--device", "cuda"]) == 2
    assert "needs an NVIDIA GPU and CuPy" in capsys.readouterr().err
