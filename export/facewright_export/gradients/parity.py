"""Gradients of the exported graphs against autograd, and what they cost.

``python -m benchmarks.gradients`` prints the table. At the published sizes, with random weights (published
ones are not redistributable; parity does not depend on them): StyleGAN2 configuration F at 256 x 256, LPIPS
with VGG16, InceptionResnetV1. The reference is float32 autograd. Float32 graphs are run as ONNX files by
ONNX Runtime; half-precision graphs as traced, each operator rounded
(`facewright_export.gradients.half_arithmetic`), because ONNX Runtime rounds nothing in half precision on a
CPU.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from facewright.engines.onnx_engine import OnnxEngine
from facewright.refine.networks import IMAGE, LOSS, UV_MAPS, W_PLUS
from facewright_export.gradients.cheapest_cut import split_at_cheapest_cut
from facewright_export.gradients.example_images import smooth_images
from facewright_export.gradients.export_with_gradient import GradientNames, export_with_gradient
from facewright_export.gradients.gradient_gates import BOUNDS, seeded_codes
from facewright_export.gradients.half_arithmetic import HalfArithmetic
from facewright_export.gradients.joint_graph import trace_joint_graph, trace_losses_with_gradient
from facewright_export.gradients.refinement_export import (
    HALF_GRADIENT_SCALE,
    export_generator,
    export_image_loss,
)
from facewright_export.gradients.refinement_functions import IdentityLoss, PerceptualLoss, UvMapGenerator
from facewright_export.gradients.styled_layers import with_lean_gradients
from facewright_export.networks.inception_resnet_v1 import InceptionResnetV1
from facewright_export.networks.lpips import Lpips
from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Synthesis

F32 = NDArray[np.float32]
#: Computes values and gradient of the first items of the batch, as many as asked for.
ValueAndGradient = Callable[[int], tuple[F32, F32]]

BATCH: Final = 2
IMAGE_SIZE: Final = 256
NETWORKS: Final = ("generator", "perceptual", "identity")
RUNS: Final = 5


@dataclass(frozen=True)
class GradientParity:
    """One network in one precision, and what it costs.

    Attributes:
        network: its name; ``split`` after it: a loss cut into a forward and a backward graph, for comparison.
        precision: ``fp32`` or ``fp16``.
        value_relative_l2: of maps or losses.
        gradient_cosine, gradient_relative_l2: of the gradient by codes or image.
        milliseconds: forward and backward of one item by ONNX Runtime, the best of some runs; None where the
            graph was not run by it. ``processor_milliseconds``: of all its threads.
        autograd_milliseconds, autograd_processor_milliseconds: the same by torch on as many threads.
        residual_megabytes: that pass from the forward to the backward graph for one item; 0 for one graph.
    """

    network: str
    precision: str
    value_relative_l2: float
    gradient_cosine: float
    gradient_relative_l2: float
    milliseconds: float | None
    processor_milliseconds: float | None
    autograd_milliseconds: float | None
    autograd_processor_milliseconds: float | None
    residual_megabytes: float

    @property
    def within_bounds(self) -> bool:
        """Whether the gradient keeps `BOUNDS`; NaN does not."""
        cosine, relative = BOUNDS[self.precision]
        return self.gradient_cosine >= cosine and self.gradient_relative_l2 <= relative


def generator_parity(
    synthesis: nn.Module, latent_shape: tuple[int, int], threads: int = 1
) -> list[GradientParity]:
    """A generator in both precisions.

    The gradient that enters is that of a mean squared distance between maps: smooth, and as small as a loss
    over pixels makes it.
    """
    generator, half = UvMapGenerator(synthesis), UvMapGenerator(synthesis, torch.float16)
    codes, others = (seeded_codes(name, BATCH, latent_shape) for name in ("codes", "other codes"))
    with torch.no_grad():
        difference = generator(codes) - generator(others)
    grad_maps = 2 * difference / difference[0].numel()
    autograd = _autograd(generator, codes, grad_maps)

    lean = with_lean_gradients(half)
    joint = trace_joint_graph(lambda w_plus: (lean(w_plus),), [codes], [0], HALF_GRADIENT_SCALE)
    half_size = split_at_cheapest_cut(joint, [W_PLUS], 1).residual_bytes
    rounded = _compare("generator", "fp16", autograd, _rounded(joint, [codes, grad_maps]), half_size)
    with tempfile.TemporaryDirectory() as folder:
        graphs = export_generator(generator, latent_shape, Path(folder))
        inputs = {W_PLUS: codes.numpy(), f"GRAD_{UV_MAPS}": grad_maps.numpy()}
        run = _onnx([graphs.forward, graphs.backward], inputs, (UV_MAPS, f"GRAD_{W_PLUS}"), threads)
        return [_compare("generator", "fp32", autograd, run, graphs.residual_bytes, timed=True), rounded]


def loss_parity(
    name: str,
    loss: PerceptualLoss | IdentityLoss,
    half: PerceptualLoss | IdentityLoss,
    image_size: int,
    threads: int = 1,
) -> list[GradientParity]:
    """A loss in both precisions, and in float32 as two graphs: what cutting it would cost."""
    image, photo = (smooth_images(key, BATCH, image_size) for key in ("image", "photo"))
    with torch.no_grad():
        targets = loss.targets(photo)
    autograd = _autograd(loss, image, torch.ones(BATCH), targets)

    arguments = [image, *targets]
    joint = trace_losses_with_gradient(half, arguments, 0, HALF_GRADIENT_SCALE)
    rows = [_compare(name, "fp16", autograd, _rounded(joint, arguments), 0)]
    with tempfile.TemporaryDirectory() as folder:
        _, file = export_image_loss(name, loss, image_size, Path(folder))
        names = tuple(f"TARGET_{i}" for i in range(len(targets)))
        arrays = [tensor.numpy() for tensor in arguments]
        inputs: dict[str, F32] = dict(zip((IMAGE, *names), arrays, strict=True))
        run = _onnx([file], inputs, (LOSS, f"GRAD_{IMAGE}"), threads)
        rows.insert(0, _compare(name, "fp32", autograd, run, 0, timed=True))

        graphs = export_with_gradient(
            lambda *arguments: (loss(*arguments),),
            arguments,
            [IMAGE],
            GradientNames((IMAGE, *names), (LOSS,)),
            Path(folder) / f"{name}_split",
        )
        inputs[f"GRAD_{LOSS}"] = np.ones(BATCH, np.float32)
        run = _onnx([graphs.forward, graphs.backward], inputs, (LOSS, f"GRAD_{IMAGE}"), threads)
        rows.append(_compare(f"{name}, split", "fp32", autograd, run, graphs.residual_bytes, timed=True))
    return rows


def _compare(
    network: str,
    precision: str,
    autograd: ValueAndGradient,
    run: ValueAndGradient,
    residual_bytes: int,
    timed: bool = False,
) -> GradientParity:
    (value, gradient), (found_value, found_gradient) = autograd(BATCH), run(BATCH)
    none = None, None
    (wall, processor), (autograd_wall, autograd_processor) = (
        _milliseconds(run, autograd) if timed else (none, none)
    )
    return GradientParity(
        network,
        precision,
        _relative_l2(found_value, value),
        _cosine(found_gradient, gradient),
        _relative_l2(found_gradient, gradient),
        wall,
        processor,
        autograd_wall,
        autograd_processor,
        residual_bytes / 1e6,
    )


def _autograd(
    function: Callable[..., Tensor], x: Tensor, grad_output: Tensor, others: Sequence[Tensor] = ()
) -> ValueAndGradient:
    def run(count: int) -> tuple[F32, F32]:
        leaf = x[:count].clone().requires_grad_(True)
        value = function(leaf, *(tensor[:count] for tensor in others))
        return value.detach().numpy(), torch.autograd.grad(value, leaf, grad_output[:count])[0].numpy()

    return run


def _rounded(joint: fx.GraphModule, arguments: Sequence[Tensor]) -> ValueAndGradient:
    def run(count: int) -> tuple[F32, F32]:
        with torch.no_grad():
            value, gradient = HalfArithmetic(joint).run(*(tensor[:count] for tensor in arguments))
        return value.numpy(), gradient.numpy()

    return run


def _onnx(
    files: Sequence[Path], inputs: Mapping[str, F32], results: tuple[str, str], threads: int
) -> ValueAndGradient:
    engines = [OnnxEngine(file, threads=threads) for file in files]

    def run(count: int) -> tuple[F32, F32]:
        arrays: dict[str, F32] = {name: array[:count] for name, array in inputs.items()}
        for engine in engines:
            arrays |= engine.run({name: arrays[name] for name in engine.inputs})
        return arrays[results[0]], arrays[results[1]]

    return run


def _milliseconds(*calls: ValueAndGradient) -> list[tuple[float, float]]:
    """Of one item by each: wall clock and processor time of all threads, the best of `RUNS` after one to warm
    up. They take turns, so that a machine that has other work disturbs all of them.
    """
    times: list[list[tuple[float, float]]] = [[] for _ in calls]
    for _ in range(RUNS + 1):
        for call, own in zip(calls, times, strict=True):
            wall, processor = time.perf_counter(), time.process_time()
            call(1)
            own.append((time.perf_counter() - wall, time.process_time() - processor))
    return [(1e3 * min(w for w, _ in own[1:]), 1e3 * min(p for _, p in own[1:])) for own in times]


def _cosine(found: F32, expected: F32) -> float:
    a, b = found.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _relative_l2(found: F32, expected: F32) -> float:
    a, b = found.astype(np.float64), expected.astype(np.float64)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def random_weights(network: nn.Module) -> nn.Module:
    """The network with random weights that keep the scale of rectified activations (He et al. 2015)."""
    torch.manual_seed(0)
    for name, layer in network.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight)
            if name.startswith("lin"):
                layer.weight.data.abs_()
    return network.eval()


def published_size_parity(networks: Sequence[str], threads: int) -> Iterator[GradientParity]:
    """Rows of the networks named, at the published sizes."""
    if "generator" in networks:
        torch.manual_seed(0)
        layout = GeneratorLayout(output_channels=6, noise=False)
        yield from generator_parity(StyleGan2Synthesis(layout), (layout.style_count, 512), threads)
    if "perceptual" in networks:
        lpips = random_weights(Lpips())
        halves = PerceptualLoss(lpips), PerceptualLoss(lpips, torch.float16)
        yield from loss_parity("perceptual", *halves, IMAGE_SIZE, threads)
    if "identity" in networks:
        network = random_weights(InceptionResnetV1())
        losses = IdentityLoss(network), IdentityLoss(network, precision=torch.float16)
        yield from loss_parity("identity", *losses, IMAGE_SIZE, threads)
