"""The kernel benchmark has a case for every kernel, times nothing that is wrong, and loses no row to a case
that fails; cases and parity table hold on a small scene.
"""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

import facewright_kernels
from benchmarks.kernels import __main__ as benchmark
from benchmarks.kernels.__main__ import main, measure, measure_each
from benchmarks.kernels.case import Case, LazyCase
from benchmarks.kernels.cases import make_cases
from benchmarks.kernels.kernels_report import kernels_section
from benchmarks.kernels.parity import find_nvdiffrast, parity_rows
from benchmarks.kernels.rasterizer_cases import make_rasterizer_cases
from benchmarks.kernels.scene import Scene, make_scene
from benchmarks.kernels.timing import CpuTimer
from benchmarks.run_conditions import RESULTS_VARIABLE, find_gpu
from facewright_kernels import AntialiasGradients, Raster
from facewright_kernels.rasterizer_backend import FacewrightRasterizer

#: Public functions that are no kernels: made once for each topology, layout or process.
_NO_KERNELS = {
    "make_edge_topology",
    "make_texel_map",
    "make_texel_readers",
    "make_vertex_triangles",
    "rasterizer_backend",
}


def _small(batch: int) -> Scene:
    return make_scene(np, batch, 48, columns=20, rows=14, texture_side=64)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return _small(2)


def _case(**changes) -> Case:
    fields = {"call": lambda: np.ones(3), "check": lambda: None, "bytes_moved": 10**6}
    return Case(**{**fields, **changes})


