"""The networks of a refinement as torch modules: for export at published size, as engines, under autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, fx, nn

from benchmarks.networks.roofline import measure_ceiling
from facewright.core.arrays import Array
from facewright.core.assets import asset_path
from facewright.engines.engine import NamedTensors, TensorSpec
from facewright.head.head_model import HeadModel
from facewright.refine.device import RefinementDevice
from facewright.refine.networks import (
    GRAD_IMAGE,
    GRAD_UV_MAPS,
    GRAD_W_PLUS,
    IMAGE,
    LOSS,
    UV_MAPS,
    W_PLUS,
    GeneratorNetwork,
    ImageLossNetwork,
    RefinementNetworks,
    load_refinement_networks,
)
from facewright_export.gradients.cheapest_cut import split_at_cheapest_cut
from facewright_export.gradients.joint_graph import (
    trace_function,
    trace_joint_graph,
    trace_losses_with_gradient,
)
from facewright_export.gradients.parity import random_weights
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
from facewright_export.open_normalized.albedo_generator import open_generator
from facewright_export.open_normalized.perceptual import OpenPerceptual

IMAGE_SIZE: Final = 256
LATENT_SHAPE: Final = (14, 512)


@dataclass(frozen=True)
class TorchNetworks:
    """Functions with the tensors of `facewright.refine.networks`.

    Attributes:
        generator: W_PLUS to UV_MAPS.
        perceptual, identity: IMAGE and targets to losses.
        gradient_scale: for gradients inside graphs that compute in half precision.
    """

    generator: UvMapGenerator
    perceptual: PerceptualLoss
    identity: IdentityLoss | None
    gradient_scale: float = 1.0


def open_networks() -> TorchNetworks:
    """The open networks."""
    head = HeadModel.load(asset_path("head.npz"))
    return TorchNetworks(open_generator(head), PerceptualLoss(OpenPerceptual()), None)


def published(precision: torch.dtype = torch.float32) -> TorchNetworks:
    """The published sizes with random weights: StyleGAN2 configuration F at 256², LPIPS with VGG16,
    InceptionResnetV1. What an iteration costs does not depend on the weights; what it arrives at does.
    """
    torch.manual_seed(0)
    synthesis = StyleGan2Synthesis(GeneratorLayout(output_channels=6, noise=False))
    return TorchNetworks(
        UvMapGenerator(synthesis, precision),
        PerceptualLoss(random_weights(Lpips()), precision),
        IdentityLoss(random_weights(InceptionResnetV1()), precision=precision),
        1.0 if precision == torch.float32 else HALF_GRADIENT_SCALE,
    )


def core_gflop_per_s() -> float:
    """What one core of this machine computes at best in float32, measured."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return measure_ceiling("cpu").gflop_per_s
    finally:
        torch.set_num_threads(threads)


def export(networks: TorchNetworks, folder: Path, device: RefinementDevice) -> RefinementNetworks:
    """The networks as ONNX files in ``folder``, on ONNX Runtime."""
    export_generator(networks.generator, LATENT_SHAPE, folder, networks.gradient_scale)
    export_image_loss("perceptual", networks.perceptual, IMAGE_SIZE, folder, networks.gradient_scale)
    if networks.identity is not None:
        export_image_loss("identity", networks.identity, IMAGE_SIZE, folder, networks.gradient_scale)
    return load_refinement_networks(folder, device.open_engine)


