"""Errors in units of the domain, and gates that a wrong network does not pass."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from benchmarks.networks import parity as parity_benchmark
from benchmarks.networks.networks_report import parity_section
from benchmarks.run_conditions import RESULTS_VARIABLE
from facewright_export.network import Example, Input, Network
from facewright_export.network_export import export_network
from facewright_export.network_tables import network
from facewright_export.onnx.precision import Precision
from facewright_export.parity import parity
from facewright_export.parity.parity_gates import GateError, gate, judge, require_passed
from facewright_export.parity.parity_layers import LayerDeviation


def test_millimetres_are_the_largest_distance() -> None:
    reference = np.zeros((2, 4, 3))
    other = reference.copy()
    other[1, 2] = (0.003, 0.0, 0.004)
    assert parity.vertex_millimetres().error(reference, other) == pytest.approx(5.0)


def test_small_angles_are_exact() -> None:
    angle = np.radians(1e-6)
    a, b = np.array([[1.0, 0.0]]), 7 * np.array([[np.cos(angle), np.sin(angle)]])
    assert parity.angle_degrees().error(a, b) == pytest.approx(1e-6, rel=1e-6)


def test_delta_e_of_known_colours() -> None:
    """Black and white are 100 apart; sRGB red has L*a*b* (53.24, 80.09, 67.20)."""
    black, white = -np.ones((1, 3, 2, 2)), np.ones((1, 3, 2, 2))
    red = black.copy()
    red[:, 0] = 1
    measure = parity.albedo_delta_e()
    assert measure.error(black, white) == pytest.approx(100, abs=0.01)
    assert measure.error(black, red) == pytest.approx(np.linalg.norm([53.24, 80.09, 67.20]), abs=0.05)


def test_labels_count_pixels() -> None:
    labels = np.zeros((2, 2, 2))
    other = labels.copy()
    other[1, 0, 0] = 7
    assert parity.label_percent().error(labels, other) == 25


def test_values_that_are_not_finite_pass_no_gate() -> None:
    gates = {"EMBEDDING": gate(parity.angle_degrees(), 180, 180, 180)}
    good = {"EMBEDDING": np.ones((1, 4), np.float32)}
    bad = {"EMBEDDING": np.full((1, 4), np.nan, np.float32)}
    require_passed("recogniser", Precision.FP32, judge(gates, Precision.FP32, good, good))
    with pytest.raises(GateError, match="not finite"):
        require_passed("recogniser", Precision.FP32, judge(gates, Precision.FP32, good, bad))


class Overflowing(nn.Module):
    """Numbers that float16 cannot hold between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(8, 8, bias=False)
        self.down = nn.Linear(8, 8, bias=False)

    def forward(self, feature: Tensor) -> Tensor:
        """[B, 8] → [B, 8]."""
        return self.down(self.up(feature))


OVERFLOWING = Network(
    name="overflowing",
    build=Overflowing,
    load=Overflowing,
    files=("overflowing.pt",),
    inputs=(Input("FEATURE", (8,), Example.NORMAL),),
    gates={"IDENTITY": gate(parity.coefficient_sigma(), 0.1, 1, 10)},
    source="this test",
    seeded_scales={"up.weight": 3e4, "down.weight": 1e-4},
)


def test_a_network_that_overflows_is_a_failed_row_of_result_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path))
    monkeypatch.setattr(parity_benchmark, "NETWORKS", (OVERFLOWING,))
    monkeypatch.setattr("sys.argv", ["parity", "--precision", "fp16", "bf16"])
    assert parity_benchmark.main() == 1
    assert "FAILS: values that are not finite" in capsys.readouterr().out
    result = json.loads((tmp_path / "parity.json").read_text())
    narrow, wide = result["rows"]
    assert (narrow["precision"], narrow["failures"]) == ("fp16", ["values that are not finite"])
    assert [narrow[name] for name in ("cosine", "relative_l2", "largest", "in_unit")] == [None] * 4
    assert (wide["precision"], wide["failures"]) == ("bf16", [])
    text = parity_section(result)
    assert "| overflowing | fp16 | IDENTITY | – | – | – **fails**: values that are not finite | 1 σ |" in text
    assert "| overflowing | bf16 | IDENTITY | 0.99" in text