def _wrong() -> None:
    raise AssertionError("off by one")


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Runs cases and returns the result; the file on the disk must say the same."""
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path))

    def run(*cases: LazyCase) -> dict:
        result = {"rows": [], "failed": []}
        measure_each(cases, CpuTimer(runs=1), result)
        assert json.loads((tmp_path / "kernels.json").read_text()) == result
        return result

    return run


def _called_by(call) -> set[str]:
    """Names of the Python functions that a call runs."""
    names = set()
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, _: names.add(frame.f_code.co_name) if event == "call" else None)
    try:
        call()
    finally:
        sys.setprofile(before)
    return names


def test_every_kernel_has_a_case_that_calls_it(scene):
    public = {
        name for name in facewright_kernels.__all__ if inspect.isfunction(getattr(facewright_kernels, name))
    }
    cases = make_cases(scene, None)
    assert public >= _NO_KERNELS
    assert {case.kernel for case in cases} == public - _NO_KERNELS
    assert len({case.name for case in cases}) == len(cases)


@pytest.mark.parametrize("batch", [1, 2])
def test_cases_hold_beside_their_rivals_and_call_their_kernel(batch):
    """One image is compared with the NumPy programs, too."""
    scene = _small(batch)
    with_rivals = 0
    for lazy in make_cases(scene, None):
        case = lazy.build()
        assert lazy.kernel in _called_by(case.call), lazy.name
        row = measure(lazy.name, lazy.build(), CpuTimer(runs=1))
        assert case.bytes_moved > 1000, lazy.name
        with_rivals += bool(row["rivals_ms"])
    if batch == 1:
        assert with_rivals > 20


def test_a_right_result_is_timed_beside_a_copy_and_its_rivals():
    row = measure("sum of 3", _case(rivals={"numpy": lambda: np.ones(3) + 1e-6}), CpuTimer(runs=2))
    assert row["kernel"] == "sum of 3"
    assert row["copy_ms"] > 0
    assert set(row["rivals_ms"]) == {"numpy"}


@pytest.mark.parametrize(
    ("rival", "words"),
    [
        (np.full(3, 1.5), r"torch differs by up to 0\.5; by more than 0\.001 in 100 %"),
        (np.array([1, 1, np.nan]), r"in 33\.3 % of the values"),
        (np.ones(1), r"shape \(1,\) instead of \(3,\)"),
    ],
)
def test_a_wrong_rival_is_refused(rival, words):
    with pytest.raises(AssertionError, match=words):
        measure("sum", _case(rivals={"torch": lambda: rival}), CpuTimer(runs=1))


def test_few_values_may_differ_where_a_case_says_so():
    rival = np.ones(1000)
    rival[:2] = 0
    case = _case(call=lambda: np.ones(1000), rivals={"nvdiffrast": lambda: rival}, rival_outliers=2e-3)
    measure("edges", case, CpuTimer(runs=1))
    with pytest.raises(AssertionError, match=r"in 0\.2 % of the values, 0\.1 % may"):
        measure("edges", replace(case, rival_outliers=1e-3), CpuTimer(runs=1))


def test_a_case_that_fails_hides_no_other(measured):
    def broken() -> Case:
        raise RuntimeError("illegal address")

    result = measured(
        LazyCase("wrong 1", lambda: _case(check=_wrong)),
        LazyCase("broken 2", broken),
        LazyCase("right 3", _case),
    )
    assert result["failed"] == [
        {"kernel": "wrong 1", "error": "AssertionError: off by one"},
        {"kernel": "broken 2", "error": "RuntimeError: illegal address"},
    ]
    assert [row["kernel"] for row in result["rows"]] == ["right 3"]
    assert result["not_reached"] == []


def test_a_run_that_is_stopped_leaves_its_rows(monkeypatch, tmp_path):
    def stopped() -> Case:
        raise KeyboardInterrupt

    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path))
    cases = [LazyCase("first 1", _case), LazyCase("second 2", stopped), LazyCase("third 3", _case)]
    with pytest.raises(KeyboardInterrupt):
        measure_each(cases, CpuTimer(runs=1), {"rows": [], "failed": []})
    left = json.loads((tmp_path / "kernels.json").read_text())
    assert [row["kernel"] for row in left["rows"]] == ["first 1"]
    assert left["not_reached"] == ["second 2", "third 3"]
    left |= {"device": "cpu", "threads": 1, "nvdiffrast_parity": "not reached"}
    assert "Stopped before: second 2; third 3." in kernels_section(left)


def test_a_copy_in_place_and_one_into_another_array_take_time():
    timer = CpuTimer(runs=3)
    assert timer.copy_ms(8 << 20) > timer.copy_ms(8) >= 0
    assert timer.copy_ms(8 << 20, in_place=True) > timer.copy_ms(8, in_place=True) >= 0


class _EveryOtherRowMissing(FacewrightRasterizer):
    """A rasteriser that differs from ours: every other row of its images is empty, and it smooths nothing."""

    def rasterize(self, *arguments, **options) -> Raster:
        raster = super().rasterize(*arguments, **options)
        raster.triangle_id[:, ::2] = -1
        raster.depth[:, ::2] = 1
        return raster

    def antialias(self, image, *_):
        return image

    def antialias_vjp(self, *arguments) -> AntialiasGradients:
        return replace(super().antialias_vjp(*arguments), image=arguments[4])


def test_another_rasteriser_is_held_to_ours(scene):
    for lazy in make_rasterizer_cases(scene, FacewrightRasterizer()):
        assert set(measure(lazy.name, lazy.build(), CpuTimer(runs=1))["rivals_ms"]) >= {"nvdiffrast"}
    for lazy in make_rasterizer_cases(scene, _EveryOtherRowMissing()):
        if lazy.kernel in ("rasterize", "antialias", "antialias_vjp"):
            with pytest.raises(AssertionError, match="nvdiffrast differs"):
                measure(lazy.name, lazy.build(), CpuTimer(runs=1))


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


def test_the_whole_command_on_a_small_scene(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path))
    monkeypatch.setattr(benchmark, "make_scene", lambda *_: _small(1))
    cases = [LazyCase("right 1", _case), LazyCase("wrong 2", lambda: _case(check=_wrong))]
    monkeypatch.setattr(benchmark, "make_cases", lambda *_: cases)
    assert main([]) == 1
    result = json.loads((tmp_path / "kernels.json").read_text())
    assert (len(result["rows"]), len(result["failed"]), result["not_reached"]) == (1, 1, [])
    assert result["nvdiffrast_parity"] == "not run: nvdiffrast needs a GPU"
    assert "wrong 2" in kernels_section(result)
    assert "NOT TIMED: AssertionError: off by one" in capsys.readouterr().out


@pytest.mark.skipif(find_gpu() is not None, reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused(capsys):
    assert main(["--device", "cuda"]) == 2
    assert "needs an NVIDIA GPU and CuPy" in capsys.readouterr().err
