"""The networks of refinement as files: names of `facewright.refine.networks`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn

from facewright.refine.networks import IMAGE, LOSS, UV_MAPS, W_PLUS
from facewright_client import contract
from facewright_export.gradients.export_with_gradient import (
    GradientGraphs,
    GradientNames,
    export_function,
    export_loss,
    export_with_gradient,
)
from facewright_export.gradients.gradient_gates import require_generator_gradient, require_loss_gradient
from facewright_export.gradients.refinement_functions import IdentityLoss, PerceptualLoss, UvMapGenerator
from facewright_export.gradients.styled_layers import with_lean_gradients

#: Pixels per side of IMAGE, over FACE_CROP.
IMAGE_SIZE = 256
#: Multiplies gradients inside graphs that compute in half precision.
HALF_GRADIENT_SCALE = 1024.0


def export_generator(
    generator: nn.Module, latent_shape: tuple[int, int], folder: Path, gradient_scale: float = 1.0
) -> GradientGraphs:
    """Write ``generator_forward.onnx`` and ``generator_backward.onnx``, held to autograd.

    Args:
        generator: a `UvMapGenerator`.
        latent_shape: L and 512.
        folder: exists; files of these names in it stay as they are if the export fails.
        gradient_scale: `HALF_GRADIENT_SCALE` for one that computes in half precision.

    Raises:
        GateError: the graphs compute other maps or another gradient than the generator.
    """
    lean = with_lean_gradients(generator)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as unfinished:
        graphs = export_with_gradient(
            lambda w_plus: (lean(w_plus),),
            [torch.zeros(2, *latent_shape)],
            [W_PLUS],
            GradientNames((W_PLUS,), (UV_MAPS,)),
            Path(unfinished) / "generator",
            gradient_scale,
        )
        require_generator_gradient(generator, latent_shape, graphs.forward, graphs.backward)
        forward, backward = (file.replace(folder / file.name) for file in (graphs.forward, graphs.backward))
    return GradientGraphs(forward, backward, graphs.residual_bytes)


def export_image_loss(
    name: str,
    loss: PerceptualLoss | IdentityLoss,
    image_size: int,
    folder: Path,
    gradient_scale: float = 1.0,
) -> list[Path]:
    """Write ``<name>_targets.onnx`` and ``<name>_loss.onnx``, held to autograd; both files.

    Args:
        name: ``perceptual`` or ``identity``.
        loss: the function; its targets become ``TARGET_0``, ``TARGET_1`` …
        image_size: of IMAGE, pixels.
        folder, gradient_scale: see `export_generator`.

    Raises:
        GateError: the graphs compute other targets, losses or another gradient than the function.
    """
    image = torch.zeros(2, 3, image_size, image_size)
    with torch.no_grad():
        targets = loss.targets(image)
    names = tuple(f"TARGET_{i}" for i in range(len(targets)))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as temporary:
        unfinished = Path(temporary)
        files = [
            export_function(
                loss.targets, [image], GradientNames((IMAGE,), names), unfinished / f"{name}_targets"
            ),
            export_loss(
                loss,
                [image, *targets],
                IMAGE,
                GradientNames((IMAGE, *names), (LOSS,)),
                unfinished / f"{name}_loss",
                gradient_scale,
            ),
        ]
        require_loss_gradient(name, loss, image_size, *files)
        return [file.replace(folder / file.name) for file in files]


def generator_gradients(synthesis: nn.Module, folder: Path) -> None:
    """A generator's graphs of avatar_normalized: W+ of 14 x 512 (normalized, section 3.1)."""
    layers, size = contract.W_PLUS.shape
    export_generator(UvMapGenerator(synthesis), (layers, size), folder)


def perceptual_gradients(lpips: nn.Module, folder: Path) -> None:
    """LPIPS's graphs of avatar_normalized (normalized, equation 2)."""
    export_image_loss("perceptual", PerceptualLoss(lpips), IMAGE_SIZE, folder)


def identity_gradients(network: nn.Module, folder: Path) -> None:
    """The face recognition's graphs of avatar_normalized (normalized, equation 2)."""
    export_image_loss("identity", IdentityLoss(network), IMAGE_SIZE, folder)
