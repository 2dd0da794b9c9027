"""Each rule of the linter finds its operator, names the node, and says what to do; clean graphs pass."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facewright_export.onnx.onnx_lint import OnnxLintError, lint, require_clean

FLOAT = TensorProto.FLOAT


def graph(
    nodes: list[onnx.NodeProto],
    constants: dict[str, Any] | None = None,
    shape: tuple[Any, ...] = ("batch", 3, 8, 8),
    opset: int = 20,
    kind: int = FLOAT,
    output: tuple[Any, ...] = ("batch", 3, 8, 8),
    output_kind: int = FLOAT,
) -> onnx.ModelProto:
    """A graph from X to Y."""
    made = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("X", kind, shape)],
        [helper.make_tensor_value_info("Y", output_kind, output)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def node(op: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node called after a layer, giving Y."""
    return helper.make_node(op, list(inputs), ["Y"], f"decoder.3/{op}", **attributes)


SIZES = {"SIZES": np.array([1, 3, 16, 16], np.int64)}
KERNEL = {"KERNEL": np.ones((3, 3, 3, 3), np.float32)}

CASES: dict[str, tuple[onnx.ModelProto, str, str]] = {
    "cubic": (
        graph([node("Resize", "X", "", "", "SIZES", mode="cubic")], SIZES),
        "Resize mode cubic",
        "MatMul",
    ),
    "antialias": (
        graph([node("Resize", "X", "", "", "SIZES", mode="linear", antialias=1)], SIZES),
        "antialias",
        "MatMul",
    ),
    "affine grid": (
        graph([node("AffineGrid", "THETA", "SIZES")], SIZES | {"THETA": np.ones((1, 2, 3), np.float32)}),
        "AffineGrid has no TensorRT layer",
        "outside of the graph",
    ),
    "unique": (graph([node("Unique", "X")]), "Unique has no TensorRT layer", "outside of the graph"),
    "col2im": (graph([node("Col2Im", "X", "SIZES", "SIZES")], SIZES), "Col2Im", "ConvTranspose"),
    "volume sampling": (
        graph(
            [node("GridSample", "X", "GRID")],
            {"GRID": np.zeros((1, 2, 2, 2, 3), np.float32)},
            shape=("batch", 3, 8, 8, 8),
        ),
        "GridSample of rank 5",
        r"\[B, C, H, W\]",
    ),
    "scatter": (
        graph(
            [node("ScatterND", "X", "INDICES", "UPDATES", reduction="add")],
            {"INDICES": np.zeros((1, 4), np.int64), "UPDATES": np.zeros(1, np.float32)},
        ),
        "ScatterND with reduction add",
        "MatMul",
    ),
    "computed kernel": (
        graph(
            [
                helper.make_node("Mul", ["KERNEL", "X"], ["SCALED"], "decoder.3/Mul"),
                node("Conv", "X", "SCALED"),
            ],
            KERNEL,
            shape=("batch", 3, 3, 3),
        ),
        "Conv whose kernel is computed",
        "modulation",
    ),
    "computed size": (
        graph(
            [helper.make_node("Shape", ["X"], ["S"], "decoder.3/Shape"), node("Resize", "X", "", "", "S")],
        ),
        "size that is computed",
        "constant",
    ),
    "double": (
        graph([node("Cast", "X", to=TensorProto.DOUBLE)], kind=FLOAT),
        "Cast to double",
        "float32",
    ),
    "labels as bytes": (
        graph(
            [
                helper.make_node("ArgMax", ["X"], ["L"], "decoder.3/ArgMax"),
                node("Cast", "L", to=TensorProto.UINT8),
            ],
            output=(1, 3, 8, 8),
            output_kind=TensorProto.UINT8,
        ),
        "Cast between bytes and int64",
        "by way of float32",
    ),
    "bytes turned": (
        graph(
            [node("Transpose", "X", perm=[0, 3, 1, 2])], kind=TensorProto.UINT8, output_kind=TensorProto.UINT8
        ),
        "Transpose on bytes",
        "cast them to float32 first",
    ),
    "wrapping pad": (
        graph([node("Pad", "X", "PADS", mode="wrap")], {"PADS": np.zeros(8, np.int64)}),
        "Pad mode wrap",
        "reflect",
    ),
    "auto pad": (
        graph([node("Conv", "X", "KERNEL", auto_pad="SAME_UPPER")], KERNEL),
        "auto_pad",
        "write the pads out",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_finds_what_tensorrt_refuses(case: str) -> None:
    model, problem, mend = CASES[case]
    findings = [finding for finding in lint(model) if finding.where.startswith("decoder.3/")]
    assert len(findings) >= 1, lint(model)
    assert any(problem in f.problem and re.search(mend, f.mend) for f in findings), findings


def test_control_flow_is_named() -> None:
    one = helper.make_tensor_value_info("BODY", FLOAT, ("batch", 3, 8, 8))
    body = helper.make_graph([helper.make_node("Identity", ["X"], ["BODY"])], "body", [], [one])
    model = graph(
        [helper.make_node("If", ["C"], ["Y"], "decoder.3/If", then_branch=body, else_branch=body)],
        {"C": np.array(True)},
    )
    (finding,) = lint(model)
    assert (finding.where, "unroll" in finding.mend) == ("decoder.3/If", True)


def test_only_the_batch_is_free() -> None:
    free_width = lint(
        graph([node("Relu", "X")], shape=("batch", 3, 8, "width"), output=("batch", 3, 8, "width"))
    )
    assert {finding.where for finding in free_width} == {"X", "Y"}
    assert all("axis 3" in finding.problem and "width" in finding.problem for finding in free_width)
    fixed = lint(graph([node("Relu", "X")], shape=(1, 3, 8, 8), output=(1, 3, 8, 8)))
    assert [finding.problem for finding in fixed] == [
        "the batch of the input is fixed at 1",
        "the batch of the output is fixed at 1",
    ]


def test_new_opsets_and_other_domains_are_refused() -> None:
    newest = graph([node("Relu", "X")], opset=26)
    assert [finding.problem for finding in lint(newest)] == ["opset 26"]
    custom = graph([helper.make_node("Fancy", ["X"], ["Y"], "decoder.3/Fancy", domain="com.example")])
    custom.opset_import.append(helper.make_opsetid("com.example", 1))
    assert any("com.example" in finding.problem for finding in lint(custom))


def test_a_clean_graph_passes() -> None:
    model = graph(
        [
            helper.make_node("Conv", ["X", "KERNEL"], ["C"], "a/Conv", pads=[1, 1, 1, 1]),
            node("LeakyRelu", "C"),
        ],
        KERNEL,
    )
    assert lint(model) == []
    require_clean(model, "small")


def test_a_kernel_that_is_stored_in_half_precision_is_a_constant() -> None:
    cast = helper.make_node("Cast", ["KERNEL"], ["WIDE"], "a/Cast", to=FLOAT)
    convolution = node("Conv", "X", "WIDE", pads=[1, 1, 1, 1])
    assert lint(graph([cast, convolution], {"KERNEL": KERNEL["KERNEL"].astype(np.float16)})) == []


def test_the_error_shows_every_finding() -> None:
    model = graph([node("Resize", "X", "", "", "SIZES", mode="cubic", antialias=1)], SIZES)
    with pytest.raises(OnnxLintError, match=r"would refuse decoder, 2 finding\(s\)") as caught:
        require_clean(model, "decoder")
    assert "Resize mode cubic" in str(caught.value)
    assert "antialias" in str(caught.value)
