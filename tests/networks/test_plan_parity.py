"""What `facewright build --check` does with an engine; ONNX Runtime stands in for TensorRT here."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from facewright.cli import main
from facewright.engines.onnx_engine import OnnxEngine
from facewright_export.export_error import ExportError
from facewright_export.network_export import export_network
from facewright_export.network_tables import network
from facewright_export.onnx.network_metadata import NetworkMetadata, write_metadata
from facewright_export.onnx.precision import Precision
from facewright_export.parity.parity_gates import GateError
from facewright_export.tensorrt.plan_parity import check_plan


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    row = network("identity_regressor")
    path = tmp_path_factory.mktemp("repository") / "model.onnx"
    onnx.save(export_network(row, row.seeded(), Precision.FP16).model, path)
    return path


def test_an_engine_that_computes_the_same_passes(exported: Path) -> None:
    (result,) = check_plan(exported, OnnxEngine(exported))
    assert result.parity.tensor == "W_PLUS"
    assert 0 < result.parity.relative_l2 < 1e-3, "ONNX Runtime rounds less between operators than the gate"
    assert result.failures == ()


def test_an_engine_of_other_weights_is_refused(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    bias = next(t for t in model.graph.initializer if t.name.endswith("layers.6.bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(1 + onnx.numpy_helper.to_array(bias), bias.name))
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(GateError, match=r"the plan of identity_regressor in fp16 .*worst tensor is W_PLUS"):
        check_plan(exported, OnnxEngine(tmp_path / "other.onnx"))


def test_a_network_without_a_row_is_told(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    write_metadata(model, NetworkMetadata("older_network", "fp16", (1, 1, 1)))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="has no network older_network"):
        check_plan(tmp_path / "model.onnx", OnnxEngine(exported))


@pytest.mark.parametrize("arguments", [(), ("repository", "--strip"), ("repository", "--restore")])
def test_what_cannot_be_checked_is_wrong_usage(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", *arguments, "--check"]) == 2
    assert "--check needs a REPOSITORY" in capsys.readouterr().err
