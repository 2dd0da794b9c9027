"""Gates of exported gradients: graphs that give another gradient than autograd are not exported.

The reference is plain torch in float32, of the module as it is and not in the form that was traced. Graphs
in half precision are run with every result rounded (`facewright_export.onnx.precision.emulated`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import onnx
import torch
from torch import Tensor, nn

from facewright.refine.networks import GRAD_IMAGE, GRAD_UV_MAPS, GRAD_W_PLUS, IMAGE, LOSS, UV_MAPS, W_PLUS
from facewright_export.gradients.example_images import smooth_images
from facewright_export.gradients.refinement_functions import IdentityLoss, PerceptualLoss, in_float32
from facewright_export.onnx.precision import Precision
from facewright_export.parity.parity import Array, plain_difference, run_onnx
from facewright_export.parity.parity_gates import Bounds, Gate, judge, require_passed
from facewright_export.seeded_weights import seeded_uniform

#: Least cosine and largest relative L2 of a gradient against float32 autograd, by precision. A ReLU's
#: gradient jumps at 0, so that rounding alone changes it: by 6e-3 in InceptionResnetV1 with untrained
#: weights, whose activations lie close to 0; by 1e-3 and less where they do not.
BOUNDS: Final = {"fp32": (0.9999, 9e-3), "fp16": (0.98, 0.2)}


def require_generator_gradient(
    generator: nn.Module, latent_shape: tuple[int, int], forward: Path, backward: Path
) -> None:
    """Hold a generator's pair of graphs to autograd, by `BOUNDS`, on one seeded code.

    The gradient that enters is that of a mean squared distance to another code's maps: as small as a loss
    over pixels makes it.

    Raises:
        GateError: maps or gradient differ; it names the worst tensor.
    """
    exact = in_float32(generator)
    codes, other = (seeded_codes(name, 1, latent_shape) for name in ("codes", "other codes"))
    with torch.no_grad():
        difference = exact(codes) - exact(other)
    grad_maps = 2 * difference / difference.numel()
    maps, gradient = _value_and_gradient(exact, codes, grad_maps)
    inputs, precision = {W_PLUS: codes.numpy(), GRAD_UV_MAPS: grad_maps.numpy()}, _precision(generator)
    found = _run([forward, backward], inputs, precision)
    _require("generator", precision, {UV_MAPS: maps, GRAD_W_PLUS: gradient}, found)


def require_loss_gradient(
    name: str, loss: PerceptualLoss | IdentityLoss, image_size: int, targets_file: Path, loss_file: Path
) -> None:
    """Hold the graphs of a loss to autograd, by `BOUNDS`, on one seeded pair of image and photo.

    Raises:
        GateError: targets, losses or gradient differ; it names the worst tensor.
    """
    exact, precision = in_float32(loss), _precision(loss)
    image, photo = (smooth_images(key, 1, image_size) for key in ("image", "photo"))
    with torch.no_grad():
        targets = exact.targets(photo)
    value, gradient = _value_and_gradient(lambda x: exact(x, *targets), image, torch.ones(1))
    reference = {f"TARGET_{i}": target.numpy() for i, target in enumerate(targets)}
    found = _run([targets_file], {IMAGE: photo.numpy()}, precision)
    found = _run([loss_file], {**found, IMAGE: image.numpy()}, precision)
    _require(name, precision, {**reference, LOSS: value, GRAD_IMAGE: gradient}, found)


def seeded_codes(key: str, count: int, latent_shape: tuple[int, int]) -> Tensor:
    """Codes f32 [count, L, 512] of mean 0 and variance 1, a function of ``key`` and sizes alone."""
    return torch.from_numpy(seeded_uniform((count, *latent_shape), key, seed=0)) * math.sqrt(3)


def _value_and_gradient(
    function: Callable[[Tensor], Tensor], x: Tensor, grad_output: Tensor
) -> tuple[Array, Array]:
    leaf = x.clone().requires_grad_(True)
    value = function(leaf)
    gradient = torch.autograd.grad(value, leaf, grad_output)[0]
    return value.detach().numpy(), gradient.numpy()


def _run(files: Sequence[Path], inputs: Mapping[str, Array], precision: Precision) -> dict[str, Array]:
    """Inputs and outputs of the graphs, each given what it asks for of those before it."""
    arrays = dict(inputs)
    for file in files:
        model = onnx.load(file)
        given = {value.name: arrays[value.name] for value in model.graph.input}
        arrays |= run_onnx(model, given, precision, torch.get_num_threads())
    return arrays


def _require(
    network: str, precision: Precision, reference: Mapping[str, Array], found: Mapping[str, Array]
) -> None:
    gate = Gate(plain_difference(), {precision: Bounds(*BOUNDS[precision], in_unit=math.inf)})
    require_passed(network, precision, judge(dict.fromkeys(reference, gate), precision, reference, found))


def _precision(module: nn.Module) -> Precision:
    half = any(parameter.dtype == torch.float16 for parameter in module.parameters())
    return Precision.FP16 if half else Precision.FP32
