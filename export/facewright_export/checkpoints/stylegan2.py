"""StyleGAN2 generators: rosinality's `.pt` files, and state dicts of NVIDIA's stylegan2-ada-pytorch.

A rosinality file is a dict with the generator under `g_ema` (those of training also hold `g`, `d` and
optimizers) and, in converted files, the mean w code under `latent_avg`. NVIDIA's `.pkl` files embed Python
code that loading would run, so they are refused; the state dict that their owner saves from one is read.

A generator adds noise images of its file, scaled by learned strengths. Where a file has the strengths and no
images (rosinality's code once drew new ones for each picture), they are drawn here, the same for every file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from facewright_export.checkpoints._files import WHICH, LayoutError, WeightError, listed
from facewright_export.checkpoints._notes import note
from facewright_export.checkpoints._reading import Checkpoint, StateDict, load_strictly, read_checkpoint
from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Mapping, StyleGan2Synthesis
from facewright_export.seeded_weights import seeded_normal

_MEND = "check that it is a StyleGAN2 generator with skip connections, and which section of the file holds it"
# A network is made in the sizes that the file claims, so sizes that no published generator has are refused
# before.
_WIDEST = 1024
_DEEPEST_MAPPING = 16
#: Names that every generator has, whatever its size: they tell where in a file it is.
_ROSINALITY: Final = frozenset({"input.input", "conv1.conv.weight", "to_rgb1.conv.weight", "style.1.weight"})
_ADA: Final = frozenset({"synthesis.b4.const", "synthesis.b4.torgb.weight", "mapping.fc0.weight"})
_NOISE_SEED: Final = 0


@dataclass(frozen=True)
class StyleGan2Generator:
    """A generator with its weights: synthesis, mapping, and the mean w code f32 [512] if the file has it."""

    synthesis: StyleGan2Synthesis
    mapping: StyleGan2Mapping
    mean_style: Tensor | None


def import_stylegan2(path: Path | str) -> StyleGan2Generator:
    """The generator of a rosinality checkpoint or of NVIDIA's state dict, told apart by what the file holds.

    Raises CheckpointError.
    """
    if any(name.endswith("synthesis.b4.const") for name in read_checkpoint(path).tensors):
        return import_ada_stylegan2(path)
    return import_rosinality_stylegan2(path)


def import_rosinality_stylegan2(
    path: Path | str, generator: str = "", *, noise: bool = True
) -> StyleGan2Generator:
    """The generator of a rosinality checkpoint, its sizes taken from its shapes.

    It is `g_ema`, the moving average that images are made with, or a generator's state dict alone; in
    AlbedoGAN's files `generator="g"`. The noise is the file's own noise images, or drawn where it has none;
    without `noise`, and where all its strengths are zero, the generator comes without noise inputs, and one
    code gives one smooth image. Raises CheckpointError.
    """
    checkpoint = read_checkpoint(path)
    state = _state(checkpoint, _ROSINALITY, generator)
    own = state.pop("latent_avg", None)
    mean_style = checkpoint.tensors.get("latent_avg", own)
    return _generator(state, mean_style, str(path), _Options(noise))


def import_ada_stylegan2(
    path: Path | str, activation_clamp: float | None = None, *, noise: bool = True
) -> StyleGan2Generator:
    """The generator whose state dict was saved from NVIDIA's stylegan2-ada-pytorch, unconditional and `skip`.

    Its noise is the constant noise of the file (`noise_mode="const"`), or none (`"none"`).
    `activation_clamp` is what the generator was trained with as `conv_clamp` (256 in NVIDIA's
    half-precision networks), which a state dict does not tell. Raises CheckpointError.
    """
    state = _state(read_checkpoint(path), _ADA)
    renamed, mean_style = _renamed_from_ada(state, str(path))
    return _generator(renamed, mean_style, str(path), _Options(noise, activation_clamp))


def _state(checkpoint: Checkpoint, anchors: frozenset[str], section: str = "") -> StateDict:
    """The tensors of the generator that has these names, in the section of this name or in any."""
    begins = f"{section}." if section else ""
    anchors = frozenset(begins + name for name in anchors)
    place = checkpoint.place(anchors)
    found = checkpoint.network_at(place, anchors)
    state = {name.removeprefix(begins): value for name, value in found.items() if name.startswith(begins)}
    if section and not state:
        there = listed(sorted({name.split("/")[0] for name in checkpoint.tensors}))
        raise LayoutError(str(checkpoint.path), f"no {section!r} in the file, which holds {there}", WHICH)
    checkpoint.note_rest(place + begins, state)
    return state


@dataclass(frozen=True)
class _Options:
    noise: bool
    activation_clamp: float | None = None


def _generator(state: StateDict, mean_style: object, source: str, options: _Options) -> StyleGan2Generator:
    strengths = {key for key in state if key.endswith(".noise.weight")}
    noisy = options.noise and any(state[key].count_nonzero() > 0 for key in strengths)
    if not noisy:
        state = {k: v for k, v in state.items() if k not in strengths and not k.startswith("noises.")}
    layout = replace(_layout(state, source), noise=noisy, activation_clamp=options.activation_clamp)
    synthesis = StyleGan2Synthesis(layout)
    mapping = StyleGan2Mapping(layout.style_width, _mapping_depth(state, source))
    if noisy and not any(key.startswith("noises.") for key in state):
        state |= _drawn_noise(synthesis, source)
    mapping_state = {key: value for key, value in state.items() if key.startswith("style.")}
    load_strictly(synthesis, {k: v for k, v in state.items() if k not in mapping_state}, source=source)
    load_strictly(mapping, mapping_state, source=source)
    return StyleGan2Generator(
        synthesis.eval(), mapping.eval(), _checked_mean(mean_style, layout.style_width, source)
    )


def _drawn_noise(synthesis: StyleGan2Synthesis, source: str) -> StateDict:
    """Noise images from N(0, 1), as rosinality's code draws them, of a seed."""
    note(
        f"{Path(source).name} has no noise images: its pictures are made with images drawn from seed "
        f"{_NOISE_SEED}"
    )
    return {
        key: torch.from_numpy(seeded_normal(tuple(value.shape), key, _NOISE_SEED))
        for key, value in synthesis.state_dict().items()
        if key.startswith("noises.")
    }


