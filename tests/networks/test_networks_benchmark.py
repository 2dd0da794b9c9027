"""The networks benchmark times what is right, counts operations, and leaves out what takes too long."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.networks import __main__ as benchmark
from benchmarks.networks import cases
from benchmarks.networks.roofline import Ceiling, least_ms
from benchmarks.run_conditions import RESULTS_VARIABLE
from facewright_export.network import Network
from facewright_export.network_tables import network
from facewright_export.parity.parity_gates import GateError

CEILING = Ceiling(gflop_per_s=100.0, gb_per_s=10.0)


def test_rows_of_one_network() -> None:
    rows = cases.measure_network(network("identity_regressor"), (1, 2), "cpu")
    assert [(row["batch"], row["runner"]) for row in rows] == [
        (1, "ONNX Runtime"),
        (1, "torch eager"),
        (2, "ONNX Runtime"),
        (2, "torch eager"),
    ]
    # 3 layers of 512 x 512 and one of 512 x 14 * 512, a multiplication and an addition each
    gflop = 2 * (3 * 512 * 512 + 512 * 14 * 512) / 1e9
    assert rows[0]["gflop"] == pytest.approx(gflop, abs=1e-4)
    assert rows[2]["gflop"] == pytest.approx(2 * gflop, abs=1e-4)
    assert all(row["ms"] > 0 for row in rows)
    assert rows[0]["weights_gb"] == pytest.approx(4 * 4.46e-3, rel=0.01)


def test_what_takes_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "LONGEST_RUN_S", 0.0)
    rows = cases.measure_network(network("identity_regressor"), (1, 2), "cpu")
    assert [row["batch"] for row in rows] == [1, 1, 2]
    assert rows[2]["left_out"].startswith("a run would take about 0 s")
    assert "ms" not in rows[2]


def test_what_needs_too_much_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, gigabytes in (("resident_gb", 1.0), ("peak_gb", 3.0), ("available_gb", 10.0)):
        monkeypatch.setattr(cases, name, lambda gigabytes=gigabytes: gigabytes)
    rows = cases.measure_network(network("identity_regressor"), (1, 4, 32), "cpu")
    assert [row["batch"] for row in rows] == [1, 1, 4, 4, 32]
    # 0.5 GB each at batch 4, the last that was run
    assert rows[4]["left_out"] == "a run would need about 16 GB"


def test_nothing_wrong_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module changes after its graph was exported."""
    row = network("identity_regressor")
    build_graph = cases.build_graph

    def then_broken(row: Network, module: nn.Module, precision: object) -> object:
        model = build_graph(row, module, precision)  # type: ignore[arg-type]
        with torch.no_grad():
            next(module.parameters()).mul_(1.5)
        return model

    monkeypatch.setattr(cases, "build_graph", then_broken)
    with pytest.raises(GateError, match="worst tensor is W_PLUS"):
        cases.measure_network(row, (1,), "cpu")


def test_the_roofline_is_the_slower_of_two() -> None:
    assert CEILING.milliseconds(gflop=1.0, gigabytes=0.001) == pytest.approx(10.0)
    assert CEILING.milliseconds(gflop=0.001, gigabytes=1.0) == pytest.approx(100.0)


def test_the_first_run_is_not_counted() -> None:
    calls = []
    assert least_ms(lambda: calls.append(1), "cpu", seconds=0.0) >= 0
    assert len(calls) == 3


def test_the_better_of_two_ceilings() -> None:
    assert CEILING.larger(Ceiling(90.0, 12.0)) == Ceiling(100.0, 12.0)


def test_rows_that_are_not_measured_again_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path))
    monkeypatch.setattr(benchmark, "measure_ceiling", lambda _device: CEILING)
    for name, batch in (("identity_regressor", "2"), ("identity_regressor", "1"), ("shape_decoder", "1")):
        monkeypatch.setattr(sys, "argv", ["networks", "--network", name, "--batch", batch])
        assert benchmark.main() == 0
    result = json.loads((tmp_path / "networks.json").read_text())
    assert [(row["network"], row["batch"]) for row in result["rows"]] == (
        [("shape_decoder", 1)] * 2 + [("identity_regressor", 1)] * 2 + [("identity_regressor", 2)] * 2
    )
    # 4.46 million weights at 10 GB/s take longer than the operations at 100 GFLOP/s
    assert result["rows"][2]["roofline_ms"] == pytest.approx(1.8, abs=0.1)
    assert "shape_decoder" not in result["not_run"]
    assert "arcface" in result["not_run"]
