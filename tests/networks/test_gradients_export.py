"""Exported gradient graphs as refinement loads and runs them, against autograd."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from facewright.engines.onnx_engine import OnnxEngine
from facewright.refine.networks import RefinementNetworks, load_refinement_networks
from facewright_export.export_error import ExportError
from facewright_export.gradients.example_images import smooth_images
from facewright_export.gradients.export_with_gradient import GradientNames, export_with_gradient, write_onnx
from facewright_export.gradients.half_arithmetic import HalfArithmetic
from facewright_export.gradients.joint_graph import trace_losses_with_gradient
from facewright_export.gradients.parity import generator_parity, loss_parity
from facewright_export.gradients.refinement_export import (
    HALF_GRADIENT_SCALE,
    export_generator,
    export_image_loss,
)
from facewright_export.gradients.refinement_functions import (
    IdentityLoss,
    PerceptualLoss,
    UvMapGenerator,
    window_resampling,
)
from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Synthesis
from facewright_export.open_normalized.perceptual import OpenPerceptual
from facewright_export.parity.parity_gates import GateError

SIZE = 32
LATENT = (4, 512)


class SmallEmbedding(nn.Module):
    """The kinds of layers that InceptionResnetV1 has, once each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(8, eps=0.001)
        self.branch = nn.Conv2d(8, 8, (1, 7), padding=(0, 3))
        self.last_linear = nn.Linear(16, 12, bias=False)
        self.last_bn = nn.BatchNorm1d(12, eps=0.001)
        for norm in (self.bn, self.last_bn):
            nn.init.uniform_(norm.running_mean, -0.2, 0.2)
            nn.init.uniform_(norm.running_var, 0.5, 2)

    def forward(self, image: Tensor) -> Tensor:
        features = functional.relu(self.bn(self.conv(image)))
        features = functional.max_pool2d(features, 3, stride=2)
        features = torch.cat([features, functional.relu(features + 0.2 * self.branch(features))], dim=1)
        return functional.normalize(self.last_bn(self.last_linear(features.mean(dim=(2, 3)))), dim=1)


@pytest.fixture(scope="module")
def synthesis() -> nn.Module:
    torch.manual_seed(0)
    return StyleGan2Synthesis(GeneratorLayout(8, output_channels=6, largest_width=8, noise=False)).eval()


@pytest.fixture(scope="module")
def perceptual() -> PerceptualLoss:
    return PerceptualLoss(OpenPerceptual())


@pytest.fixture(scope="module")
def embedding() -> nn.Module:
    torch.manual_seed(0)
    return SmallEmbedding().eval()


@pytest.fixture(scope="module")
def identity(embedding: nn.Module) -> IdentityLoss:
    return IdentityLoss(embedding, image_size=SIZE, network_size=24)


@pytest.fixture(scope="module")
def networks(
    synthesis: nn.Module,
    perceptual: PerceptualLoss,
    identity: IdentityLoss,
    tmp_path_factory: pytest.TempPathFactory,
) -> RefinementNetworks:
    folder = tmp_path_factory.mktemp("networks")
    export_generator(UvMapGenerator(synthesis), LATENT, folder)
    export_image_loss("perceptual", perceptual, SIZE, folder)
    export_image_loss("identity", identity, SIZE, folder)
    return load_refinement_networks(folder, OnnxEngine)


def _close(found: np.ndarray, expected: Tensor, tolerance: float) -> None:
    assert np.linalg.norm(found - expected.numpy()) <= tolerance * np.linalg.norm(expected.numpy())


@pytest.mark.parametrize("batch", [1, 3])
def test_generator(networks: RefinementNetworks, synthesis: nn.Module, batch: int) -> None:
    codes, grad_maps = torch.randn(batch, *LATENT), torch.randn(batch, 6, 8, 8)
    maps, pull_back = torch.func.vjp(UvMapGenerator(synthesis), codes)
    arrays = {"W_PLUS": codes.numpy(), "GRAD_UV_MAPS": grad_maps.numpy()}
    for engine in (networks.generator.forward, networks.generator.backward):
        arrays |= engine.run({name: arrays[name] for name in engine.inputs})
    _close(arrays["UV_MAPS"], maps, 1e-5)
    _close(arrays["GRAD_W_PLUS"], pull_back(grad_maps)[0], 1e-4)
    assert networks.generator.latent_shape == LATENT
    assert networks.generator.map_size == 8


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", ["perceptual", "identity"])
def test_image_losses(
    networks: RefinementNetworks, name: str, batch: int, request: pytest.FixtureRequest
) -> None:
    loss: PerceptualLoss | IdentityLoss = request.getfixturevalue(name)
    image, photo = smooth_images("a", batch, SIZE), smooth_images("b", batch, SIZE)
    network = getattr(networks, name)
    targets = network.targets.run({"IMAGE": photo.numpy()})
    found = network.loss.run({"IMAGE": image.numpy(), **targets})
    expected, pull_back = torch.func.vjp(lambda x: loss(x, *loss.targets(photo)), image)
    _close(found["LOSS"], expected, 1e-5)
    _close(found["GRAD_IMAGE"], pull_back(torch.ones(batch))[0], 1e-4)
    same = network.loss.run({"IMAGE": photo.numpy(), **targets})
    assert np.abs(same["LOSS"]).max() < 1e-6