def _checked_mean(mean_style: object, style_width: int, source: str) -> Tensor | None:
    if mean_style is None:
        return None
    if not isinstance(mean_style, Tensor) or mean_style.numel() != style_width:
        seen = list(mean_style.shape) if isinstance(mean_style, Tensor) else type(mean_style).__name__
        raise LayoutError(f"the mean w code of {source}", f"{seen}, expected {style_width} numbers", _MEND)
    if not mean_style.isfinite().all():
        mend = "the file is damaged: download it again"
        raise WeightError(f"the mean w code of {source}", "NaN or infinity", mend)
    return mean_style.float().reshape(style_width)


def _mapping_depth(state: Mapping[str, Tensor], source: str) -> int:
    depth = sum(bool(re.fullmatch(r"style\.\d+\.weight", key)) for key in state)
    if depth > _DEEPEST_MAPPING:
        seen = f"its mapping has {depth} layers, no StyleGAN2 has more than {_DEEPEST_MAPPING}"
        raise LayoutError(f"{source} is not a StyleGAN2 generator", seen, _MEND)
    return depth


def _layout(state: Mapping[str, Tensor], source: str) -> GeneratorLayout:
    """The sizes that the shapes tell; whatever does not fit them is then found by strict loading."""
    block_count = sum(bool(re.fullmatch(r"to_rgbs\.\d+\.conv\.weight", key)) for key in state)
    last = f"to_rgbs.{block_count - 1}.conv.weight"
    needed = {"input.input": 4, "to_rgb1.conv.weight": 5, "conv1.conv.modulation.weight": 2}
    needed |= {last: 5} if block_count else {}
    shapes = {key: tuple(state[key].shape) for key in needed if key in state}
    wrong = [key for key, axes in needed.items() if len(shapes.get(key, ())) != axes]
    if wrong or not 1 <= block_count <= 8:
        seen = [f"{key}: {list(shapes[key])}" if key in shapes else f"{key}: missing" for key in wrong]
        raise LayoutError(
            f"{source} is not a StyleGAN2 generator",
            "; ".join(seen) or f"{block_count} image layers",
            _MEND,
        )
    widest = max(size for key in needed for size in shapes[key])
    if widest > _WIDEST:
        claim = f"a layer is {widest} wide, no StyleGAN2 is wider than {_WIDEST}"
        raise LayoutError(f"{source} is not a StyleGAN2 generator", claim, _MEND)
    resolution = 4 << block_count
    return GeneratorLayout(
        resolution=resolution,
        output_channels=shapes["to_rgb1.conv.weight"][1],
        channel_multiplier=shapes[last][2] * resolution / 16384,
        largest_width=shapes["input.input"][1],
        style_width=shapes["conv1.conv.modulation.weight"][1],
    )


