"""The open networks of avatar_normalized: codes, both halves of the generator, the networks before it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from facewright.core.assets import asset_path
from facewright.engines.onnx_engine import OnnxEngine
from facewright.head.head_model import HeadModel
from facewright.refine.network_files import refinement_folder
from facewright.refine.networks import RefinementNetworks, load_refinement_networks
from facewright_export.gradients.example_images import smooth_images
from facewright_export.gradients.gradient_gates import require_generator_gradient
from facewright_export.gradients.refinement_functions import PerceptualLoss, UvMapGenerator
from facewright_export.open_normalized import (
    albedo_weights,
    embedding_graph,
)
from facewright_export.open_normalized.__main__ import build
from facewright_export.open_normalized.albedo_generator import open_generator
from facewright_export.open_normalized.albedo_weights import LevelShape, doubled, load_weights
from facewright_export.open_normalized.factors import (
    FACTORS,
    LAYERS,
    LOOK_SIZE,
    factor_map,
    reading_map,
    w_of,
    w_plus_of,
)
from facewright_export.open_normalized.half_storage import store_weights_as_half
from facewright_export.open_normalized.looks import LOOK_FACTORS, look_of
from facewright_export.open_normalized.people_albedo import PeopleAlbedo
from facewright_export.open_normalized.people_pictures import PeoplePictures
from facewright_export.open_normalized.perceptual import OpenPerceptual
from facewright_export.open_normalized.train_albedo import (
    DrawnLooks,
    held_out_error,
    made_roots,
    texel_weights,
    train,
)
from facewright_export.open_normalized.train_looks import FaceWeights, albedo_distance, coarse_albedo
from facewright_kernels import texture_sample

_PACKAGE = Path(albedo_weights.__file__).parent
_WEIGHTS = (albedo_weights.WEIGHTS_FILE, embedding_graph.WEIGHTS_FILE)


@pytest.fixture(scope="module")
def artist(open_head: HeadModel) -> PeopleAlbedo:
    return PeopleAlbedo(open_head, 128)


@pytest.fixture(scope="module")
def generator(open_head: HeadModel) -> UvMapGenerator:
    return open_generator(open_head)


@pytest.fixture(scope="module")
def networks() -> RefinementNetworks:
    return load_refinement_networks(refinement_folder(), OnnxEngine)


def _people(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Identities [N, 160] and looks [N, 32]."""
    factors = np.random.default_rng(seed).normal(size=(count, FACTORS)).astype(np.float32)
    return factors[:, :160], factors[:, 160:]


def test_codes_say_factors() -> None:
    identity, look = _people(300)
    codes = w_of(identity, look)
    np.testing.assert_allclose(factor_map().T @ factor_map(), np.eye(FACTORS), atol=1e-5)
    read = codes @ factor_map() / np.sqrt(512 / FACTORS)
    np.testing.assert_allclose(read, np.concatenate([identity, look], axis=1), atol=1e-4)
    assert codes.std() == pytest.approx(1, rel=0.02)
    assert w_plus_of(codes).shape == (300, LAYERS, 512)


@pytest.mark.parametrize("name", LOOK_FACTORS)
def test_each_factor_changes_the_albedo_and_keeps_it_a_colour(name: str, artist: PeopleAlbedo) -> None:
    # Somebody of whom every factor can be seen: pale, bearded, made up.
    factors = np.zeros(LOOK_SIZE)
    for seen, value in (
        *(("melanin", -0.7), ("lipstick", 0.5), ("moustache", 1.0), ("eyeshadow", 1.5)),
        *(("iris_blue", 0.5), ("full_beard", 1.5), ("hair_light", 1.5)),
    ):
        factors[LOOK_FACTORS.index(seen)] = value
    changed = factors.copy()
    changed[LOOK_FACTORS.index(name)] += 2
    before, after = (artist.draw(look_of(row)) for row in (factors, changed))
    for albedo in (before, after):
        assert albedo.min() >= 0
        assert albedo.max() <= 1
    assert np.abs(np.sqrt(after) - np.sqrt(before)).max() > 1 / 255, name


def test_pale_and_dark_people_are_both_reached() -> None:
    """As many fifths of melanin, from a Y of about .5 to .07."""
    looks = [look_of(row) for row in np.random.default_rng(0).normal(size=(500, LOOK_SIZE))]
    melanin = [look.skin.melanin for look in looks]
    np.testing.assert_allclose(np.histogram(melanin, 5, (0, 1))[0], 100, atol=40)
    luminance = [look.skin.skin @ [0.2126, 0.7152, 0.0722] for look in looks]
    assert min(luminance) < 0.08
    assert max(luminance) > 0.45


