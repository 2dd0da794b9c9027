"""The demonstration networks: what they were trained to do, and that the files that travel are they."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from facewright.core.assets import asset_path
from facewright.engines.onnx_engine import OnnxEngine
from facewright.head.head_model import HeadModel
from facewright.refine.demo_networks import DEMO_NETWORKS
from facewright.refine.networks import RefinementNetworks, load_refinement_networks
from facewright_export.demo.__main__ import build
from facewright_export.demo.generator import (
    LAYERS,
    WEIGHTS_FILE,
    factor_map,
    load_demo_generator,
    w_plus_of,
)
from facewright_export.demo.half_storage import store_weights_as_half
from facewright_export.demo.perceptual import DemoPerceptual
from facewright_export.demo.synthetic_maps import FACTORS, IDENTITY_FACTORS, SyntheticPeople
from facewright_export.demo.train import Phase, held_out_error, train
from facewright_export.gradients.example_images import smooth_images
from facewright_export.gradients.refinement_functions import PerceptualLoss, UvMapGenerator


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load(asset_path("head.npz"))


@pytest.fixture(scope="module")
def people(head: HeadModel) -> SyntheticPeople:
    return SyntheticPeople(head, 256)


@pytest.fixture(scope="module")
def generator() -> UvMapGenerator:
    return load_demo_generator()[0]


@pytest.fixture(scope="module")
def networks() -> RefinementNetworks:
    return load_refinement_networks(DEMO_NETWORKS, OnnxEngine)


def _factors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, FACTORS)).astype(np.float32)


def test_offsets_are_those_of_the_identity_coefficients(head: HeadModel, people: SyntheticPeople) -> None:
    factors = _factors(2)
    maps = people.maps(factors)
    identity = np.zeros(160, np.float32)
    identity[:IDENTITY_FACTORS] = factors[1, :IDENTITY_FACTORS]
    expected = head.neutral(identity) - head.vertices_mean
    # Vertices read at the nearest texel's centre, which lies up to 0.7 texel away.
    texel = np.minimum((head.uv * 256).astype(int), 255)
    read = maps.offset[1][:, texel[:, 1], texel[:, 0]].T
    assert np.median(np.linalg.norm(read - expected[head.uv_vertex], axis=1)) < 2e-4
    assert maps.albedo.min() >= 0
    assert maps.albedo.max() <= 1
    assert np.isfinite(maps.offset).all()


def test_look_factors_change_albedo_and_not_shape(people: SyntheticPeople) -> None:
    factors = np.zeros((1 + FACTORS - IDENTITY_FACTORS, FACTORS), np.float32)
    factors[1:, IDENTITY_FACTORS:] = 2 * np.eye(FACTORS - IDENTITY_FACTORS)
    maps = people.maps(factors)
    assert not maps.offset.any()
    changed = np.abs(maps.albedo[1:] - maps.albedo[0]).max(axis=(1, 2, 3))
    assert (changed > 0.01).all(), changed


def test_wrong_factors_are_refused(people: SyntheticPeople) -> None:
    with pytest.raises(ValueError, match=r"shape \[B, 48\], got \(2, 47\)"):
        people.maps(np.zeros((2, 47), np.float32))


def test_codes_say_factors() -> None:
    factors = _factors(3)
    codes = w_plus_of(factors)
    assert codes.shape == (3, LAYERS, 512)
    np.testing.assert_allclose(factor_map().T @ factor_map(), np.eye(FACTORS), atol=1e-5)
    read = codes[:, 5] @ factor_map() / np.sqrt(512 / FACTORS)
    np.testing.assert_allclose(read, factors, atol=1e-5)
    assert w_plus_of(_factors(500)).std() == pytest.approx(1, rel=0.02)


def test_generator_draws_people_it_was_not_trained_on(
    generator: UvMapGenerator, people: SyntheticPeople
) -> None:
    provenance = load_demo_generator()[1]
    error = held_out_error(generator, people, count=8)
    assert error.position_rms_mm < 0.3 * error.position_deviation_mm
    assert error.albedo_delta_e < 0.5 * error.albedo_deviation_delta_e
    # What the file says of itself is what it does (8 people here, 32 there).
    assert error.position_rms_mm == pytest.approx(provenance["held_out"]["position_rms_mm"], rel=0.3)
    assert error.albedo_delta_e == pytest.approx(provenance["held_out"]["albedo_delta_e"], rel=0.3)
    assert "no photos" in provenance["data"]


def test_every_layer_of_the_code_has_a_part(generator: UvMapGenerator) -> None:
    codes = torch.from_numpy(w_plus_of(_factors(1))).requires_grad_(True)
    maps = generator(codes)
    gradient = torch.autograd.grad(maps.square().sum(), codes)[0]
    assert (gradient.abs().amax(dim=(0, 2)) > 0).all()


def test_training_learns_and_is_reproducible(head: HeadModel) -> None:
    # Learning nothing at first tells what there is to learn.
    phases = (Phase(8, 1, 32, 0.0), Phase(8, 40, 8, 8e-3, detail=True))
    first, losses = train(head, phases)
    again, _ = train(head, phases)
    assert losses[1] < 0.8 * losses[0]
    for name, value in first.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("batch", [1, 2])
def test_the_files_that_travel_are_the_generator_and_its_gradient(
    networks: RefinementNetworks, generator: UvMapGenerator, batch: int
) -> None:
    codes = torch.from_numpy(w_plus_of(_factors(batch)))
    maps, pull_back = torch.func.vjp(generator, codes)
    grad_maps = maps - generator(torch.from_numpy(w_plus_of(_factors(batch, seed=1))))
    arrays = {"W_PLUS": codes.numpy(), "GRAD_UV_MAPS": grad_maps.numpy()}
    for engine in (networks.generator.forward, networks.generator.backward):
        arrays |= engine.run({name: arrays[name] for name in engine.inputs})
    expected = pull_back(grad_maps)[0].numpy()
    # Folded weights are stored in half precision: 2^-11 of their value.
    offset, albedo = np.abs(arrays["UV_MAPS"] - maps.numpy()).max(axis=(0, 2, 3)).reshape(2, 3).max(axis=1)
    assert offset < 1e-4
    assert albedo < 0.01
    assert np.linalg.norm(arrays["GRAD_W_PLUS"] - expected) < 0.02 * np.linalg.norm(expected)


def test_the_files_that_travel_are_the_perceptual_loss_and_its_gradient(networks: RefinementNetworks) -> None:
    loss = PerceptualLoss(DemoPerceptual())
    image, photo = smooth_images("a", 2, 256), smooth_images("b", 2, 256)
    targets = networks.perceptual.targets.run({"IMAGE": photo.numpy()})
    found = networks.perceptual.loss.run({"IMAGE": image.numpy(), **targets})
    expected, pull_back = torch.func.vjp(lambda x: loss(x, *loss.targets(photo)), image)
    gradient = pull_back(torch.ones(2))[0].numpy()
    np.testing.assert_allclose(found["LOSS"], expected.numpy(), rtol=1e-4)
    assert np.linalg.norm(found["GRAD_IMAGE"] - gradient) < 0.01 * np.linalg.norm(gradient)


@pytest.mark.slow
def test_the_files_that_travel_are_what_the_exporter_makes(tmp_path: Path) -> None:
    """Same operators in the same order; constants may differ by a rounding where they were folded.

    That they compute what the networks do, gradients included, the two tests before say every time.
    """
    for made in build(tmp_path):
        ours, theirs = onnx.load(made).graph, onnx.load(DEMO_NETWORKS / made.name).graph
        for part in ("input", "output", "node"):
            assert list(getattr(ours, part)) == list(getattr(theirs, part)), f"{made.name}: {part}"
        assert [tensor.name for tensor in ours.initializer] == [tensor.name for tensor in theirs.initializer]
        for tensor, other in zip(ours.initializer, theirs.initializer, strict=True):
            values, others = onnx.numpy_helper.to_array(tensor), onnx.numpy_helper.to_array(other)
            assert values.dtype == others.dtype
            np.testing.assert_allclose(values, others, rtol=2**-10, atol=1e-6, err_msg=tensor.name)
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in DEMO_NETWORKS.glob("*.onnx")}


def test_files_are_small_and_name_no_folder_of_a_machine() -> None:
    files = [WEIGHTS_FILE, *DEMO_NETWORKS.glob("*.onnx")]
    assert len(files) == 5
    assert sum(path.stat().st_size for path in files) < 5e6
    for path in files:
        assert b"/site-packages" not in path.read_bytes()


def test_perceptual_distance_grows_with_the_difference() -> None:
    loss = PerceptualLoss(DemoPerceptual())
    photo, other = smooth_images("a", 1, 64), smooth_images("b", 1, 64)
    targets = loss.targets(photo)
    distances = [
        float(loss(photo + share * (other - photo), *targets)) for share in (0.0, 0.1, 0.3, 0.6, 1.0)
    ]
    assert distances[0] < 1e-6
    assert sorted(distances) == distances
    shifts = [float(loss(torch.roll(photo, pixels, 3), *targets)) for pixels in (1, 4, 16)]
    assert shifts[0] < shifts[1] < shifts[2]


def test_half_storage_keeps_the_function(tmp_path: Path) -> None:
    path = tmp_path / "perceptual_targets.onnx"
    model = onnx.load(DEMO_NETWORKS / path.name)
    big = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16)
    assert big.name.endswith("_half")
    weights = np.linspace(-1, 1, 1024, dtype=np.float32).reshape(32, 32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["X", "weights"], ["Y"])],
        "product",
        [onnx.helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, ["batch", 32])],
        [onnx.helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, ["batch", 32])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9), path
    )
    size = path.stat().st_size
    store_weights_as_half(path)
    assert path.stat().st_size < 0.6 * size
    x = np.ones((2, 32), np.float32)
    np.testing.assert_allclose(OnnxEngine(path).run({"X": x})["Y"], x @ weights, atol=32 * 2**-11)

    weights[0, 0] = 1e6
    graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "weights"))
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9), path
    )
    with pytest.raises(ValueError, match=r"weights reaches 1e\+06, beyond float16"):
        store_weights_as_half(path)


def test_provenance_names_what_made_the_weights() -> None:
    with np.load(WEIGHTS_FILE, allow_pickle=False) as file:
        provenance = json.loads(str(file["provenance"]))
    assert provenance["command"].startswith("python -m facewright_export.demo.train")
    assert {"torch", "numpy"} <= provenance["versions"].keys()
    assert len(provenance["losses"]) == len(provenance["phases"])
