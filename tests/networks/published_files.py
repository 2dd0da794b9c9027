"""Files in the formats in which owners have the networks, filled with seeded weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from facewright_export.network import Network
from facewright_export.network_tables import network
from facewright_export.networks.lpips import Lpips
from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Mapping, StyleGan2Synthesis
from facewright_export.seeded_weights import seeded_state_dict
from tests.networks.synthetic_models import bfm_arrays, flame_arrays, write_flame_pickle, write_mat

State = dict[str, Tensor]

#: Generators of the published resolution and depth, but narrow: a graph's form does not depend on its width.
NARROW: Final = {
    "avatar_generator": GeneratorLayout(256, output_channels=6, largest_width=16, noise=False),
    "face_generator": GeneratorLayout(1024, largest_width=8),
    "albedo_generator": GeneratorLayout(1024, largest_width=8),
    "displacement_generator": GeneratorLayout(256, largest_width=8),
}


def write_files(folder: Path, row: Network, full_size: bool = False) -> tuple[Path, ...]:
    """The files that the network is published in, in the row's order; generators `NARROW` or full-sized."""
    paths = tuple(folder / name.replace(" ", "_") for name in row.files)
    if full_size and row.name in NARROW:
        module = row.build()
        _WRITERS[row.name](row, *paths, getattr(module, "synthesis", module).layout)
    else:
        _WRITERS[row.name](row, *paths)
    return paths


def _state(row: Network) -> State:
    return dict(row.seeded_network().state_dict())