def test_a_look_has_its_number_of_factors() -> None:
    with pytest.raises(ValueError, match="a look has 32 factors, not 31"):
        look_of(np.zeros(31))


def test_the_geometry_half_is_the_head_model(open_head: HeadModel) -> None:
    engine = OnnxEngine(asset_path("avatar_generator.onnx"))
    identity, look = _people(4)
    codes = w_plus_of(w_of(identity, look))
    # What layers say differently counts with its mean.
    codes[:, 3] += 0.3
    codes[:, 4] -= 0.3
    maps = engine.run({"W_PLUS": codes})["UV_MAPS"]
    offset = np.ascontiguousarray(maps[:, :3].transpose(0, 2, 3, 1))
    read = texture_sample(offset, np.repeat(open_head.uv[None], len(codes), axis=0))
    true = np.stack([open_head.neutral(row) for row in identity]) - open_head.vertices_mean
    true = true[:, open_head.uv_vertex]
    error = np.linalg.norm(read - true, axis=2) * 1e3
    face = open_head.region("face")[open_head.uv_vertex] > 0.5
    assert error.mean() < 0.02, "millimetres"
    assert error[:, face].mean() < 0.01
    assert np.percentile(error[:, face], 99) < 0.1
    # Half of what varies is left to no other factor: the look moves nothing.
    other = engine.run({"W_PLUS": w_plus_of(w_of(identity, -look))})["UV_MAPS"]
    same = engine.run({"W_PLUS": w_plus_of(w_of(identity, look))})["UV_MAPS"]
    np.testing.assert_allclose(other[:, :3], same[:, :3], atol=2e-6)
    assert np.abs(other[:, 3:] - same[:, 3:]).max() > 0.05


def test_the_albedo_half_draws_people_it_was_not_trained_on(open_head: HeadModel) -> None:
    levels, provenance = load_weights()
    error = held_out_error(open_head, levels, count=5)
    assert error.delta_e < 2.5
    assert error.face_delta_e < 2
    # What the file says of itself is what it does (5 people here, 48 there).
    assert error.delta_e == pytest.approx(provenance["held_out"]["delta_e"], rel=0.3)


def test_each_layer_of_the_code_has_its_part(generator: UvMapGenerator) -> None:
    """Coarse layers change the tone of large places, fine ones only what is near."""
    codes = torch.from_numpy(w_plus_of(w_of(*_people(2))))
    with torch.no_grad():
        before = generator(codes[:1])[0, 3:]
        changes = []
        for layer in range(LAYERS):
            mixed = codes[:1].clone()
            mixed[0, layer] = codes[1, layer]
            changes.append(generator(mixed)[0, 3:] - before)
    assert all(float(change.abs().max()) > 1e-3 for change in changes)
    broad = [float(torch.nn.functional.avg_pool2d(change, 32).abs().mean()) for change in changes]
    assert min(broad[:8]) > 5 * max(broad[12:])


def test_enlarging_is_bilinear() -> None:
    ramp = np.arange(8, dtype=np.float32)[None, None].repeat(8, axis=1)
    larger = doubled(ramp)
    np.testing.assert_allclose(larger[0, 4, 2:-2], np.arange(2, 14) / 2 - 0.25)


def test_training_learns_and_is_reproducible(open_head: HeadModel) -> None:
    looks = DrawnLooks.draw(open_head, 8, seed=3)
    texels = texel_weights(open_head)
    levels = (LevelShape(32, 0, 8, 6), LevelShape(64, 8, 2, 3))
    first, again = (train(looks, texels, levels, steps=60) for _ in range(2))
    truth = looks.at_size(64)
    mean = float(np.abs(truth - truth.mean(axis=0)).mean())
    assert float(np.abs(made_roots(first, looks.factors) - truth).mean()) < 0.4 * mean
    for one, other in zip(first, again, strict=True):
        for name, value in vars(one).items():
            np.testing.assert_array_equal(vars(other)[name], value)


def test_the_graphs_that_set_up_makes_are_the_generator_and_its_gradient(
    generator: UvMapGenerator,
) -> None:
    folder = refinement_folder()
    require_generator_gradient(
        generator, (LAYERS, 512), folder / "generator_forward.onnx", folder / "generator_backward.onnx"
    )