def _renamed_from_ada(state: StateDict, source: str) -> tuple[StateDict, Tensor | None]:
    """NVIDIA's names and shapes to rosinality's, and the mean w code."""
    renamed: StateDict = {}
    mean_style = None
    unknown = []
    for key, value in state.items():
        if key == "mapping.w_avg":
            mean_style = value
        elif (target := _rosinality_name(key)) is None:
            unknown.append(key)
        elif target:
            renamed[target] = _reshaped(target, value)
    if unknown:
        raise LayoutError(
            f"{source} is not an unconditional StyleGAN2-ada generator with skip connections",
            f"unknown names {', '.join(sorted(unknown)[:20])}",
            "save the state_dict() of G_ema; conditional and resnet generators are not supported",
        )
    return renamed, mean_style


def _rosinality_name(key: str) -> str | None:
    """The name of NVIDIA's `key`; empty for a filter that the network never uses, None if unknown."""
    if match := re.fullmatch(r"mapping\.fc(\d+)\.(weight|bias)", key):
        return f"style.{int(match[1]) + 1}.{match[2]}"
    match = re.fullmatch(r"synthesis\.b(\d+)\.(.+)", key)
    if match is None:
        return None
    resolution, rest = int(match[1]), match[2]
    block = resolution.bit_length() - 4
    if resolution != 8 << block if block >= 0 else resolution != 4:
        return None
    if rest == "const":
        return "input.input"
    if rest == "resample_filter":
        return f"to_rgbs.{block}.upsample.kernel" if block >= 0 else ""
    if match := re.fullmatch(r"torgb\.(weight|bias|affine\.weight|affine\.bias)", rest):
        layer = "to_rgb1" if block < 0 else f"to_rgbs.{block}"
        part = {"bias": "bias", "weight": "conv.weight"}.get(match[1])
        return f"{layer}.{part or match[1].replace('affine', 'conv.modulation')}"
    match = re.fullmatch(r"conv([01])\.(.+)", rest)
    if match is None:
        return None
    upsamples, rest = match[1] == "0", match[2]
    index = 2 * block + (0 if upsamples else 1)
    layer = "conv1" if block < 0 else f"convs.{index}"
    if rest == "resample_filter":
        return f"{layer}.conv.blur.kernel" if upsamples else ""
    part = {
        "weight": "conv.weight",
        "bias": "activate.bias",
        "affine.weight": "conv.modulation.weight",
        "affine.bias": "conv.modulation.bias",
        "noise_strength": "noise.weight",
    }.get(rest)
    if rest == "noise_const":
        return f"noises.noise_{index + 1 if block >= 0 else 0}"
    return f"{layer}.{part}" if part else None


def _reshaped(target: str, value: Tensor) -> Tensor:
    if target.endswith(".kernel"):
        # NVIDIA keeps the filter with sum 1 and multiplies by the gain of a doubling, 4, when it is used.
        return value * 4
    if target.endswith(".noise.weight"):
        return value.reshape(1)
    if target.startswith("noises."):
        return value[None, None]
    if target == "input.input" or (target.endswith(".conv.weight") and "modulation" not in target):
        return value[None]
    if re.fullmatch(r"to_rgb\w*(\.\d+)?\.bias", target):
        return value[None, :, None, None]
    return value
