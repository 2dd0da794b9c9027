"""Engines: named arrays in and out, and no silent fallback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, save_model

from facewright.engine import OnnxEngine
from facewright.errors import FacewrightError
from facewright_client.contract import ErrorCode


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """SUM = A + B, [batch, 3], and DIFFERENCE = A - B."""
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3])
        for name in ("A", "B", "SUM", "DIFFERENCE")
    }
    nodes = [
        helper.make_node("Sub", ["A", "B"], ["DIFFERENCE"]),
        helper.make_node("Add", ["A", "B"], ["SUM"]),
    ]
    graph = helper.make_graph(
        nodes, "arithmetic", [values["A"], values["B"]], [values["SUM"], values["DIFFERENCE"]]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save_model(model, str(tmp_path / "arithmetic.onnx"))
    return tmp_path / "arithmetic.onnx"


def test_runs_by_name(network: Path) -> None:
    engine = OnnxEngine(network)
    a = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    b = 10 * a
    outputs = engine.run({"B": b, "A": a})
    np.testing.assert_array_equal(outputs["SUM"], a + b)
    np.testing.assert_array_equal(outputs["DIFFERENCE"], a - b)
    assert {name: str(spec) for name, spec in engine.inputs.items()} == {
        "A": "float32[?, 3]",
        "B": "float32[?, 3]",
    }
    assert list(engine.outputs) == ["SUM", "DIFFERENCE"]


def test_takes_arrays_that_are_not_contiguous(network: Path) -> None:
    a = np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2]
    np.testing.assert_array_equal(OnnxEngine(network).run({"A": a, "B": a})["SUM"], 2 * a)


@pytest.mark.parametrize(
    ("a", "words"),
    [
        (np.zeros((2, 4), np.float32), r"input A must be float32\[\?, 3\], got float32\[2, 4\]"),
        (np.zeros((2, 3), np.float64), r"input A must be float32\[\?, 3\], got float64\[2, 3\]"),
        (np.zeros(3, np.float32), r"got float32\[3\]"),
    ],
)
def test_wrong_inputs_are_named(network: Path, a: npt.NDArray[Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        OnnxEngine(network).run({"A": a, "B": np.zeros((2, 3), np.float32)})


def test_missing_and_unknown_inputs_are_named(network: Path) -> None:
    with pytest.raises(ValueError, match=r"takes \['A', 'B'\], got \['A', 'C'\]"):
        OnnxEngine(network).run({"A": np.zeros((1, 3), np.float32), "C": np.zeros((1, 3), np.float32)})


def _buffers(batch: int = 2) -> dict[str, npt.NDArray[np.float32]]:
    return {name: np.zeros((batch, 3), np.float32) for name in ("A", "B", "SUM", "DIFFERENCE")}


def test_bound_buffers_are_read_and_overwritten_at_every_run(network: Path) -> None:
    buffers = _buffers()
    run = OnnxEngine(network).bind(buffers)
    for value in (1, 5):
        buffers["A"][...] = value
        buffers["B"][0] = 10 * value
        run()
        np.testing.assert_array_equal(buffers["SUM"], buffers["A"] + buffers["B"])
        np.testing.assert_array_equal(buffers["DIFFERENCE"], buffers["A"] - buffers["B"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"A": np.zeros((2, 4), np.float32)},
            r"A must be C-contiguous float32\[\?, 3\], got float32\[2, 4\]",
        ),
        ({"SUM": np.zeros((2, 6), np.float32)[:, ::2]}, r"SUM must be C-contiguous.*strides \(24, 8\)"),
        ({"C": np.zeros((2, 3), np.float32)}, r"binds \['A', 'B', 'DIFFERENCE', 'SUM'\], got"),
    ],
)
def test_wrong_buffers_are_named(network: Path, change: dict[str, npt.NDArray[Any]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        OnnxEngine(network).bind(_buffers() | change)


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this machine has CUDA")
def test_no_silent_fallback_to_the_cpu(network: Path) -> None:
    with pytest.raises(FacewrightError, match=r"is to run on cuda, but.*onnxruntime-gpu") as caught:
        OnnxEngine(network, device="cuda")
    assert caught.value.code == ErrorCode.ENGINE_MISMATCH


def test_a_damaged_network_names_the_mend(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"\x08\x08 not a network")
    with pytest.raises(FacewrightError, match=r"cannot load.*facewright_export\.open_assets") as caught:
        OnnxEngine(damaged)
    assert caught.value.code == ErrorCode.ENGINE_MISMATCH
