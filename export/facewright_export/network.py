"""What the exporter must know about a network: one row of a network table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facewright_export.onnx.graph_surgery import PixelNormalisation
from facewright_export.onnx.precision import Precision
from facewright_export.parity.parity_gates import Gate
from facewright_export.seeded_weights import seeded_state_dict, seeded_uniform

Array = npt.NDArray[Any]


class Example(StrEnum):
    """How an input's seeded example is made."""

    PIXELS = "pixels"  # uint8 0-255, blocks of colour with fine noise over them
    NORMAL = "normal"  # about N(0, 1)
    DIRECTION = "direction"  # vectors of unit length
    SIGNED = "signed"  # uniform in -1 … 1
    SMALL = "small"  # uniform in -0.3 … 0.3: angles in radians


@dataclass(frozen=True)
class Input:
    """One input of a network as it is served.

    Args:
        name: words in capitals.
        shape: without the batch. Of an image, ``(H, W, 3)``: bytes come in, see ``Network.pixels``.
        example: what its examples are like.
    """

    name: str
    shape: tuple[int, ...]
    example: Example

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 for pixels, float32 for everything else."""
        return np.dtype(np.uint8 if self.example is Example.PIXELS else np.float32)


@dataclass(frozen=True)
class Batch:
    """Batches that an engine is built for: least, usual (tuned for), largest."""

    least: int = 1
    usual: int = 4
    largest: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.usual <= self.largest:
            raise ValueError(f"batches must rise from 1: {self.least}, {self.usual}, {self.largest}")


@dataclass(frozen=True)
class Network:
    """One row of a network table.

    Args:
        name: of the network and of its folder in the model repository.
        build: the module at its published size, without weights (face models: with made-up numbers).
        load: the module from files in their published format, in the order of ``files``.
        files: what each file is, as its publisher calls it; where none was published, ``<network>.pt``.
        inputs: in the order of the module's arguments.
        gates: for each output, in the module's order, how it is judged.
        source: paper and section, or the repository, that define the network.
        serve: what becomes of the loaded module before it is exported: outputs named, trimmed to what the
            next stage reads.
        pixels: normalisation of the image input, moved into the graph; None: there is none.
        islands: layers that stay float32 in narrower files (see `precision.Narrowing`), and why in a comment.
        batch: of one request to the engine.
        precisions: in which it may be served.
        seeded_scales: standard deviations of seeded weights by pattern of key (see `seeded_state_dict`).
        kept: patterns of keys whose built values are kept when weights are seeded.
        gradients: writes graphs of the module with their gradients into a folder, for refinement.
        instead_of: the network of the same pipeline that this one may replace; "" where the pipeline needs
            this one.
    """

    name: str
    build: Callable[[], nn.Module]
    load: Callable[..., nn.Module]
    files: tuple[str, ...]
    inputs: tuple[Input, ...]
    gates: Mapping[str, Gate]
    source: str
    serve: Callable[[nn.Module], nn.Module] = field(default=lambda module: module)
    pixels: PixelNormalisation | None = None
    islands: tuple[str, ...] = ()
    batch: Batch = field(default_factory=Batch)
    precisions: tuple[Precision, ...] = tuple(Precision)
    seeded_scales: Mapping[str, float] = field(default_factory=dict)
    kept: tuple[str, ...] = ("*.kernel",)
    gradients: Callable[[nn.Module, Path], None] | None = None
    instead_of: str = ""

    def __post_init__(self) -> None:
        images = [given.name for given in self.inputs if given.example is Example.PIXELS]
        if len(images) != (self.pixels is not None):
            raise ValueError(f"{self.name}: a normalisation goes with exactly one image input, got {images}")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(self.gates)

    def from_files(self, *paths: Path) -> nn.Module:
        """The served module with the weights of an owner's files.

        Raises:
            CheckpointError: a file does not fit.
        """
        return self.serve(self.load(*paths)).eval()

    def seeded_network(self, seed: int = 1) -> nn.Module:
        """What `load` gives, with seeded weights instead of an owner's."""
        module = self.build()
        state = module.state_dict()
        shapes = {
            key: tuple(value.shape)
            for key, value in state.items()
            if not any(fnmatchcase(key, pattern) for pattern in self.kept)
        }
        arrays = seeded_state_dict(shapes, seed, self.seeded_scales)
        module.load_state_dict(state | {key: torch.from_numpy(array) for key, array in arrays.items()})
        return module.eval()

    def seeded(self, seed: int = 1) -> nn.Module:
        """The served module with seeded weights: for graphs, gates and times where no file is at hand."""
        return self.serve(self.seeded_network(seed)).eval()

    def examples(self, batch: int, seed: int = 0) -> dict[str, Array]:
        """Seeded inputs as a client sends them, ``[batch, *shape]``; the same numbers on every machine."""
        return {given.name: _example(given, batch, seed) for given in self.inputs}

    def module_inputs(self, examples: Mapping[str, Array]) -> dict[str, Tensor]:
        """What the module takes for these examples: pixels are normalised as its authors did."""
        arrays = {
            given.name: self.pixels.apply(examples[given.name])
            if given.example is Example.PIXELS and self.pixels is not None
            else examples[given.name]
            for given in self.inputs
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def reference(self, module: nn.Module, examples: Mapping[str, Array]) -> dict[str, Array]:
        """What torch computes in float32, by output name."""
        with torch.inference_mode():
            given: Any = module(*self.module_inputs(examples).values())
        results = given if isinstance(given, tuple) else (given,)
        return {name: result.numpy() for name, result in zip(self.outputs, results, strict=True)}


class ThenNamed(nn.Module):
    """A network followed by a function of its output: what is served is what the next stage reads."""

    def __init__(self, network: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.network = network
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        """The function of the network's output; a named tuple becomes a plain one."""
        result = self.function(self.network(*inputs))
        return tuple(result) if isinstance(result, tuple) else result


def then(function: Callable[..., Any]) -> Callable[[nn.Module], nn.Module]:
    """A ``serve`` that applies a function to the network's output."""
    return lambda network: ThenNamed(network, function)


def _example(given: Input, batch: int, seed: int) -> Array:
    shape = (batch, *given.shape)
    uniform = seeded_uniform(shape, given.name, seed)
    if given.example is Example.PIXELS:
        height, width, channels = given.shape
        blocks = seeded_uniform((batch, _BLOCKS, _BLOCKS, channels), f"{given.name} blocks", seed)
        rows, columns = np.arange(height) * _BLOCKS // height, np.arange(width) * _BLOCKS // width
        coarse = blocks[:, rows][:, :, columns]
        pixels: Array = np.rint(np.clip(127.5 + 100 * coarse + 25 * uniform, 0, 255)).astype(np.uint8)
        return pixels
    if given.example is Example.NORMAL:
        return uniform * np.float32(math.sqrt(3))
    if given.example is Example.DIRECTION:
        return np.asarray(uniform / np.linalg.norm(uniform, axis=-1, keepdims=True))
    return uniform * np.float32(0.3) if given.example is Example.SMALL else uniform


#: Blocks of colour along each side of an example image.
_BLOCKS = 8
