"""StyleGAN2 against recorded outputs of rosinality's and NVIDIA's code, from files in their formats."""

import argparse
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from facewright_export.checkpoints import (
    CheckpointError,
    LayoutError,
    UnreadableCheckpointError,
    UnsafeCheckpointError,
    WeightError,
)
from facewright_export.checkpoints._notes import import_notes
from facewright_export.checkpoints.stylegan2 import (
    StyleGan2Generator,
    import_ada_stylegan2,
    import_rosinality_stylegan2,
    import_stylegan2,
)
from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Mapping, StyleGan2Synthesis
from tests.networks.golden import (
    SAME_NETWORK,
    Golden,
    load_golden,
    relative_difference,
    seeded_input,
    seeded_weights,
)

# Weights that the network scales itself are stored at unit variance; the mapping's at 1/lr_mul.
ROSINALITY_SCALES = {
    "*.conv.weight": 1.0,
    "*modulation.weight": 1.0,
    "*.modulation.bias": 1.0,
    "style.*.weight": 100.0,
    "style.*.bias": 10.0,
    "noises.*": 1.0,
    "input.input": 1.0,
}
ADA_SCALES = {
    "*affine.weight": 1.0,
    "*affine.bias": 1.0,
    "synthesis.*.conv?.weight": 1.0,
    "*.torgb.weight": 1.0,
    "mapping.fc?.weight": 100.0,
    "mapping.fc?.bias": 10.0,
    "*noise_const": 1.0,
    "*.const": 1.0,
}
SMALL = GeneratorLayout(resolution=32, largest_width=8, style_width=16, output_channels=6)


def ada_weights(golden: Golden) -> dict[str, Tensor]:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    weights = golden.weights(ADA_SCALES)
    kernel = torch.outer(taps, taps) / 64
    return {key: kernel if key.endswith("resample_filter") else value for key, value in weights.items()}


def small_state(layout: GeneratorLayout = SMALL) -> dict[str, Tensor]:
    networks = StyleGan2Synthesis(layout), StyleGan2Mapping(layout.style_width)
    shapes = {key: tuple(value.shape) for net in networks for key, value in net.state_dict().items()}
    return seeded_weights(shapes, ROSINALITY_SCALES)


def imported(path: Path, state: dict[str, Tensor]) -> StyleGan2Generator:
    torch.save({"g_ema": state}, path)
    return import_rosinality_stylegan2(path)


@torch.no_grad()
def test_generator_of_uv_maps_from_a_rosinality_file(tmp_path: Path) -> None:
    golden = load_golden("stylegan2_256_uv")
    weights = golden.weights({"*.noise.weight": 0.0, **ROSINALITY_SCALES})
    mean = seeded_input((512,), "latent_avg")
    torch.save(
        {"g_ema": weights, "latent_avg": mean, "args": argparse.Namespace(size=256)}, tmp_path / "g.pt"
    )
    generator = import_rosinality_stylegan2(tmp_path / "g.pt")
    assert generator.synthesis.layout == GeneratorLayout(256, output_channels=6, noise=False)
    assert generator.mean_style is not None
    assert torch.equal(generator.mean_style, mean)
    image = generator.synthesis(seeded_input((1, 14, 512), "w_plus"))
    assert image.shape == (1, 6, 256, 256)
    assert relative_difference(image[..., ::7, ::5], golden.outputs["image"]) < SAME_NETWORK
    styles = generator.mapping(seeded_input((2, 512), "z"))
    assert relative_difference(styles, golden.outputs["w"]) < SAME_NETWORK


@torch.no_grad()
def test_1024_face_generator_with_noise(tmp_path: Path) -> None:
    golden = load_golden("stylegan2_1024_rosinality")
    synthesis = imported(tmp_path / "g.pt", golden.weights(ROSINALITY_SCALES)).synthesis
    assert synthesis.layout == GeneratorLayout(1024)
    image = synthesis(seeded_input((1, 18, 512), "w_plus"))
    assert image.shape == (1, 3, 1024, 1024)
    assert relative_difference(image[..., ::13, ::11], golden.outputs["image"]) < SAME_NETWORK


@torch.no_grad()
def test_nvidia_ada_state_dict(tmp_path: Path) -> None:
    golden = load_golden("stylegan2_256_ada")
    weights = ada_weights(golden)
    torch.save(weights, tmp_path / "g.pt")
    generator = import_ada_stylegan2(tmp_path / "g.pt")
    assert generator.synthesis.layout == GeneratorLayout(256, channel_multiplier=1)
    image = generator.synthesis(seeded_input((1, 14, 512), "w_plus"))
    assert relative_difference(image[..., ::7, ::5], golden.outputs["image"]) < SAME_NETWORK
    styles = generator.mapping(seeded_input((2, 512), "z"))
    assert relative_difference(styles, golden.outputs["w"]) < SAME_NETWORK
    assert generator.mean_style is not None
    assert torch.equal(generator.mean_style, weights["mapping.w_avg"])