def _under(prefix: str, state: Mapping[str, Tensor]) -> State:
    """The entries below a module, without its name."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _save_plain(row: Network, path: Path) -> None:
    torch.save(_state(row), path)


def _save_with(extra: Mapping[str, Tensor]) -> Callable[[Network, Path], None]:
    """With entries of the training heads that inference leaves out."""
    return lambda row, path: torch.save(_state(row) | dict(extra), path)


def _save_light_cnn(row: Network, path: Path) -> None:
    state = _state(row) | {"fc2.weight": torch.zeros(80013, 256)}
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 1}, path)


def _generator_state(row: Network, layout: GeneratorLayout | None = None) -> State:
    modules: list[nn.Module] = [StyleGan2Synthesis(layout or NARROW[row.name]), StyleGan2Mapping()]
    state: State = {}
    for module in modules:
        shapes = {k: tuple(v.shape) for k, v in module.state_dict().items() if not k.endswith(".kernel")}
        arrays = seeded_state_dict(shapes, 1, dict(row.seeded_scales) | {"style.*": 100.0})
        state |= module.state_dict() | {key: torch.from_numpy(array) for key, array in arrays.items()}
    return state


def _save_generator(section: str) -> Callable[..., None]:
    def save(row: Network, path: Path, layout: GeneratorLayout | None = None) -> None:
        torch.save({section: _generator_state(row, layout), "latent_avg": torch.zeros(512)}, path)

    return save


def write_ada_file(path: Path, row: Network) -> Path:
    """The generator that `write_files` gives in rosinality's format, as NVIDIA's state dict of it."""
    state = _generator_state(row)
    ada = {"mapping.w_avg": torch.zeros(512)}
    for layer in range(8):
        for part in ("weight", "bias"):
            ada[f"mapping.fc{layer}.{part}"] = state[f"style.{layer + 1}.{part}"]
    ada["synthesis.b4.const"] = state["input.input"][0]
    resolution = NARROW[row.name].resolution
    for index in range(2 * resolution.bit_length() - 5):  # conv1, then two layers of each doubling
        block, second = (index + 1) // 2, index % 2 == 0
        layer = f"convs.{index - 1}" if index else "conv1"
        target = f"synthesis.b{4 << block}.conv{int(second)}"
        ada |= _ada_convolution(target, layer, state)
        ada[f"{target}.bias"] = state[f"{layer}.activate.bias"]
        ada[f"{target}.resample_filter"] = state["to_rgbs.0.upsample.kernel"] / 4
        if f"{layer}.noise.weight" in state:
            ada[f"{target}.noise_strength"] = state[f"{layer}.noise.weight"].reshape(())
            ada[f"{target}.noise_const"] = state[f"noises.noise_{index}"][0, 0]
        if second:
            image, target = f"to_rgbs.{block - 1}" if block else "to_rgb1", f"synthesis.b{4 << block}.torgb"
            ada |= _ada_convolution(target, image, state)
            ada[f"{target}.bias"] = state[f"{image}.bias"].flatten()
            ada[f"synthesis.b{4 << block}.resample_filter"] = state["to_rgbs.0.upsample.kernel"] / 4
    torch.save(ada, path)
    return path


def _ada_convolution(target: str, layer: str, state: State) -> State:
    return {
        f"{target}.weight": state[f"{layer}.conv.weight"][0],
        f"{target}.affine.weight": state[f"{layer}.conv.modulation.weight"],
        f"{target}.affine.bias": state[f"{layer}.conv.modulation.bias"],
    }


def write_alexnet_lpips(folder: Path) -> tuple[Path, ...]:
    """The two files of LPIPS over AlexNet, which `perceptual_distance` is also made from."""
    row = replace(network("perceptual_distance"), build=lambda: Lpips("alexnet"))
    paths = folder / "alexnet-owt-7be5be79.pth", folder / "alex.pth"
    _save_lpips(row, *paths)
    return paths


def _save_lpips(row: Network, backbone: Path, weights: Path) -> None:
    state = _state(row)
    features = {key: value for key, value in state.items() if key.startswith("features.")}
    torch.save(features | {"classifier.0.bias": torch.zeros(1)}, backbone)
    torch.save({k: v for k, v in state.items() if k.startswith("lin")}, weights)


def _save_regressors(row: Network, path: Path) -> None:
    state = _state(row)
    content = {
        "arcface": _under("arcface.", state),
        "flameModel": {k: v for k, v in state.items() if k.startswith("regressor.")},
        "otherParamModel": {k.removeprefix("face_"): v for k, v in state.items() if k.startswith("face_")},
    }
    torch.save({name: entries for name, entries in content.items() if entries}, path)


def _save_deca(_row: Network, path: Path) -> None:
    """One file holds all three networks, whichever of the rows asks for it."""
    detail = _state(network("detail_displacement"))
    content = {
        "E_flame": _state(network("coarse_encoder")),
        "E_detail": _under("encoder.", detail),
        "D_detail": _under("decoder.", detail),
    }
    torch.save(content, path)


def _save_flame(_row: Network, path: Path) -> None:
    write_flame_pickle(path, flame_arrays())


_WRITERS: Final[Mapping[str, Callable[..., object]]] = {
    "light_cnn": _save_light_cnn,
    "shape_decoder": _save_plain,
    "face_embedding": _save_with({"logits.weight": torch.zeros(8631, 512), "logits.bias": torch.zeros(8631)}),
    "identity_regressor": _save_plain,
    "avatar_generator": _save_generator("g_ema"),
    "camera_regressor": _save_plain,
    "face_parts": _save_with({"conv_out16.conv_out.weight": torch.zeros(19, 64, 1, 1)}),
    "face_segmentation": lambda row, path: torch.save({"state_dict": _state(row)}, path),
    "perceptual_distance": _save_lpips,
    "coefficient_regressor": lambda row, path: torch.save({"net_recon": _state(row)}, path),
    "basel_face": lambda _row, path: write_mat(path, bfm_arrays()),
    "detail_refinement": _save_plain,
    "face_generator": _save_generator("g_ema"),
    "albedo_generator": _save_generator("g"),
    "displacement_generator": _save_generator("g"),
    "arcface": _save_plain,
    "mica": _save_regressors,
    "generative_regressors": _save_regressors,
    "generative_head": _save_flame,
    "animatable_head": _save_flame,
    "coarse_encoder": _save_deca,
    "detail_displacement": _save_deca,
}
