"""A torch module becomes a graph with a free batch, constant kernels, and names that are words."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from facewright_export.export_error import ExportError
from facewright_export.onnx.graph_surgery import PixelNormalisation, fuse_pixel_normalisation
from facewright_export.onnx.onnx_export import export_onnx
from facewright_export.parity.parity import run_onnx


class SmallNetwork(nn.Module):
    """What published networks are made of: batch normalisation, a scaled kernel, an epsilon of 1e-8."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.LeakyReLU(0.2))
        self.kernel = nn.Parameter(torch.randn(6, 6, 3, 3))
        self.head = nn.Linear(6, 4)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.relu(nn.functional.conv2d(self.stem(image), self.kernel * 0.1, padding=1))
        scale = torch.rsqrt(features.square().sum(dim=1, keepdim=True) + 1e-8)
        return self.head((features * scale).mean(dim=(2, 3))), features


@pytest.fixture(scope="module")
def network() -> SmallNetwork:
    torch.manual_seed(0)
    made = SmallNetwork().eval()
    made.stem[1].running_mean.uniform_(-1, 1)
    made.stem[1].running_var.uniform_(0.5, 2)
    return made


@pytest.fixture(scope="module")
def model(network: SmallNetwork) -> onnx.ModelProto:
    return export_onnx(network, {"FACE_IMAGE": torch.randn(2, 3, 8, 8)}, ["SCORES", "FEATURES"])


@pytest.mark.parametrize("batch", [1, 3])
def test_any_batch_gives_what_torch_gives(network: SmallNetwork, model: onnx.ModelProto, batch: int) -> None:
    image = torch.randn(batch, 3, 8, 8)
    with torch.no_grad():
        scores, features = network(image)
    got = run_onnx(model, {"FACE_IMAGE": image.numpy()})
    np.testing.assert_allclose(got["SCORES"], scores.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got["FEATURES"], features.numpy(), rtol=1e-4, atol=1e-5)


def test_an_epsilon_survives(model: onnx.ModelProto) -> None:
    """onnxscript's default optimiser takes `x + 1e-8` for `x`; where x is 0, that is 0 / 0."""
    constants = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    assert any(c.size == 1 and c.reshape(-1)[0] == np.float32(1e-8) for c in constants)


def test_kernels_are_constants_and_normalisation_is_folded(model: onnx.ModelProto) -> None:
    weights = {tensor.name for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 2
    assert all(node.input[1] in weights for node in convolutions)
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_nodes_are_named_after_layers_and_no_path_is_left(model: onnx.ModelProto) -> None:
    names = {node.name for node in model.graph.node}
    assert {"stem.1/Conv", "stem.2/LeakyRelu", "head/Gemm"} <= names  # stem.1 is folded into its convolution
    assert len(names) == len(model.graph.node)
    written = model.SerializeToString()
    assert b".py" not in written
    assert b"site-packages" not in written


def test_names_must_be_words(network: SmallNetwork) -> None:
    with pytest.raises(ExportError, match="'image' is not words in capitals"):
        export_onnx(network, {"image": torch.randn(2, 3, 8, 8)}, ["SCORES", "FEATURES"])


def test_a_batch_of_one_is_refused(network: SmallNetwork) -> None:
    with pytest.raises(ExportError, match=r"FACE_IMAGE is \[1, 3, 8, 8\]"):
        export_onnx(network, {"FACE_IMAGE": torch.randn(1, 3, 8, 8)}, ["SCORES", "FEATURES"])


def test_an_output_without_a_batch_is_refused() -> None:
    class Mean(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image.mean(dim=0)

    with pytest.raises(ExportError, match="MEAN has no free batch on axis 0"):
        export_onnx(Mean(), {"FACE_IMAGE": torch.randn(2, 3)}, ["MEAN"])


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_pixels_are_normalised_inside(network: SmallNetwork, model: onnx.ModelProto, order: str) -> None:
    normalisation = PixelNormalisation((127.5, 120.0, 110.0), (128.0, 127.5, 60.0), order)
    fused = fuse_pixel_normalisation(model, "FACE_IMAGE", normalisation)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    got = run_onnx(fused, {"FACE_IMAGE": pixels})["SCORES"]
    image = pixels[..., ::-1] if order == "BGR" else pixels
    by_hand = (image.astype(np.float64) - normalisation.mean) / normalisation.deviation
    with torch.no_grad():
        wanted, _ = network(torch.from_numpy(by_hand.transpose(0, 3, 1, 2).astype(np.float32)))
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        normalisation.apply(pixels), by_hand.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6
    )


def test_grey_is_luma() -> None:
    grey = PixelNormalisation((0.0,), (255.0,), "GRAY")
    pixels = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]]], np.uint8)
    np.testing.assert_allclose(grey.apply(pixels)[0, 0, 0], [0.299, 0.587, 0.114, 1.0], atol=1e-6)