@torch.no_grad()
def test_nvidia_ada_generator_with_clamped_activations(tmp_path: Path) -> None:
    golden = load_golden("stylegan2_256_ada")
    torch.save(ada_weights(golden), tmp_path / "g.pt")
    synthesis = import_ada_stylegan2(tmp_path / "g.pt", activation_clamp=0.5).synthesis
    image = synthesis(seeded_input((1, 14, 512), "w_plus"))
    assert relative_difference(image[..., ::7, ::5], golden.outputs["image_clamped"]) < SAME_NETWORK


@torch.no_grad()
def test_batch_equals_its_members(tmp_path: Path) -> None:
    synthesis = imported(tmp_path / "g.pt", small_state()).synthesis
    w_plus = seeded_input((3, SMALL.style_count, SMALL.style_width), "w_plus")
    singles = torch.cat([synthesis(code[None]) for code in w_plus])
    assert relative_difference(synthesis(w_plus), singles.numpy()) < 1e-5  # rounding leaves 4e-7
    assert (singles[0] - singles[1]).norm() > 0.1 * singles[0].norm()


@torch.no_grad()
def test_without_noise_is_noise_of_no_strength(tmp_path: Path) -> None:
    state = small_state()
    silent = {k: torch.zeros(1) if k.endswith(".noise.weight") else v for k, v in state.items()}
    w_plus = seeded_input((1, SMALL.style_count, SMALL.style_width), "w_plus")
    expected = imported(tmp_path / "g.pt", silent).synthesis(w_plus)
    torch.save({"g_ema": {k: v for k, v in state.items() if not k.startswith("noises.")}}, tmp_path / "g.pt")
    synthesis = import_rosinality_stylegan2(tmp_path / "g.pt", noise=False).synthesis
    assert torch.equal(synthesis(w_plus), expected)
    noisy = imported(tmp_path / "g.pt", state).synthesis(w_plus)
    assert relative_difference(noisy, expected.numpy()) > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("form", ["rosinality", "ada"])
def test_noise_images_that_a_file_lacks_are_drawn_from_a_seed_and_it_is_said(
    tmp_path: Path, form: str
) -> None:
    """rosinality's first files have strengths and no images: its code drew new ones for each picture."""
    if form == "ada":
        state = {
            k: v for k, v in ada_weights(load_golden("stylegan2_256_ada")).items() if "noise_const" not in k
        }
    else:
        state = {k: v for k, v in small_state().items() if not k.startswith("noises.")}
    torch.save(state, tmp_path / "g.pt")
    with import_notes() as notes:
        first = import_stylegan2(tmp_path / "g.pt").synthesis
    assert notes == ["g.pt has no noise images: its pictures are made with images drawn from seed 0"]
    images = [value for key, value in first.state_dict().items() if key.startswith("noises.")]
    drawn = torch.cat([image.flatten() for image in images])
    assert abs(drawn.mean()) < 0.05
    assert abs(drawn.std() - 1) < 0.05
    assert (drawn.abs() > 3).any(), "normal, not uniform"
    (tmp_path / "g.pt").rename(tmp_path / "again.pt")
    again = import_stylegan2(tmp_path / "again.pt").synthesis.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.state_dict().items())


@torch.no_grad()
def test_modulated_convolution_is_equation_3(tmp_path: Path) -> None:
    layer = imported(tmp_path / "g.pt", small_state()).synthesis.conv1.conv
    features = seeded_input((2, 8, 4, 4), "features")
    scales = 1 + seeded_input((2, 8), "scales")
    ours = layer.modulated(features, scales) * layer.demodulation(scales)
    for i in range(2):
        weight = layer.weight[0] * layer.weight_scale * scales[i][None, :, None, None]
        weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        expected = functional.conv2d(features[i][None], weight, padding=1)
        assert relative_difference(ours[i][None], expected.numpy()) < 2e-6


@pytest.mark.parametrize(
    ("layout", "style_count", "last_width"),
    [
        (GeneratorLayout(256), 14, 128),
        (GeneratorLayout(1024), 18, 32),
        (GeneratorLayout(1024, channel_multiplier=1), 18, 16),
        (GeneratorLayout(256, largest_width=64), 14, 64),
    ],
)
def test_layout_sizes(layout: GeneratorLayout, style_count: int, last_width: int) -> None:
    assert layout.style_count == style_count
    assert layout.width(layout.resolution) == last_width


@pytest.mark.parametrize("resolution", [4, 100, 0, -256])
def test_resolution_must_be_a_power_of_two(resolution: int) -> None:
    with pytest.raises(ValueError, match=f"power of two from 8 up; got {resolution}"):
        GeneratorLayout(resolution)


def test_a_clamp_must_be_positive() -> None:
    with pytest.raises(ValueError, match="activation_clamp must be positive; got 0"):
        GeneratorLayout(activation_clamp=0)


def test_small_layouts_are_read_back_from_their_shapes(tmp_path: Path) -> None:
    assert imported(tmp_path / "g.pt", small_state()).synthesis.layout == GeneratorLayout(
        resolution=32, largest_width=8, style_width=16, output_channels=6, channel_multiplier=8 * 32 / 16384
    )


def without(key: str) -> dict[str, Tensor]:
    return {name: value for name, value in small_state().items() if name != key}