def test_a_batch_is_each_of_its_people(networks: RefinementNetworks) -> None:
    codes = w_plus_of(w_of(*_people(3)))
    together = networks.generator.forward.run({"W_PLUS": codes})["UV_MAPS"]
    for code, maps in zip(codes, together, strict=True):
        alone = networks.generator.forward.run({"W_PLUS": code[None]})["UV_MAPS"][0]
        np.testing.assert_allclose(maps, alone, atol=1e-4)


def test_the_form_passes_through_the_embedding_exactly() -> None:
    embedding = OnnxEngine(asset_path("face_embedding.onnx"))
    regressor = OnnxEngine(asset_path("identity_regressor.onnx"))
    identity, _ = _people(2)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3)).astype(np.uint8)
    code = embedding.run({"FACE_IMAGE": pictures, "IDENTITY": identity})["EMBEDDING"]
    w_plus = regressor.run({"EMBEDDING": code})["W_PLUS"]
    np.testing.assert_array_equal(w_plus, w_plus_of(code))
    read = code @ factor_map() / np.sqrt(512 / FACTORS)
    np.testing.assert_allclose(read[:, :160], identity, atol=1e-4)


def test_looks_are_read_from_pictures_of_people_never_seen(open_head: HeadModel) -> None:
    """And a picture turned upside down, or one of nobody, says less: what is read hangs on the face."""
    people = PeoplePictures.take(open_head, 16, seed=78)
    albedo, weights = coarse_albedo(), FaceWeights.of(open_head)
    embedding = OnnxEngine(asset_path("face_embedding.onnx"))

    def distance(pictures: np.ndarray) -> tuple[float, float]:
        identity = np.zeros((len(pictures), 160), np.float32)
        code = embedding.run({"FACE_IMAGE": pictures, "IDENTITY": identity})["EMBEDDING"]
        look = torch.from_numpy(code @ reading_map()[:, 160:])
        tone, shape = albedo_distance(albedo(look), albedo(torch.from_numpy(people.looks)), weights)
        return float(tone.mean()), float(shape.mean())

    tone, shape = distance(people.pictures)
    assert tone < 8
    assert shape < 3.5
    turned = distance(np.ascontiguousarray(people.pictures[:, ::-1]))
    nobody = distance(np.full_like(people.pictures, 120))
    assert shape < 0.9 * turned[1]
    assert tone < 0.7 * nobody[0]
    assert shape < 0.8 * nobody[1]


def test_the_files_that_travel_are_the_perceptual_loss_and_its_gradient(networks: RefinementNetworks) -> None:
    loss = PerceptualLoss(OpenPerceptual())
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

    That they compute what the networks do, gradients included, two tests before say every time.
    """
    for made in build(tmp_path):
        ours, theirs = onnx.load(made).graph, onnx.load(_PACKAGE / made.name).graph
        for part in ("input", "output", "node"):
            assert list(getattr(ours, part)) == list(getattr(theirs, part)), f"{made.name}: {part}"
        assert [tensor.name for tensor in ours.initializer] == [tensor.name for tensor in theirs.initializer]
        for tensor, other in zip(ours.initializer, theirs.initializer, strict=True):
            values, others = onnx.numpy_helper.to_array(tensor), onnx.numpy_helper.to_array(other)
            assert values.dtype == others.dtype
            np.testing.assert_allclose(values, others, rtol=2**-10, atol=1e-6, err_msg=tensor.name)
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in _PACKAGE.glob("*.onnx")}


def test_files_are_small_and_name_no_folder_of_a_machine() -> None:
    files = [*_PACKAGE.glob("*.npz"), *_PACKAGE.glob("*.onnx")]
    assert set(_WEIGHTS) < set(files)
    assert max(path.stat().st_size for path in files) < 8e6
    assert sum(path.stat().st_size for path in files) < 12e6
    for path in files:
        assert b"/site-packages" not in path.read_bytes()


def test_perceptual_distance_grows_with_the_difference() -> None:
    loss = PerceptualLoss(OpenPerceptual())
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
    model = onnx.load(_PACKAGE / path.name)
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


@pytest.mark.parametrize("weights", _WEIGHTS, ids=lambda path: path.stem)
def test_weights_say_what_made_them(weights: Path) -> None:
    with np.load(weights, allow_pickle=False) as file:
        provenance = json.loads(str(file["provenance"]))
        assert {file[name].dtype for name in file.files if name != "provenance"} == {np.dtype(np.float16)}
    assert provenance["command"].startswith("python -m facewright_export.open_normalized.train_")
    assert "--seed" in provenance["command"]
    assert "no photos" in provenance["data"]
    assert provenance["licence"]
    assert provenance["held_out"]
    assert {"torch", "numpy"} <= provenance["versions"].keys()