def test_identity_is_the_embedding_network_on_the_middle_of_the_image(
    embedding: nn.Module, identity: IdentityLoss
) -> None:
    image, photo = smooth_images("a", 2, SIZE), smooth_images("b", 2, SIZE)
    whole = IdentityLoss(embedding, image_size=SIZE, network_size=SIZE, window=1.0)
    scaled = ((image * 255 - 127.5) / 128, (photo * 255 - 127.5) / 128)
    cosine = functional.cosine_similarity(embedding(scaled[0]), embedding(scaled[1]))
    torch.testing.assert_close(whole(image, *whole.targets(photo)), 1 - cosine, rtol=1e-4, atol=1e-5)

    edited = image.clone()
    edited[:, :, :4] = 0  # outside of the window
    torch.testing.assert_close(identity.targets(edited), identity.targets(image))


def test_perceptual_is_lpips(perceptual: PerceptualLoss) -> None:
    image, photo = smooth_images("a", 2, SIZE), smooth_images("b", 2, SIZE)
    expected = OpenPerceptual()(image * 2 - 1, photo * 2 - 1)
    torch.testing.assert_close(perceptual(image, *perceptual.targets(photo)), expected)


def test_resampling_of_a_window() -> None:
    np.testing.assert_allclose(window_resampling(8, 8, 1.0), np.eye(8))
    ramp = np.arange(100) + 0.5
    # A window of 40 pixels in the middle, to 20: pixel pairs' centres.
    np.testing.assert_allclose(window_resampling(100, 20, 0.4) @ ramp, 30 + 2 * np.arange(20) + 1, rtol=1e-6)
    np.testing.assert_allclose(window_resampling(256, 160, 0.55).sum(axis=1), 1, rtol=1e-6)


def test_gradients_keep_their_bounds_in_both_precisions(synthesis: nn.Module, embedding: nn.Module) -> None:
    halves = [IdentityLoss(embedding, SIZE, 24, precision=p) for p in (torch.float32, torch.float16)]
    rows = [*generator_parity(synthesis, LATENT), *loss_parity("identity", halves[0], halves[1], SIZE)]
    assert {(row.network, row.precision) for row in rows} == {
        ("generator", "fp32"),
        ("generator", "fp16"),
        ("identity", "fp32"),
        ("identity", "fp16"),
        ("identity, split", "fp32"),
    }
    assert all(row.within_bounds for row in rows), rows
    # Rounding to half precision must show, or it was not half precision.
    assert min(row.value_relative_l2 for row in rows if row.precision == "fp16") > 1e-5


def test_perceptual_in_half_precision_is_finite_where_all_features_vanish() -> None:
    dark = OpenPerceptual()
    for layer in dark.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.bias, -0.3)
    loss = PerceptualLoss(dark, torch.float16)
    image, photo = smooth_images("a", 2, SIZE), smooth_images("b", 2, SIZE)
    targets = loss.targets(photo)
    assert (targets[0].abs().sum(dim=1) == 0).any()
    graph = trace_losses_with_gradient(loss, [image, *targets], 0, HALF_GRADIENT_SCALE)
    losses, gradient = HalfArithmetic(graph).run(image, *targets)
    assert losses.isfinite().all()
    assert gradient.isfinite().all()


def test_files_name_no_folder_of_this_machine(tmp_path: Path) -> None:
    graphs = export_with_gradient(
        lambda x: (torch.tanh(x),),
        [torch.zeros(2, 3)],
        ["X"],
        GradientNames(("X",), ("Y",)),
        tmp_path / "tanh",
    )
    for path in (graphs.forward, graphs.backward):
        contents = path.read_bytes()
        assert b"/site-packages" not in contents
        assert str(Path(__file__).parent).encode() not in contents


def test_a_generator_whose_gradient_is_not_autograds_is_not_exported(
    synthesis: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_files(monkeypatch, "generator_backward", "GRAD_W_PLUS")
    with pytest.raises(GateError, match=r"generator in fp32 .*worst tensor is GRAD_W_PLUS") as caught:
        export_generator(UvMapGenerator(synthesis), LATENT, tmp_path)
    assert "GRAD_W_PLUS: cosine 1.000000, relative L2 1.00e-02" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_whose_gradient_is_not_autograds_is_not_exported(
    identity: IdentityLoss, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_files(monkeypatch, "identity_loss", "GRAD_IMAGE")
    with pytest.raises(GateError, match=r"identity in fp32 .*worst tensor is GRAD_IMAGE") as caught:
        export_image_loss("identity", identity, SIZE, tmp_path)
    assert "GRAD_IMAGE: cosine 1.000000, relative L2 1.00e-02" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def _break_files(monkeypatch: pytest.MonkeyPatch, stem: str, tensor: str) -> None:
    """Makes an output of the files of this name too long by a hundredth: its cosine stays what it was."""

    def write_broken(
        graph: fx.GraphModule, inputs: Sequence[str], outputs: Sequence[str], path: Path
    ) -> None:
        write_onnx(graph, inputs, outputs, path)
        if path.stem == stem:
            _scale_output(path, tensor, 1.01)

    monkeypatch.setattr("facewright_export.gradients.export_with_gradient.write_onnx", write_broken)


def _scale_output(path: Path, name: str, factor: float) -> None:
    model = onnx.load(path)
    for node in model.graph.node:
        node.output[:] = [f"{name}_right" if output == name else output for output in node.output]
        node.input[:] = [f"{name}_right" if given == name else given for given in node.input]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(factor), "factor"))
    model.graph.node.append(onnx.helper.make_node("Mul", [f"{name}_right", "factor"], [name]))
    onnx.save(model, path)


def test_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no input 'Z' to differentiate by; the inputs are X"):
        export_with_gradient(
            lambda x: (x * x,), [torch.zeros(2, 3)], ["Z"], GradientNames(("X",), ("Y",)), tmp_path / "a"
        )
    with pytest.raises(ExportError, match="words in capitals"):
        export_with_gradient(
            lambda x: (x * x,), [torch.zeros(2, 3)], ["x"], GradientNames(("x",), ("Y",)), tmp_path / "a"
        )
