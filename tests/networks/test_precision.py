"""A narrower file computes nearly the same; islands stay float32; what would overflow is refused by name."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn

from facewright_export.export_error import ExportError
from facewright_export.onnx.onnx_export import BF16_OPSET, export_onnx
from facewright_export.onnx.onnx_lint import lint
from facewright_export.onnx.precision import Narrowing, Precision, narrow
from facewright_export.parity.parity import run_onnx


class Normalised(nn.Module):
    """A convolution, then features of unit length: sums of squares that float16 cannot hold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, padding=1)
        self.norm = UnitLength()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.conv(nn.functional.interpolate(image, scale_factor=2, mode="bilinear"))
        return self.norm(features), features.argmax(dim=1, keepdim=True)


class UnitLength(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features * torch.rsqrt(features.square().sum(dim=1, keepdim=True) + 1e-10)


INPUTS = {"FACE_IMAGE": 100 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))}


@pytest.fixture(scope="module")
def models() -> dict[int, onnx.ModelProto]:
    torch.manual_seed(0)
    module = Normalised()
    return {
        opset: export_onnx(module, INPUTS, ["UNIT_FEATURES", "STRONGEST"], opset=opset)
        for opset in (20, BF16_OPSET)
    }


def outputs(model: onnx.ModelProto, precision: Precision) -> dict[str, np.ndarray]:
    return run_onnx(model, {name: tensor.numpy() for name, tensor in INPUTS.items()}, precision)


def types(model: onnx.ModelProto) -> dict[str, int]:
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}


@pytest.mark.parametrize(
    ("precision", "opset", "narrow_type", "least", "most"),
    [
        (Precision.FP16, 20, TensorProto.FLOAT16, 1e-5, 2e-3),
        (Precision.BF16, BF16_OPSET, TensorProto.BFLOAT16, 2e-4, 2e-2),
    ],
)
def test_narrow_files_round_and_stay_near(
    models: dict[int, onnx.ModelProto],
    precision: Precision,
    opset: int,
    narrow_type: int,
    least: float,
    most: float,
) -> None:
    narrowed = narrow(models[opset], Narrowing(precision, islands=("norm/*",)))
    exact = outputs(models[opset], Precision.FP32)["UNIT_FEATURES"]
    got = outputs(narrowed, precision)["UNIT_FEATURES"]
    error = np.linalg.norm(exact - got) / np.linalg.norm(exact)
    assert least < error < most, "float16 and bfloat16 round; nothing more, and not nothing"
    assert lint(narrowed) == []
    by_layer = {
        node.name: [types(narrowed).get(name) for name in node.output] for node in narrowed.graph.node
    }
    assert by_layer["conv/Conv"] == [narrow_type]
    assert all(kinds == [TensorProto.FLOAT] for name, kinds in by_layer.items() if name.startswith("norm/"))
    (kernel,) = (t for t in narrowed.graph.initializer if t.name == "conv.weight")
    assert kernel.data_type == narrow_type


class Loud(nn.Module):
    """Two convolutions, the first of which leaves float16's range and the second of which brings it back."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Conv2d(3, 3, 1, bias=False)
        self.down = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.up.weight.copy_(1e4 * torch.eye(3)[..., None, None])
            self.down.weight.copy_(1e-4 * torch.eye(3)[..., None, None])

    def forward(self, image: Tensor) -> Tensor:
        return self.down(self.up(image))


def test_float16_overflows_between_operators_as_on_a_gpu() -> None:
    narrowed = narrow(export_onnx(Loud(), INPUTS, ["IMAGE"], opset=20), Narrowing(Precision.FP16))
    image = INPUTS["FACE_IMAGE"].numpy()
    got = outputs(narrowed, Precision.FP16)["IMAGE"]
    overflows = np.abs(1e4 * image.astype(np.float16).astype(np.float32)) >= 65520
    assert 0.5 < overflows.mean() < 1
    # an infinity times the second kernel's zeros makes its pixel's other channels NaN
    np.testing.assert_array_equal(np.isfinite(got).all(axis=1), ~overflows.any(axis=1))


def test_every_float16_result_is_rounded_once() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(4)))
    narrowed = narrow(export_onnx(layers, INPUTS, ["IMAGE"], opset=20), Narrowing(Precision.FP16))
    wanted = INPUTS["FACE_IMAGE"].half().float()
    for layer in layers.half().float():
        wanted = layer(wanted).half().float()
    got = outputs(narrowed, Precision.FP16)["IMAGE"]
    same = got == wanted.detach().numpy()
    assert same.mean() > 0.9, "sums in another order round a few numbers the other way"


def test_types_at_the_border_are_the_contract(models: dict[int, onnx.ModelProto]) -> None:
    narrowed = narrow(models[20], Narrowing(Precision.FP16, ("norm/*",)))
    border = {
        value.name: value.type.tensor_type.elem_type
        for value in (*narrowed.graph.input, *narrowed.graph.output)
    }
    assert border == {
        "FACE_IMAGE": TensorProto.FLOAT,
        "UNIT_FEATURES": TensorProto.FLOAT,
        "STRONGEST": TensorProto.INT64,
    }
    asked = narrow(
        models[20], Narrowing(Precision.FP16, ("norm/*",), narrow_io=("UNIT_FEATURES", "FACE_IMAGE"))
    )
    border = {
        value.name: value.type.tensor_type.elem_type for value in (*asked.graph.input, *asked.graph.output)
    }
    assert border["FACE_IMAGE"] == border["UNIT_FEATURES"] == TensorProto.FLOAT16
    image = INPUTS["FACE_IMAGE"].numpy().astype(np.float16)
    assert run_onnx(asked, {"FACE_IMAGE": image})["UNIT_FEATURES"].dtype == np.float16


def test_a_lost_epsilon_is_refused_with_its_layer(models: dict[int, onnx.ModelProto]) -> None:
    with pytest.raises(ExportError, match=r"up to 1e-10, becomes 0 in fp16 \(name its layer \(norm/Add\)"):
        narrow(models[20], Narrowing(Precision.FP16))


def test_an_overflowing_constant_is_refused(models: dict[int, onnx.ModelProto]) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(models[20])
    (kernel,) = (t for t in model.graph.initializer if t.name == "conv.weight")
    kernel.CopyFrom(onnx.numpy_helper.from_array(1e6 * onnx.numpy_helper.to_array(kernel), "conv.weight"))
    with pytest.raises(ExportError, match=r"conv\.weight reaches .*conv/Conv"):
        narrow(model, Narrowing(Precision.FP16, ("norm/*",)))


def test_an_island_must_exist(models: dict[int, onnx.ModelProto]) -> None:
    with pytest.raises(ExportError, match=r"'demodulation/\*' names no layer"):
        narrow(models[20], Narrowing(Precision.FP16, ("demodulation/*",)))


def test_bfloat16_needs_a_new_opset(models: dict[int, onnx.ModelProto]) -> None:
    with pytest.raises(ExportError, match="opset 20 has no bfloat16"):
        narrow(models[20], Narrowing(Precision.BF16, ("norm/*",)))