def test_a_row_of_an_earlier_run_is_judged_by_the_bounds_of_the_table() -> None:
    numbers = {"cosine": 1.0, "relative_l2": 1e-4, "largest": 1.0, "in_unit": 1.0, "unit": "σ"}
    earlier = {"network": "mica", "precision": "fp16", "tensor": "IDENTITY", **numbers}
    now = parity_benchmark.judged_now({**earlier, "allowed": 2.0, "failures": [], "commit": "0123456789ab"})
    allowed = network("mica").gates["IDENTITY"].bounds[Precision.FP16].in_unit
    assert (now["allowed"], now["failures"]) == (allowed, [f"1 σ > {allowed:g} σ"])
    assert now["commit"] == "0123456789ab"


def test_a_failing_gate_shows_every_tensor_and_names_the_worst() -> None:
    rng = np.random.default_rng(0)
    reference = {"VERTICES": rng.normal(size=(2, 5, 3)), "CODE": rng.normal(size=(2, 8))}
    other = {"VERTICES": reference["VERTICES"] + 1e-7, "CODE": reference["CODE"] * 1.2}
    gates = {
        "VERTICES": gate(parity.vertex_millimetres(), 0.01, 0.1, 1.0),
        "CODE": gate(parity.coefficient_sigma(), 1e-3, 1e-2, 1e-1),
    }
    results = judge(gates, Precision.FP32, reference, other)
    with pytest.raises(GateError, match=r"decoder in fp32 .*worst tensor is CODE") as caught:
        require_passed("decoder", Precision.FP32, results)
    said = str(caught.value)
    assert "VERTICES: cosine 1.000000" in said
    assert "relative L2 2.00e-01 > 0.0001" in said
    assert "σ > 0.001 σ" in said


def test_a_failing_gate_is_told_where_polygraphy_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "polygraphy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "polygraphy", None)
    with pytest.raises(GateError, match="worst tensor is IDENTITY") as caught:
        export_network(OVERFLOWING, OVERFLOWING.seeded(), Precision.FP16)
    said = str(caught.value)
    assert "FAILS: values that are not finite" in said
    assert "the layers where it comes from are not known: " in said
    assert "polygraphy" in said
    assert "scripts/setup --export" in said


def test_a_failing_gate_is_told_whatever_the_comparison_of_layers_raises() -> None:
    gates = {"EMBEDDING": gate(parity.angle_degrees(), 1, 1, 1)}
    good = {"EMBEDDING": np.array([[1.0, 0.0]])}
    bad = {"EMBEDDING": np.array([[0.0, 1.0]])}

    def layers() -> list[LayerDeviation]:
        raise MemoryError("40 GB for one tensor")

    with pytest.raises(GateError, match="not known: MemoryError: 40 GB for one tensor") as caught:
        require_passed("recogniser", Precision.FP16, judge(gates, Precision.FP16, good, bad), layers)
    assert isinstance(caught.value.__cause__, MemoryError)


def test_wider_precisions_have_tighter_bounds() -> None:
    made = gate(parity.angle_degrees(), 0.01, 0.5, 3.0)
    fp32, fp16, bf16 = (made.bounds[p] for p in (Precision.FP32, Precision.FP16, Precision.BF16))
    assert fp32.cosine > fp16.cosine > bf16.cosine
    assert fp32.relative_l2 < fp16.relative_l2 < bf16.relative_l2
    assert (fp32.in_unit, fp16.in_unit, bf16.in_unit) == (0.01, 0.5, 3.0)


def test_other_shapes_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"VERTICES is \[1, 3\], its reference \[1, 4\]"):
        parity.compare("VERTICES", np.zeros((1, 4)), np.zeros((1, 3)), parity.plain_difference())
