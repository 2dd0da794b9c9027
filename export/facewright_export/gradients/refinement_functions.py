"""The three networks of refinement as functions with the tensors of `facewright.refine.networks`.

Each adds to a network what belongs into its graph: units of its outputs, normalisation, cropping and
resizing of its inputs, and the precision it computes in. Inputs and outputs are float32 in every precision.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

#: Metres of one unit of a generator's offset channels.
OFFSET_SCALE = 0.01
#: Share of FACE_CROP's side that the identity network is shown: the face with the margin it was trained
#: with. The crop is 2.2 faces wide (``photo.face_crop``), a detector's box with facenet-pytorch's margin
#: about 1.2.
FACE_WINDOW = 0.55


class UvMapGenerator(nn.Module):
    """W+ f32 [B, L, 512] to UV_MAPS f32 [B, 6, R, R]: offsets from the mean head (metres), linear albedo.

    The synthesis network's first three channels are offsets in `OFFSET_SCALE`; the others c stand for the
    albedo ((c + 1) / 2)²: its square root is about what an eye sees, and a square is never negative.

    Args:
        synthesis: [B, L, 512] → [B, 6, R, R], values of about -1 … 1 (paper "normalized", section 3.1).
        precision: what it computes in.
    """

    def __init__(self, synthesis: nn.Module, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.synthesis = constant_copy(synthesis).to(precision)
        self.precision = precision

    def forward(self, w_plus: Tensor) -> Tensor:
        image = self.synthesis(w_plus.to(self.precision)).float()
        # Split: the gradient of two slices would be two whole images that are mostly 0, and their sum.
        offset, root = image.split(3, dim=1)
        root = (root + 1) * 0.5
        return torch.cat([offset * OFFSET_SCALE, root * root], dim=1)


class PerceptualLoss(nn.Module):
    """LPIPS against features that are computed once for each photo (Zhang et al., CVPR 2018, equation 1).

    Images are f32 [B, 3, H, W], sRGB values 0-1. In half precision only the convolutions, activations and
    pooling are half: lengths of feature vectors, whose squares half precision cannot hold, and distances
    stay float32.

    Args:
        lpips: `facewright_export.networks.lpips.Lpips`, or one of its kind.
        precision: what its convolutions compute in.
    """

    def __init__(self, lpips: nn.Module, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.lpips = constant_copy(lpips)
        if precision != torch.float32:
            self.lpips.features = nn.Sequential(*(_AtPrecision(m, precision) for m in self.lpips.features))

    def targets(self, image: Tensor) -> tuple[Tensor, ...]:
        """The photo's features, a map [B, C, h, w] of unit vectors for each layer."""
        return tuple(self.lpips.unit_features(image * 2 - 1))

    def forward(self, image: Tensor, *targets: Tensor) -> Tensor:
        """Distance f32 [B] of each image to its photo's features."""
        layers = []
        for i, (features, target) in enumerate(zip(self.targets(image), targets, strict=True)):
            # The mean over pixels before the weights of channels: their order is free, and this way the
            # weights multiply a vector instead of an image.
            weights = self.lpips.get_submodule(f"lin{i}.model.1").weight.flatten()
            difference = features - target
            layers.append((difference * difference).mean(dim=(2, 3)) @ weights)
        return torch.stack(layers).sum(dim=0)


class IdentityLoss(nn.Module):
    """1 - cosine between the embeddings of an image and of its photo (paper "normalized", section 3.3).

    Images are f32 [B, 3, S, S], sRGB values 0-1, framed as FACE_CROP; the network is shown the ``window``
    in the middle, resampled by two matrix products.

    Args:
        network: [B, 3, n, n], (255 x - 127.5) / 128 → embeddings [B, E] of unit length. Its batch
            normalisations are folded into its convolutions.
        image_size: S, pixels.
        network_size: n: 160 for InceptionResnetV1.
        window: share of the image's side.
        precision: what the network computes in.
    """

    def __init__(
        self,
        network: nn.Module,
        image_size: int = 256,
        network_size: int = 160,
        window: float = FACE_WINDOW,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.network = without_batch_norms(network).to(precision)
        self.precision = precision
        self.register_buffer(
            "resample", torch.from_numpy(window_resampling(image_size, network_size, window))
        )

    def targets(self, image: Tensor) -> tuple[Tensor]:
        """The photo's embedding, f32 [B, E]."""
        # Two products with a constant, along the columns and, turned, along the rows.
        narrowed = functional.linear(image, self.resample)
        face = functional.linear(narrowed.transpose(2, 3).contiguous(), self.resample).transpose(2, 3)
        embedding = self.network(((face * 255 - 127.5) / 128).to(self.precision)).float()
        return (functional.normalize(embedding, dim=1),)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """1 - cosine f32 [B]."""
        return 1 - (self.targets(image)[0] * target).sum(dim=1)


def window_resampling(image_size: int, network_size: int, window: float) -> NDArray[np.float32]:
    """Weights f32 [network_size, image_size] that resample the middle ``window`` of a row of pixels.

    Linear interpolation between pixel centres; where it shrinks, its triangle is as wide as an output
    pixel. Rows sum to 1.
    """
    step = image_size * window / network_size
    centres = image_size / 2 + (np.arange(network_size) + 0.5 - network_size / 2) * step
    distance = np.abs(centres[:, None] - (np.arange(image_size) + 0.5)) / max(step, 1.0)
    weights = np.maximum(1 - distance, 0)
    rows: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return rows


def constant_copy(network: nn.Module) -> nn.Module:
    """A copy for inference whose parameters are constants: only gradients by activations are exported."""
    return copy.deepcopy(network).eval().requires_grad_(False)


def in_float32(network: nn.Module) -> nn.Module:
    """A constant copy of one of these functions that computes in float32: the reference of a half one."""
    exact = constant_copy(network).float()
    for part in exact.modules():
        if isinstance(part, (UvMapGenerator, IdentityLoss, _AtPrecision)):
            part.precision = torch.float32
    return exact


def without_batch_norms(network: nn.Module) -> fx.GraphModule:
    """A constant copy whose batch normalisations are part of the convolutions and linear layers before them.

    Raises:
        ValueError: a normalisation that does not follow such a layer directly.
    """
    traced = fx.symbolic_trace(constant_copy(network))
    layers = dict(traced.named_modules())
    for node in traced.graph.nodes:
        norm = layers.get(node.target) if node.op == "call_module" else None
        if not isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            continue
        before = node.args[0]
        layer = layers.get(before.target) if before.op == "call_module" and len(before.users) == 1 else None
        if isinstance(layer, nn.Conv2d):
            traced.set_submodule(before.target, fuse_conv_bn_eval(layer, norm))
        elif isinstance(layer, nn.Linear):
            traced.set_submodule(before.target, fuse_linear_bn_eval(layer, norm))
        else:
            raise ValueError(
                f"{node.target} does not directly follow a convolution or linear layer of its own"
            )
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    traced.recompile()
    return constant_copy(traced)


class _AtPrecision(nn.Module):
    """A layer that computes in ``precision`` and gives float32; a cast there and back in between is none."""

    def __init__(self, layer: nn.Module, precision: torch.dtype) -> None:
        super().__init__()
        self.layer = layer.to(precision)
        self.precision = precision

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x.to(self.precision)).float()
        return result
