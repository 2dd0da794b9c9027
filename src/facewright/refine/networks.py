"""The networks that refinement runs, as engines, and the names of their tensors.

A network comes as two graphs, so that a step needs no autograd framework: what `facewright_export.gradients`
exports and the loop in `facewright.refine.loop` runs. B is the batch of photos; frames, colours and units:
CONVENTIONS.md.

Generator (normalized §3.1), ``generator_forward`` and ``generator_backward``:

    W_PLUS          f32 [B, L, 512]   latents, L = 14 for maps of 256 x 256
    UV_MAPS         f32 [B, 6, R, R]  0-2: offset from the mean head, metres; 3-5: linear albedo, 0-1
    RESIDUAL_*      any               what the backward graph needs: out of one graph, into the other, by name
    GRAD_UV_MAPS    f32 [B, 6, R, R]  gradient of the loss by UV_MAPS
    GRAD_W_PLUS     f32 [B, L, 512]   gradient of the loss by W_PLUS

    forward:  W_PLUS -> UV_MAPS, RESIDUAL_*
    backward: RESIDUAL_* (and any other tensor of the forward graph), GRAD_UV_MAPS -> GRAD_W_PLUS

Image losses: LPIPS (``perceptual_targets``, ``perceptual_loss``) and identity (``identity_targets``,
``identity_loss``):

    IMAGE           f32 [B, 3, H, W]  sRGB values 0-1; H = W = 256; the graph itself resizes and normalises
    TARGET_*        any               what is computed once per photo: LPIPS features, the identity embedding
    LOSS            f32 [B]           LPIPS distance, or 1 - cosine of the embeddings; of each photo
    GRAD_IMAGE      f32 [B, 3, H, W]  gradient of each photo's LOSS by its IMAGE

    targets: IMAGE -> TARGET_*
    loss:    IMAGE, TARGET_* -> LOSS, GRAD_IMAGE

The first axis of every tensor is the batch, free at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from facewright.core.errors import FacewrightError
from facewright.engines.engine import Engine
from facewright.refine.network_files import refinement_files
from facewright_client.contract import ErrorCode

W_PLUS: Final = "W_PLUS"
UV_MAPS: Final = "UV_MAPS"
GRAD_UV_MAPS: Final = "GRAD_UV_MAPS"
GRAD_W_PLUS: Final = "GRAD_W_PLUS"
IMAGE: Final = "IMAGE"
LOSS: Final = "LOSS"
GRAD_IMAGE: Final = "GRAD_IMAGE"

#: Channels of UV_MAPS.
OFFSET_CHANNELS: Final = slice(0, 3)
ALBEDO_CHANNELS: Final = slice(3, 6)


@dataclass(frozen=True)
class GeneratorNetwork:
    """Latents to UV maps, and the gradient back; checked when it is made.

    Attributes:
        forward, backward: see the module's text. Gradients go in and come out as they are: a graph that
            computes in half precision scales them inside, where they would be too small.

    Raises:
        FacewrightError: ENGINE_MISMATCH when a tensor is missing.
    """

    forward: Engine
    backward: Engine

    def __post_init__(self) -> None:
        _require("generator_forward", "input", self.forward.inputs, {W_PLUS})
        _require("generator_forward", "output", self.forward.outputs, {UV_MAPS})
        _require("generator_backward", "input", self.backward.inputs, {GRAD_UV_MAPS})
        _require("generator_backward", "output", self.backward.outputs, {GRAD_W_PLUS})
        saved = {W_PLUS, *self.forward.outputs}
        _require("generator_forward", "output", saved, set(self.backward.inputs) - {GRAD_UV_MAPS})

    @property
    def latent_shape(self) -> tuple[int, int]:
        """Layers and size of one photo's latents, (14, 512) for maps of 256 x 256."""
        _, layers, size = self.forward.inputs[W_PLUS].shape
        assert layers is not None
        assert size is not None
        return layers, size

    @property
    def map_size(self) -> int:
        """Texels per side of UV_MAPS."""
        side = self.forward.outputs[UV_MAPS].shape[-1]
        assert side is not None
        return side


@dataclass(frozen=True)
class ImageLossNetwork:
    """A distance between images through a network, with its gradient; checked when it is made.

    Attributes:
        name: for messages and breakdowns: ``perceptual`` or ``identity``.
        targets, loss: see the module's text.

    Raises:
        FacewrightError: ENGINE_MISMATCH when a tensor is missing.
    """

    name: str
    targets: Engine
    loss: Engine

    def __post_init__(self) -> None:
        _require(f"{self.name}_targets", "input", self.targets.inputs, {IMAGE})
        _require(f"{self.name}_loss", "input", self.loss.inputs, {IMAGE})
        _require(f"{self.name}_loss", "output", self.loss.outputs, {LOSS, GRAD_IMAGE})
        _require(f"{self.name}_targets", "output", self.targets.outputs, set(self.loss.inputs) - {IMAGE})

    @property
    def image_size(self) -> int:
        """Pixels per side of IMAGE."""
        side = self.loss.inputs[IMAGE].shape[-1]
        assert side is not None
        return side


@dataclass(frozen=True)
class RefinementNetworks:
    """All networks of a refinement.

    Attributes:
        generator: latents to UV maps.
        perceptual: LPIPS.
        identity: distance of identity embeddings; None: the identity term of eq. 2 is left out, and asking
            for it is an error.

    Raises:
        FacewrightError: ENGINE_MISMATCH when the two losses take images of different sizes.
    """

    generator: GeneratorNetwork
    perceptual: ImageLossNetwork
    identity: ImageLossNetwork | None = None

    def __post_init__(self) -> None:
        if self.identity is not None and self.identity.image_size != self.perceptual.image_size:
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"the perceptual network takes images of {self.perceptual.image_size} pixels, the identity "
                f"network of {self.identity.image_size}",
                "export both for one size: each graph resizes by itself",
            )


def load_refinement_networks(folder: Path, open_engine: Callable[[Path], Engine]) -> RefinementNetworks:
    """The networks in a folder, see `refinement_files`.

    Args:
        folder: holds ``generator_forward.onnx`` and the others.
        open_engine: makes an engine of an ONNX file.

    Raises:
        FacewrightError: ENGINE_MISMATCH when a file or a tensor is missing.
    """
    return open_refinement_networks(refinement_files(folder), open_engine)


def open_refinement_networks(
    files: Mapping[str, Path], open_engine: Callable[[Path], Engine]
) -> RefinementNetworks:
    """The networks of some files, by the names of the module's text.

    Args:
        files: of all but, where there is none, the identity pair.
        open_engine: makes an engine of an ONNX file.

    Raises:
        FacewrightError: ENGINE_MISMATCH when a tensor is missing.
    """

    def image_loss(name: str) -> ImageLossNetwork:
        return ImageLossNetwork(
            name, open_engine(files[f"{name}_targets"]), open_engine(files[f"{name}_loss"])
        )

    return RefinementNetworks(
        GeneratorNetwork(open_engine(files["generator_forward"]), open_engine(files["generator_backward"])),
        image_loss("perceptual"),
        image_loss("identity") if "identity_loss" in files else None,
    )


def _require(network: str, kind: str, have: Iterable[str], wanted: set[str]) -> None:
    missing = sorted(wanted - set(have))
    if missing:
        raise FacewrightError(
            ErrorCode.ENGINE_MISMATCH,
            f"{network} has no {kind} {', '.join(missing)}; it has {', '.join(sorted(have))}",
            "export it again with this version's facewright_export.gradients",
        )
