"""What the rows of StyleGAN2 generators share, whichever pipeline they belong to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from torch import nn

from facewright_export.checkpoints import LayoutError
from facewright_export.checkpoints.stylegan2 import import_stylegan2
from facewright_export.network import Example, Input
from facewright_export.networks.stylegan2 import StyleGan2Synthesis

Generator = TypeVar("Generator", bound=nn.Module)

#: StyleGAN2 in fp16: demodulation sums up to 512 squares and adds 1e-8, which fp16 rounds to 0. The layers
#: are convs.0, conv1 …; what their parts compute (convs.0.activate/Add) stays narrow.
DEMODULATION: Final = ("*[0-9]/Gemm", "*[0-9]/Add", "*[0-9]/Sqrt", "*[0-9]/Reciprocal")
#: Weights that StyleGAN2 scales itself are stored at unit variance; the last ones smaller, for images in -1 …
#: 1.
STYLEGAN2_SCALES: Final = {
    "*to_rgb*.conv.weight": 0.2,
    "*.conv.weight": 1.0,
    "*modulation.weight": 1.0,
    "*.modulation.bias": 1.0,
    "*to_rgb*.bias": 0.1,  # one for each resolution, all added: larger ones push whole channels out of -1 … 1
    "*noises.*": 1.0,
    "*input.input": 1.0,
}


def w_plus(count: int) -> Input:
    """``count`` styles of 512 numbers, two for each resolution that a generator draws."""
    return Input("W_PLUS", (count, 512), Example.NORMAL)


def at_resolution(resolution: int, load: Callable[[Path], Generator]) -> Callable[[Path], Generator]:
    """A loader of generators of one resolution: files of albedo and displacement look alike."""

    def load_at(path: Path) -> Generator:
        generator = load(path)
        found = getattr(generator, "synthesis", generator).layout.resolution
        if found != resolution:
            raise LayoutError(
                str(path), f"its generator draws {found}², expected {resolution}²", "give the other file"
            )
        return generator

    return load_at


def load_synthesis(path: Path, channels: int) -> StyleGan2Synthesis:
    """The synthesis network of a generator that draws ``channels``. Raises CheckpointError."""
    synthesis = import_stylegan2(path).synthesis
    found = synthesis.layout.output_channels
    if found != channels:
        raise LayoutError(
            str(path), f"its generator draws {found} channels, expected {channels}", "give the other file"
        )
    return synthesis