@pytest.mark.parametrize(
    ("state", "named"),
    [
        (without("convs.1.activate.bias"), "convs.1.activate.bias"),
        (without("noises.noise_3"), "noises.noise_3"),
        (without("style.8.bias"), "style.8.bias"),
        (without("input.input"), "input.input: missing"),
        (small_state() | {"convs.9.conv.weight": torch.zeros(1)}, "extra: convs.9.conv.weight"),
        (small_state() | {"convs.1.activate.bias": torch.zeros(9)}, r"expected float32 \[8\]"),
        (small_state() | {"to_rgb1.conv.weight": torch.zeros(6, 8)}, r"to_rgb1.conv.weight: \[6, 8\]"),
        ({}, "it holds no tensors, but g_ema"),
        (small_state() | {"input.input": torch.zeros(1, 50000, 4, 4)}, "a layer is 50000 wide"),
        (small_state() | {f"style.{i}.weight": torch.zeros(1) for i in range(99)}, "mapping has 99 layers"),
    ],
)
def test_a_state_that_does_not_fit_is_named(tmp_path: Path, state: dict[str, Tensor], named: str) -> None:
    with pytest.raises(LayoutError, match=named):
        imported(tmp_path / "g.pt", state)


def test_nan_weights_are_named(tmp_path: Path) -> None:
    state = small_state()
    state["convs.2.conv.weight"][0, 0, 0, 0, 0] = float("nan")
    with pytest.raises(WeightError, match=r"convs\.2\.conv\.weight"):
        imported(tmp_path / "g.pt", state)


@pytest.mark.parametrize(
    ("mean", "error"), [(torch.zeros(15), LayoutError), (torch.full((16,), torch.inf), WeightError)]
)
def test_a_bad_mean_code_is_refused(tmp_path: Path, mean: Tensor, error: type[CheckpointError]) -> None:
    torch.save({"g_ema": small_state(), "latent_avg": mean}, tmp_path / "g.pt")
    with pytest.raises(error, match="mean w code"):
        import_rosinality_stylegan2(tmp_path / "g.pt")


def test_a_missing_section_lists_what_is_there(tmp_path: Path) -> None:
    torch.save({"g": small_state()}, tmp_path / "g.pt")
    with pytest.raises(LayoutError, match="its names are found under 'g'"):
        import_rosinality_stylegan2(tmp_path / "g.pt")
    assert import_rosinality_stylegan2(tmp_path / "g.pt", generator="g").synthesis.layout.noise


def test_training_prefix_is_removed(tmp_path: Path) -> None:
    state = {f"module.{key}": value for key, value in small_state().items()}
    assert imported(tmp_path / "g.pt", state).synthesis.layout.resolution == 32


class _RunsCode:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("extension", ["pt", "pkl"])
def test_code_in_a_file_is_not_run(tmp_path: Path, extension: str) -> None:
    marker = tmp_path / "ran"
    path = tmp_path / f"g.{extension}"
    content = {"g_ema": small_state(), "extra": _RunsCode(marker)}
    if extension == "pt":
        torch.save(content, path)
        with pytest.raises(UnsafeCheckpointError, match="nothing was run"):
            import_rosinality_stylegan2(path)
    else:
        path.write_bytes(pickle.dumps({"G_ema": _RunsCode(marker)}))
        for read in (import_ada_stylegan2, import_stylegan2):
            with pytest.raises(UnsafeCheckpointError, match=r"save\(pickled\['G_ema'\]\.state_dict\(\)"):
                read(path)
    assert not marker.exists()


@torch.no_grad()
def test_either_format_is_told_by_what_the_file_holds(tmp_path: Path) -> None:
    torch.save({"g_ema": small_state()}, tmp_path / "rosinality.pt")
    torch.save(ada_weights(load_golden("stylegan2_256_ada")), tmp_path / "ada.pt")
    assert import_stylegan2(tmp_path / "rosinality.pt").synthesis.layout.resolution == 32
    assert import_stylegan2(tmp_path / "ada.pt").synthesis.layout.resolution == 256
    torch.save({"state_dict": small_state()}, tmp_path / "other.pt")
    assert import_stylegan2(tmp_path / "other.pt").synthesis.layout.resolution == 32
    torch.save({"g": small_state(), "d": {"final_conv.0.weight": torch.zeros(1)}}, tmp_path / "raw.pt")
    with pytest.raises(LayoutError, match="its names are found under 'g', beside d;"):
        import_stylegan2(tmp_path / "raw.pt")


def test_a_conditional_ada_generator_is_refused(tmp_path: Path) -> None:
    weights = ada_weights(load_golden("stylegan2_256_ada"))
    torch.save({**weights, "mapping.embed.weight": torch.zeros(512, 10)}, tmp_path / "g.pt")
    with pytest.raises(LayoutError, match=r"mapping\.embed\.weight"):
        import_ada_stylegan2(tmp_path / "g.pt")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.pt"
    torch.save({"g_ema": small_state()}, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UnreadableCheckpointError, match="damaged or cut short"):
        import_rosinality_stylegan2(path)