def as_graphs(networks: TorchNetworks, device: RefinementDevice) -> RefinementNetworks:
    """The same traced graphs run by torch without autograd, on a GPU as CUDA graphs: where no engine that
    reads ONNX files is installed.
    """

    def graph(traced: fx.GraphModule, inputs: tuple[str, ...], outputs: tuple[str, ...], name: str) -> Any:
        stream = device.identity_stream if name == "identity" else device.stream
        return TorchGraphEngine(traced, inputs, outputs, stream)

    def image_loss(name: str, loss: PerceptualLoss | IdentityLoss) -> ImageLossNetwork:
        image = torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE)
        targets = trace_function(loss.targets, [image])
        # Shapes and dtypes are enough: a processor takes minutes to compute with halves.
        values = [node.meta["val"] for node in targets.graph.output_node().args[0]]
        examples = [torch.zeros(2, *(int(n) for n in value.shape[1:]), dtype=value.dtype) for value in values]
        traced = trace_losses_with_gradient(loss, [image, *examples], 0, networks.gradient_scale)
        names = tuple(f"TARGET_{i}" for i in range(len(values)))
        return ImageLossNetwork(
            name,
            graph(targets, (IMAGE,), names, name),
            graph(traced, (IMAGE, *names), (LOSS, GRAD_IMAGE), name),
        )

    generator = with_lean_gradients(networks.generator)
    joint = trace_joint_graph(
        lambda w_plus: (generator(w_plus),), [torch.zeros(2, *LATENT_SHAPE)], [0], networks.gradient_scale
    )
    split = split_at_cheapest_cut(joint, [W_PLUS], 1)
    extra = tuple(name for name in split.residuals if name != W_PLUS)
    return RefinementNetworks(
        GeneratorNetwork(
            graph(split.forward, (W_PLUS,), (UV_MAPS, *extra), "generator"),
            graph(split.backward, (*split.residuals, GRAD_UV_MAPS), (GRAD_W_PLUS,), "generator"),
        ),
        image_loss("perceptual", networks.perceptual),
        None if networks.identity is None else image_loss("identity", networks.identity),
    )


def graph_on(graph: fx.GraphModule, device: str) -> fx.GraphModule:
    """The graph and its constants moved, in place, from the device that it was traced on."""
    for node in graph.graph.nodes:
        if node.kwargs.get("device") is not None:  # autograd's casts name the device of the trace
            node.kwargs = {**node.kwargs, "device": torch.device(device)}
    graph.recompile()
    return graph.to(device)


class TorchGraphEngine(NamedTensors):
    """A traced graph as an `Engine`; arrays change hands by DLPack, without copies.

    Args:
        graph: traced with a free batch.
        inputs, outputs: names in the graph's order.
        stream: CuPy's, to run on; None: the CPU.
    """

    def __init__(
        self, graph: fx.GraphModule, inputs: tuple[str, ...], outputs: tuple[str, ...], stream: Any
    ) -> None:
        self._graph = graph_on(graph, "cpu" if stream is None else "cuda")
        self._stream = None if stream is None else torch.cuda.ExternalStream(stream.ptr)
        arguments = [node for node in graph.graph.nodes if node.op == "placeholder"]
        results = graph.graph.output_node().args[0]
        super().__init__(
            "the traced graph",
            {name: _spec(node) for name, node in zip(inputs, arguments, strict=True)},
            {name: _spec(node) for name, node in zip(outputs, results, strict=True)},
        )

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `Engine.run`."""
        tensors = [torch.from_dlpack(inputs[name]) for name in self._inputs]
        with torch.no_grad(), torch.cuda.stream(self._stream):
            results = self._graph(*tensors)
        return {
            name: _array(tensor.contiguous()) for name, tensor in zip(self._outputs, results, strict=True)
        }

    def bind(self, buffers: Mapping[str, Array]) -> Callable[[], None]:
        """See `Engine.bind`; on a GPU the run is recorded as a CUDA graph."""
        given = [torch.from_dlpack(buffers[name]) for name in self._inputs]
        taken = [torch.from_dlpack(buffers[name]) for name in self._outputs]

        def compute() -> None:
            with torch.no_grad():
                for buffer, result in zip(taken, self._graph(*given), strict=True):
                    buffer.copy_(result)

        if self._stream is None:
            return compute
        with torch.cuda.stream(self._stream):
            for _ in range(3):  # libraries choose algorithms and workspaces before the recording
                compute()
        self._stream.synchronize()
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded, stream=self._stream):
            compute()

        def replay() -> None:
            with torch.cuda.stream(self._stream):
                recorded.replay()

        return replay


def _spec(node: fx.Node) -> TensorSpec:
    value = node.meta["val"]
    dtype = np.dtype(str(value.dtype).removeprefix("torch."))
    return TensorSpec(dtype, (None, *(int(n) for n in value.shape[1:])))


def _array(tensor: Tensor) -> Array:
    if not tensor.is_cuda:
        array: Array = tensor.numpy()
        return array
    import cupy

    return cupy.from_dlpack(tensor)  # type: ignore[no-any-return]


def to_device(networks: TorchNetworks, device: str) -> TorchNetworks:
    """The modules' constants on ``cpu`` or ``cuda``."""

    def move(module: nn.Module) -> Any:
        return module.to(device)

    return TorchNetworks(
        move(networks.generator),
        move(networks.perceptual),
        None if networks.identity is None else move(networks.identity),
        networks.gradient_scale,
    )
