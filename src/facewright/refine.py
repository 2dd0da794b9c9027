"""Refinement: latents changed until the render matches the photo, without an autograd framework.

Normalized §3.3, eq. 2: `L = L_w + λ₁ LPIPS(I₀, I) + λ₂ L_id(I₀, I)`, minimised by Adam. I is the photo, I₀
the render of the generated head composed into it under the face mask. (The paper takes the identity of the
render alone; here both networks see I₀, so that hair and background do not tell the two apart.)

Networks run on engines that give values and gradients (`facewright.refinement_networks`), the renderer is
kernels and their vector-Jacobian products (`facewright.refinement_scene`). The same code computes with NumPy
on a CPU and with CuPy on a GPU; photos of a batch do not influence each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from facewright.engine import Engine
from facewright.errors import FacewrightError
from facewright.refinement_device import Array, RefinementDevice
from facewright.refinement_networks import (
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
from facewright.refinement_options import RefinementOptions
from facewright.refinement_photos import RefinementPhotos
from facewright.refinement_pose import rotation_gradient, turned_pose
from facewright.refinement_scene import Drawing, HeadSurface, RefinementScene, SceneGradients
from facewright_client.contract import ErrorCode
from facewright_kernels import adam_step

#: Columns of the losses: all of eq. 2, then its terms before they are weighted.
LOSS_NAMES: Final = ("total", "latent", "perceptual", "identity")

#: Full rates of what is not a latent: per step, radians, metres and SH coefficients.
ROTATION_RATE: Final = 0.004
TRANSLATION_RATE: Final = 0.001
LIGHT_RATE: Final = 0.02
#: A loss counts as better, for `patience`, when it is lower by this share.
PLATEAU_DROP: Final = 1e-3
#: How often the host asks a GPU whether every photo has stopped; asking makes both wait.
_ASK_GPU_EVERY: Final = 8


class Ended(StrEnum):
    """Why the refinement of a photo ended."""

    ITERATIONS = "iterations"
    PLATEAU = "plateau"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class Refinement:
    """The best that was found for one photo; host arrays.

    Attributes:
        w_plus: f32 ``[L, 512]``.
        head_to_camera: f32 ``[3, 4]``.
        sh_light: f32 ``[9, 3]``.
        losses: f32 ``[N, 4]``, of each iteration, columns `LOSS_NAMES`.
        best_iteration: whose latents these are; −1 for the start, where no loss was computed.
        ended: why it ended.
    """

    w_plus: Array
    head_to_camera: Array
    sh_light: Array
    losses: Array
    best_iteration: int
    ended: Ended


class RefinementStep:
    """One iteration after the other of a batch of photos: what `refine`, benchmarks and tests call.

    Buffers are made once and the engines bound to them: `step` allocates nothing that a network reads.

    Args:
        networks: engines on ``device``.
        surface: the head, on ``device``.
        photos: on ``device``, of the size that the networks take.
        options: what to minimise and how.
        device: where to compute.

    Raises:
        FacewrightError: BAD_OPTION or NO_FACE for photos that cannot be refined (see
            `RefinementPhotos.checked`), ENGINE_MISMATCH when an identity weight is asked for without an
            identity network.
    """

    def __init__(
        self,
        networks: RefinementNetworks,
        surface: HeadSurface,
        photos: RefinementPhotos,
        options: RefinementOptions,
        device: RefinementDevice,
    ) -> None:
        if options.identity_weight and networks.identity is None:
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"identity_weight is {options.identity_weight:g}, but this server has no identity network",
                "ask for identity_weight 0, or install an identity network with its gradient",
            )
        generator = networks.generator
        mean = device.host(surface.vertices_mean)
        self.photos = photos.checked(generator.latent_shape, mean, networks.perceptual.image_size)
        self.options = options
        self.device = device
        #: Iterations done.
        self.iteration = 0
        self._scene = RefinementScene(surface, self.photos, device.xp)
        self._loss_scale = generator.loss_scale
        with device.queue():
            self._make_state()
            self._bind_generator(generator.forward, generator.backward)
            photo = device.array(self.photos.photo.transpose(0, 3, 1, 2))
            self._perceptual = _BoundLoss(networks.perceptual, photo)
            self._identity = self._bind_identity(networks.identity, photo)
        #: The parts of a step in their order, by name.
        self.parts: tuple[tuple[str, Callable[[], None]], ...] = (
            ("generator forward", self._generate),
            ("renderer forward", self._draw),
            ("identity", self._compare_identity),
            ("perceptual", self._compare_images),
            ("renderer backward", self._differentiate_drawing),
            ("generator backward", self._differentiate_generator),
            ("update", self._update),
        )
        self._marks: list[Any] = []

    def _make_state(self) -> None:
        xp, photos, iterations = self.device.xp, self.photos, self.options.iterations
        batch = photos.batch
        self._start = photos.w_plus.copy()
        self._w, self._pose, self._light = (
            self._start.copy(),
            photos.head_to_camera.copy(),
            photos.sh_light.copy(),
        )
        self._best = (self._w.copy(), self._pose.copy(), self._light.copy())
        self._rotation = xp.zeros((batch, 3), np.float32)
        self._translation = xp.zeros((batch, 3), np.float32)
        moved = (self._w, self._light, self._rotation, self._translation)
        self._moments = [(xp.zeros_like(array), xp.zeros_like(array)) for array in moved]
        self._best_loss = xp.full(batch, np.inf, np.float32)
        self._plateau_loss = xp.full(batch, np.inf, np.float32)
        self._best_iteration = xp.full(batch, -1, np.int32)
        self._since_drop = xp.zeros(batch, np.int32)
        self._diverged = xp.zeros(batch, np.bool_)
        self._active = xp.ones(batch, np.bool_)
        self._done = xp.zeros(batch, np.int32)
        self._losses = xp.full((iterations, batch, len(LOSS_NAMES)), np.nan, np.float32)
        self._stopped: dict[int, Ended] = {}
        self._noise = xp.random.default_rng(self.options.seed)

    def _bind_generator(self, forward: Engine, backward: Engine) -> None:
        """Residuals flow from one graph's output to the other's input of the same name, in one buffer."""
        buffers = {W_PLUS: self._w.copy()}
        buffers |= forward.run(buffers)
        self._seen_w, self._maps = buffers[W_PLUS], buffers[UV_MAPS]
        self._run_forward = forward.bind(buffers)
        saved = {name: buffers[name] for name in backward.inputs if name != GRAD_UV_MAPS}
        self._grad_maps, self._grad_w = (
            self.device.xp.zeros_like(self._maps),
            self.device.xp.empty_like(self._w),
        )
        self._run_backward = backward.bind(saved | {GRAD_UV_MAPS: self._grad_maps, GRAD_W_PLUS: self._grad_w})

    def _bind_identity(self, network: ImageLossNetwork | None, photo: Array) -> _BoundLoss | None:
        if network is None or not self.options.identity_weight:
            return None
        self.device.fork_identity()
        bound = _BoundLoss(network, photo)
        self.device.join_identity()
        return bound

    def step(self) -> None:
        """One iteration: losses and gradients at the present parameters, then Adam.

        On a GPU the work is queued; the host goes on after the step before the last has been computed.
        """
        with self.device.queue():
            for _, part in self.parts:
                part()
            self._marks.append(self.device.mark())
        if len(self._marks) > 2:
            self.device.wait(self._marks.pop(0))

    def _generate(self) -> None:
        deviation = self.options.noise_deviation(self.iteration)
        self._seen_w[...] = self._w
        if deviation:
            self._seen_w += deviation * self._noise.standard_normal(self._w.shape, np.float32)
        self._run_forward()

    def _draw(self) -> None:
        self._drawing: Drawing = self._scene.draw(self._maps, self._pose, self._light)
        self._perceptual.image[...] = self._drawing.image.transpose(0, 3, 1, 2)
        if self._identity is not None:
            self._identity.image[...] = self._perceptual.image

    def _compare_identity(self) -> None:
        if self._identity is not None:
            self.device.fork_identity()
            self._identity.run()

    def _compare_images(self) -> None:
        self._perceptual.run()
        self.device.join_identity()

    def _differentiate_drawing(self) -> None:
        grad = self.options.perceptual_weight * self._perceptual.gradient
        if self._identity is not None:
            grad = grad + self.options.identity_weight * self._identity.gradient
        grad_image = self.device.xp.ascontiguousarray(grad.transpose(0, 2, 3, 1), np.float32)
        self._gradients: SceneGradients = self._scene.gradients(self._drawing, grad_image)

    def _differentiate_generator(self) -> None:
        self._grad_maps[...] = self._gradients.uv_maps
        if self._loss_scale != 1:
            self._grad_maps *= np.float32(self._loss_scale)
        self._run_backward()

    def _update(self) -> None:
        xp, options = self.device.xp, self.options
        moved = self._seen_w - self._start
        root = np.float32(moved[0].size ** 0.5)
        distance = xp.sqrt((moved * moved).sum(axis=(1, 2)))
        self._record(distance / root)
        # The distance has no derivative at the start itself; 0 is a subgradient.
        pull = xp.where(distance > 0, options.latent_weight / (root * xp.maximum(distance, 1e-20)), 0)
        grad_w = self._grad_w / np.float32(self._loss_scale) + pull.astype(np.float32)[:, None, None] * moved
        camera = self._gradients.head_to_camera
        gradients = (
            (self._w, grad_w, options.learning_rate),
            (self._light, self._gradients.sh_light, LIGHT_RATE * options.optimize_light),
            (
                self._rotation,
                rotation_gradient(xp, self._pose, camera),
                ROTATION_RATE * options.optimize_camera,
            ),
            (
                self._translation,
                xp.ascontiguousarray(camera[:, :, 3]),
                TRANSLATION_RATE * options.optimize_camera,
            ),
        )
        factor = options.rate_factor(self.iteration)
        for (parameter, gradient, rate), (first, second) in zip(gradients, self._moments, strict=True):
            if rate:
                rates = (self._active * (rate * factor)).astype(np.float32)
                adam_step(parameter, gradient, first, second, self.iteration + 1, learning_rate=rates)
        if options.optimize_camera:
            self._pose = turned_pose(xp, self._pose, self._rotation, self._translation)
            self._rotation[...], self._translation[...] = 0, 0
        self.iteration += 1

    def _record(self, latent: Array) -> None:
        """Losses of the parameters that were just tried; keeps the best, and who has stopped by himself."""
        xp, options = self.device.xp, self.options
        perceptual = self._perceptual.value
        identity = xp.zeros_like(perceptual) if self._identity is None else self._identity.value
        weights = (options.latent_weight, options.perceptual_weight, options.identity_weight)
        terms = xp.stack([latent, perceptual, identity], axis=1).astype(np.float32)
        total = (terms * xp.asarray(weights, np.float32)).sum(axis=1)
        losses = xp.concatenate([total[:, None], terms], axis=1)
        self._losses[self.iteration] = xp.where(self._active[:, None], losses, np.float32(np.nan))
        self._done += self._active
        self._diverged |= self._active & ~xp.isfinite(total)
        self._active &= ~self._diverged

        better = self._active & (total < self._best_loss)
        tried = (self._seen_w, self._pose, self._light)
        for best, now in zip(self._best, tried, strict=True):
            xp.copyto(best, now, where=better[:, None, None])
        xp.copyto(self._best_loss, total, where=better)
        self._best_iteration[...] = xp.where(better, np.int32(self.iteration), self._best_iteration)
        dropped = total < self._plateau_loss * np.float32(1 - PLATEAU_DROP)
        xp.copyto(self._plateau_loss, total, where=dropped)
        self._since_drop[...] = xp.where(dropped, 0, self._since_drop + 1)
        if options.patience:
            self._active &= self._since_drop < options.patience

    def stop(self, row: int, why: Ended) -> None:
        """Leaves a photo as it is from now on; the first reason counts."""
        self._active[row] = False
        self._stopped.setdefault(row, why)

    def goes_on(self) -> bool:
        """Whether a photo may still change. On a GPU that is looked up now and then, else taken for so."""
        if self.iteration >= self.options.iterations or len(self._stopped) == self.photos.batch:
            return False
        if self.device.is_gpu and self.iteration % _ASK_GPU_EVERY:
            return True
        return bool(self._active.any())

    def losses_now(self, row: int) -> Array:
        """f32 ``[4]`` of a photo's last iteration (`LOSS_NAMES`), on the host; NaN once it has stopped."""
        return self.device.host(self._losses[max(self.iteration - 1, 0), row])

    def picture(self, row: int) -> Array:
        """u8 sRGB ``[H, H, 3]`` of the last iteration's composite of a photo, on the host.

        Raises:
            RuntimeError: no iteration was done.
        """
        if not self.iteration:
            raise RuntimeError("there is no picture before the first step")
        image = self.device.host(self._drawing.image[row])
        picture: Array = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
        return picture

    def results(self) -> list[Refinement]:
        """The best so far of each photo."""
        host = self.device.host
        with self.device.queue():
            w_plus, poses, lights = map(host, self._best)
            losses, done = host(self._losses), host(self._done)
            iterations, diverged, since = (
                host(self._best_iteration),
                host(self._diverged),
                host(self._since_drop),
            )
        found = []
        for row in range(self.photos.batch):
            ended = self._stopped.get(row, Ended.ITERATIONS)
            if diverged[row]:
                ended = Ended.DIVERGED
            elif self.options.patience and since[row] >= self.options.patience:
                ended = Ended.PLATEAU
            found.append(
                Refinement(
                    w_plus[row],
                    poses[row],
                    lights[row],
                    losses[: done[row], row],
                    int(iterations[row]),
                    ended,
                )
            )
        return found


def refine(
    step: RefinementStep,
    watch: Callable[[RefinementStep], Mapping[int, Ended]] = lambda step: {},
) -> list[Refinement]:
    """All iterations of a batch.

    Args:
        step: before its first step.
        watch: called before every iteration; answers which photos to stop and why (a deadline that has come,
            a request that was cancelled). It may look at the losses and pictures so far.

    Returns:
        One result for each photo, the best so far where it was stopped.
    """
    while step.goes_on():
        for row, why in watch(step).items():
            step.stop(row, why)
        if step.goes_on():
            step.step()
    return step.results()


class _BoundLoss:
    """An image loss on buffers of its own: fill `image`, call `run`, read `value` [B] and `gradient`."""

    def __init__(self, network: ImageLossNetwork, photo: Array) -> None:
        self.image = photo.copy()
        targets = network.targets.run({IMAGE: self.image})
        inputs = {name: targets[name] for name in network.loss.inputs if name != IMAGE}
        inputs[IMAGE] = self.image
        outputs = network.loss.run(inputs)
        self.run = network.loss.bind(inputs | outputs)
        self.value, self.gradient = outputs[LOSS], outputs[GRAD_IMAGE]
