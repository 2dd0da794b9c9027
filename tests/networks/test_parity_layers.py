"""The layer of a narrow file where its error comes from is found by name."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from facewright.cli import main
from facewright_export.onnx.onnx_export import export_onnx
from facewright_export.onnx.precision import Narrowing, Precision, narrow
from facewright_export.parity import parity_layers
from facewright_export.parity.parity_layers import LayerDeviation, layer_deviations, telling_layers


class Cancelling(nn.Module):
    """The small difference of two large numbers, then a layer that is as exact as any."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(16, 32)
        self.last = nn.Linear(32, 4)

    def forward(self, feature: Tensor) -> Tensor:
        wide = self.wide(feature)
        return self.last((wide + 100) - 100)


FEATURE = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def cancelling() -> onnx.ModelProto:
    torch.manual_seed(0)
    return export_onnx(Cancelling(), {"FEATURE": FEATURE}, ["IDENTITY"], opset=20)


def deviations(model: onnx.ModelProto, islands: tuple[str, ...] = ()) -> dict[str, LayerDeviation]:
    narrowed = narrow(model, Narrowing(Precision.FP16, islands))
    rows = layer_deviations(model, narrowed, Precision.FP16, {"FEATURE": FEATURE.numpy()})
    return {row.layer: row for row in rows}


def test_the_layer_that_loses_the_digits_is_found(cancelling: onnx.ModelProto) -> None:
    rows = deviations(cancelling)
    assert list(rows) == ["wide/Gemm", "graph/Add", "graph/Sub", "last/Gemm"]
    lossy = max(rows.values(), key=lambda row: row.growth)
    assert lossy.layer == "graph/Sub"
    assert lossy.inherited == rows["graph/Add"].relative_l2 < 2**-11
    assert lossy.relative_l2 > 10 * rows["wide/Gemm"].relative_l2 > 0
    assert rows["last/Gemm"].growth < 2, "it passes on what it is given"
    mended = deviations(cancelling, islands=("graph/*",))
    assert mended["graph/Sub"].relative_l2 < 2 * rows["wide/Gemm"].relative_l2


def test_the_first_layers_error_is_that_of_its_roundings(cancelling: onnx.ModelProto) -> None:
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in cancelling.graph.initializer}
    exact = FEATURE.numpy() @ constants["wide.weight"].T + constants["wide.bias"]
    half = {name: array.astype(np.float16).astype(np.float32) for name, array in constants.items()}
    feature = FEATURE.numpy().astype(np.float16).astype(np.float32)
    rounded = (feature @ half["wide.weight"].T + half["wide.bias"]).astype(np.float16)
    expected = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert deviations(cancelling)["wide/Gemm"].relative_l2 == pytest.approx(expected, rel=1e-2)


def test_large_graphs_are_compared_in_groups(
    cancelling: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = deviations(cancelling)
    sizes = parity_layers._tensor_bytes(cancelling, {"FEATURE": FEATURE.numpy()})
    assert sorted(sizes.values()) == [2 * 4 * 4, *[2 * 32 * 4] * 3]
    monkeypatch.setattr(parity_layers, "_BYTES_AT_ONCE", 2 * 32 * 4)
    assert len(list(parity_layers._groups(cancelling, {"FEATURE": FEATURE.numpy()}))) == 4
    assert deviations(cancelling) == at_once


def test_what_is_told_is_where_errors_begin_and_not_where_they_pass() -> None:
    nan = math.nan
    rows = [
        LayerDeviation("rounds", 3e-4, 0.0),
        LayerDeviation("grows", 3e-2, 3e-4),
        LayerDeviation("passes", 2e-2, 3e-2),
        LayerDeviation("is worst", 4e-2, 3.9e-2),
        LayerDeviation("overflows", nan, 4e-2),
        LayerDeviation("passes that", nan, nan),
    ]
    assert [row.layer for row in telling_layers(rows)] == ["rounds", "grows", "is worst", "overflows"]
    assert [row.layer for row in telling_layers(rows, count=3)] == ["grows", "is worst", "overflows"]


def test_the_command_tells_layers_and_which_networks_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ("--network", "identity_regressor", "--precision", "fp32", "bf16", "--layers")
    assert main(["parity", "--pipeline", "normalized", *chosen]) == 0
    said = capsys.readouterr().out
    assert said.count("identity_regressor in bf16 beside fp32") == said.count("identity_regressor") == 1
    assert "layers.0/Gemm" in said
    assert main(["parity", "--pipeline", "twin", *chosen]) == 1
    assert "there is no network identity_regressor" in (said := capsys.readouterr().err)
    assert "one of: light_cnn, shape_decoder" in said


def test_a_float32_file_has_no_deviating_layers_to_tell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", "--network", "identity_regressor", "--precision", "fp32", "--layers"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "none of these networks has one in --precision fp32" in said.err
    assert "mend: add --precision fp16 or bf16" in said.err
