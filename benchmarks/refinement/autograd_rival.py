"""The obvious alternative: the same networks under torch autograd, torch's Adam, and the same renderer."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from benchmarks.refinement.measure import make_step
from benchmarks.refinement.problem import Problem
from benchmarks.refinement.torch_networks import TorchNetworks
from facewright.core.arrays import Array
from facewright.refine.options import RefinementOptions
from facewright.refine.photos import RefinementPhotos
from facewright.refine.scene import Drawing, RefinementScene, SceneGradients

#: Least cosine between our gradient and autograd's, and relative tolerance of losses, by precision.
_BOUNDS: Final = {"fp32": (0.999, 0.01), "fp16": (0.95, 0.02)}


class _Render(torch.autograd.Function):
    """UV maps to pictures by our kernels, their vector-Jacobian products as the backward pass."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, rival: AutogradRival) -> Tensor:
        photos = rival.photos
        ctx.rival = rival
        ctx.drawing = rival.draw(maps, photos)
        return rival.tensor(ctx.drawing.image)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.rival.tensor(ctx.rival.gradients(ctx.drawing, grads[0]).uv_maps), None


class AutogradRival:
    """Iterations of the problem by autograd.

    Args:
        networks: on the problem's device.
        problem: its photos and starts.
        options: weights of the loss.
    """

    def __init__(self, networks: TorchNetworks, problem: Problem, options: RefinementOptions) -> None:
        self._networks, self._options, self._device = networks, options, problem.device
        # On the stream that iterations run on: it waits for no other.
        with problem.device.queue(), torch.cuda.stream(self._torch_stream()):
            self.photos: RefinementPhotos = problem.start()
            self._scene = RefinementScene(problem.surface, self.photos, problem.device.xp)
            photo = self.tensor(self.photos.photo)
            with torch.no_grad():
                self._perceptual_targets = networks.perceptual.targets(photo)
                if networks.identity is not None:
                    self._identity_targets = networks.identity.targets(photo)
            self._start = self.tensor(self.photos.w_plus)
            self.w_plus = self._start.clone().requires_grad_(True)
        self._adam = torch.optim.Adam([self.w_plus], lr=options.learning_rate)

    def tensor(self, array: Array) -> Tensor:
        """An array as a tensor over the same memory."""
        return torch.from_dlpack(array)

    def draw(self, maps: Tensor, photos: RefinementPhotos) -> Drawing:
        """The renderer's forward pass."""
        uv_maps = self._device.xp.from_dlpack(maps.detach().contiguous())
        with self._device.queue():
            return self._scene.draw(uv_maps, photos.head_to_camera, photos.sh_light)

    def gradients(self, drawing: Drawing, grad: Tensor) -> SceneGradients:
        """The renderer's backward pass."""
        with self._device.queue():
            return self._scene.gradients(drawing, self._device.xp.from_dlpack(grad.detach().contiguous()))

    def step(self) -> Tensor:
        """One iteration; losses ``[B]`` before it."""
        with torch.cuda.stream(self._torch_stream()):
            self._adam.zero_grad()
            losses = self.losses()
            losses.sum().backward()
            self._adam.step()
        return losses.detach()

    def losses(self) -> Tensor:
        """Eq. 2 at the present latents, ``[B]``."""
        networks, options = self._networks, self._options
        image: Tensor = _Render.apply(networks.generator(self.w_plus), self)
        moved = (self.w_plus - self._start).square().mean(dim=(1, 2))
        # As ours: at the start itself the distance has the subgradient 0.
        latent = torch.where(moved > 0, moved.clamp(min=1e-30).sqrt(), torch.zeros_like(moved))
        losses = options.latent_weight * latent
        losses = losses + options.perceptual_weight * networks.perceptual(image, *self._perceptual_targets)
        if networks.identity is not None and options.identity_weight:
            losses = losses + options.identity_weight * networks.identity(image, *self._identity_targets)
        return losses

    def _torch_stream(self) -> Any:
        stream = self._device.stream
        return None if stream is None else torch.cuda.ExternalStream(stream.ptr)


def checked_rival(networks: TorchNetworks, problem: Problem, precision: str) -> tuple[AutogradRival, float]:
    """Autograd on the problem, one iteration done, and the cosine between its first gradient and ours.

    Args:
        networks: on the problem's device, in the precision named.
        problem: what both refine.
        precision: ``fp32`` or ``fp16``.

    Raises:
        AssertionError: its loss or gradient is not ours.
    """
    device = problem.device
    if not device.is_gpu:
        torch.set_num_threads(device.threads)
    step = make_step(problem, 1)
    with device.queue():
        step.evaluate()
        ours = device.host(step.gradients.w_plus).ravel().astype(np.float64)
        losses = device.host(step.losses)[:, 0]
    rival = AutogradRival(networks, problem, step.options)
    found = rival.step()
    device.finish()
    assert rival.w_plus.grad is not None
    theirs = rival.w_plus.grad.cpu().numpy().ravel().astype(np.float64)
    cosine = float(ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs)))
    least_cosine, tolerance = _BOUNDS[precision]
    assert cosine > least_cosine, f"gradients differ: cosine {cosine}"
    np.testing.assert_allclose(found.cpu().numpy(), losses, rtol=tolerance)
    return rival, cosine
