"""AlbedoGAN's generators: the displacement against the official code, the albedo's range and sizes."""

from pathlib import Path

import torch

from facewright_export.checkpoints.albedo_gan import import_albedo_generator, import_displacement_generator
from facewright_export.networks.albedo_gan import ALBEDO_LAYOUT, AlbedoGenerator
from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Mapping, StyleGan2Synthesis
from tests.networks.golden import SAME_NETWORK, load_golden, relative_difference, seeded_input

_GOLDEN = load_golden("displacement_generator")
#: StyleGAN2 scales its weights when they are used, so they are stored at unit variance.
_STORED = {"*.conv.weight": 1.0, "*.modulation.weight": 1.0, "style.*.weight": 100.0, "noises.*": 1.0}


@torch.no_grad()
def test_displacement_is_the_official_one(tmp_path: Path) -> None:
    weights = _GOLDEN.weights(_STORED)
    filters = StyleGan2Synthesis(GeneratorLayout(resolution=256)).state_dict()
    weights |= {key: value for key, value in filters.items() if key.endswith(".kernel")}
    path = tmp_path / "disp_GAN.pt"
    torch.save({"g": {f"module.{key}": value for key, value in weights.items()}}, path)
    network = import_displacement_generator(path)
    w_plus = seeded_input((1, 18, 512), "w_plus")
    image = network.synthesis(w_plus[:, :14])[:, :1, ::4, ::4]
    assert relative_difference(image, _GOLDEN.outputs["image"]) < SAME_NETWORK
    displacement = network(w_plus)
    assert displacement.shape == (1, 1, 256, 256)
    assert relative_difference(displacement[:, :, ::2, ::2], _GOLDEN.outputs["displacement"]) < SAME_NETWORK


@torch.no_grad()
def test_albedo_comes_at_the_resolution_of_the_file_within_0_and_1(tmp_path: Path) -> None:
    layout = GeneratorLayout(resolution=64, largest_width=16, style_width=32)
    synthesis, mapping = StyleGan2Synthesis(layout), StyleGan2Mapping(32)
    path = tmp_path / "albedogan.pt"
    torch.save({"g": synthesis.state_dict() | mapping.state_dict()}, path)
    network = import_albedo_generator(path)
    # far codes, so that the generator leaves −1 … 1
    w_plus = 30 * seeded_input((2, layout.style_count, 32), "w_plus")
    albedo = network(w_plus)
    assert albedo.shape == (2, 3, 64, 64)
    assert (albedo.min(), albedo.max()) == (0, 1)
    inside = (albedo > 0) & (albedo < 1)
    assert torch.allclose(albedo[inside], (network.synthesis(w_plus)[inside] + 1) / 2, atol=1e-6)


def test_the_published_albedo_has_eighteen_codes_and_1024_texels() -> None:
    assert (ALBEDO_LAYOUT.style_count, ALBEDO_LAYOUT.resolution) == (18, 1024)
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in AlbedoGenerator().synthesis.state_dict().items()}
    published = {
        key: shape
        for key, shape in load_golden("stylegan2_1024_rosinality").shapes.items()
        if not key.startswith("style.")
    }
    assert shapes == published
