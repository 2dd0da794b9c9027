"""The networks of a refinement on buffers that stay: a step allocates and copies nothing to run them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from facewright.core.arrays import Array
from facewright.core.errors import FacewrightError
from facewright.engines.engine import Engine, TensorSpec
from facewright.refine.device import RefinementDevice
from facewright.refine.networks import (
    GRAD_IMAGE,
    GRAD_UV_MAPS,
    GRAD_W_PLUS,
    IMAGE,
    LOSS,
    UV_MAPS,
    W_PLUS,
    ImageLossNetwork,
    RefinementNetworks,
)
from facewright_client.contract import ErrorCode


class BufferMemory:
    """Buffers by name for at most ``room`` photos; smaller batches have the first rows.

    Args:
        room: photos.
        device: whose memory it is.
    """

    def __init__(self, room: int, device: RefinementDevice) -> None:
        self._room, self._device = room, device
        self._whole: dict[str, Array] = {}

    def buffers(self, network: str, graphs: Iterable[Engine], batch: int) -> dict[str, Array]:
        """C-contiguous buffers for all tensors of a network's graphs, contents undefined; one for each name.

        Raises:
            FacewrightError: ENGINE_MISMATCH when another axis than the first is free.
        """
        specs = {
            name: spec for graph in graphs for name, spec in (*graph.inputs.items(), *graph.outputs.items())
        }
        return {
            name: self._buffer(f"{name} of the {network} network", spec)[:batch]
            for name, spec in specs.items()
        }

    def _buffer(self, name: str, spec: TensorSpec) -> Array:
        sizes = [size for size in spec.shape[1:] if size is not None]
        if len(sizes) != len(spec.shape) - 1:
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"{name} is {spec}: only the batch may be free",
                "export it again with this version's facewright_export.gradients",
            )
        if name not in self._whole:
            self._whole[name] = self._device.xp.empty((self._room, *sizes), spec.dtype)
        return self._whole[name]


class BoundLoss:
    """An image loss and its targets. Fill `image` with the photos and call `compute_targets` once; then fill
    `image` and call `run`, which writes `value` [B] and `gradient` [B, 3, H, W].
    """

    def __init__(self, network: ImageLossNetwork, memory: BufferMemory, batch: int) -> None:
        targets, loss = network.targets, network.loss
        tensors = memory.buffers(network.name, (targets, loss), batch)
        self.image, self.value, self.gradient = tensors[IMAGE], tensors[LOSS], tensors[GRAD_IMAGE]
        self.compute_targets = targets.bind(_of(tensors, targets))
        self.run = loss.bind(_of(tensors, loss))


class BoundNetworks:
    """The networks with the buffers of one batch; of use to one refinement at a time.

    Residuals flow from one graph of the generator to the other in one buffer of their name.

    Args:
        networks: engines on ``device``.
        batch: photos, B.
        device: where they compute.
        memory: for the buffers, of at least ``batch`` photos; None: of their own.

    Attributes:
        w_plus, uv_maps, grad_uv_maps, grad_w_plus: see `facewright.refine.networks`.
        run_forward, run_backward: the generator's graphs.
        perceptual: LPIPS.
    """

    def __init__(
        self,
        networks: RefinementNetworks,
        batch: int,
        device: RefinementDevice,
        memory: BufferMemory | None = None,
    ) -> None:
        self._networks, self._batch, self._device = networks, batch, device
        self._memory = memory or BufferMemory(batch, device)
        forward, backward = networks.generator.forward, networks.generator.backward
        with device.queue():
            tensors = self._memory.buffers("generator", (forward, backward), batch)
            self.w_plus, self.uv_maps = tensors[W_PLUS], tensors[UV_MAPS]
            self.grad_uv_maps, self.grad_w_plus = tensors[GRAD_UV_MAPS], tensors[GRAD_W_PLUS]
            self.run_forward = forward.bind(_of(tensors, forward))
            self.run_backward = backward.bind(_of(tensors, backward))
            self.perceptual = BoundLoss(networks.perceptual, self._memory, batch)

    @cached_property
    def identity(self) -> BoundLoss | None:
        """The identity network where there is one, bound when it is first asked for: many refinements leave
        it out.
        """
        if self._networks.identity is None:
            return None
        with self._device.queue():
            self._device.fork_identity()
            bound = BoundLoss(self._networks.identity, self._memory, self._batch)
            self._device.join_identity()
        return bound


class BindingsByBatch:
    """`BoundNetworks` of every batch that has come, kept: on a GPU they hold CUDA graphs, which take some
    runs to make and are tied to addresses. Batches up to the same power of two share their buffers.

    Args:
        networks: engines on ``device``.
        device: where they compute.
    """

    def __init__(self, networks: RefinementNetworks, device: RefinementDevice) -> None:
        self._networks, self._device = networks, device
        self._memories: dict[int, BufferMemory] = {}
        self._bound: dict[int, BoundNetworks] = {}

    def of(self, batch: int) -> BoundNetworks:
        """For B photos; whoever asked before for as many must be done."""
        if batch not in self._bound:
            room = 1 << (batch - 1).bit_length()
            memory = self._memories.setdefault(room, BufferMemory(room, self._device))
            self._bound[batch] = BoundNetworks(self._networks, batch, self._device, memory)
        return self._bound[batch]


def _of(tensors: Mapping[str, Array], network: Engine) -> dict[str, Array]:
    return {name: tensors[name] for name in (*network.inputs, *network.outputs)}
