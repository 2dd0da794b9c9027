"""One iteration of a refinement: losses and gradients at the present parameters, then Adam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from facewright.core.arrays import Array
from facewright.core.errors import FacewrightError
from facewright.refine.bindings import BoundLoss, BoundNetworks
from facewright.refine.device import RefinementDevice
from facewright.refine.history import Parameters, RefinementHistory
from facewright.refine.network_files import IDENTITY_COMMAND
from facewright.refine.networks import RefinementNetworks
from facewright.refine.options import RefinementOptions
from facewright.refine.photos import RefinementPhotos
from facewright.refine.pose import rotation_gradient, turned_pose
from facewright.refine.scene import Drawing, HeadSurface, RefinementScene, SceneGradients
from facewright_client.contract import ErrorCode
from facewright_kernels import adam_step

#: Full rates of what is not a latent: per step, radians, metres and SH coefficients.
ROTATION_RATE: Final = 0.004
TRANSLATION_RATE: Final = 0.001
#: Slower than the latents: coloured light and coloured skin look alike, and the skin is to explain colour.
LIGHT_RATE: Final = 0.005


class RefinementStep:
    """A batch of photos under refinement: what `facewright.refine.loop.refine`, benchmarks and tests call.

    The engines are bound to buffers: no network's input or output is allocated in `step`.

    Args:
        networks: engines on ``device``.
        surface: the head, on ``device``.
        photos: on ``device``, of the size that the networks take.
        options: what to minimise and how.
        device: where to compute.
        bound: the networks with buffers for so many photos, which this step overwrites; None: with new ones.

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
        bound: BoundNetworks | None = None,
    ) -> None:
        if options.identity_weight and networks.identity is None:
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"identity_weight is {options.identity_weight:g}, but there is no identity network",
                f"ask for identity_weight 0; or build the open one ({IDENTITY_COMMAND}), or export "
                "your own (docs/refinement.md), and start again",
            )
        generator = networks.generator
        mean = device.host(surface.vertices_mean)
        with device.queue():
            photos = photos.checked(generator.latent_shape, mean, networks.perceptual.image_size)
        self.options = options
        self.device = device
        #: Iterations done.
        self.iteration = 0
        self._scene = RefinementScene(surface, photos, device.xp)
        self._networks = bound or BoundNetworks(networks, photos.batch, device)
        start = Parameters(photos.w_plus, photos.head_to_camera, photos.sh_light)
        with device.queue():
            self._start = photos.w_plus
            weights = (options.latent_weight, options.perceptual_weight, options.identity_weight)
            self._weights = device.xp.asarray(weights, np.float32)
            #: The present parameters; a caller may overwrite them in place.
            self.parameters = start.copy()
            self.history = RefinementHistory(start, options, device)
            self._moments = _Moments(self.parameters, device.xp)
            self._noise = device.xp.random.default_rng(options.seed)
            self._perceptual = self._networks.perceptual
            self._perceptual.image[...] = photos.photo
            self._perceptual.compute_targets()
            self._identity = self._aimed_identity(photos.photo)
        #: The parts of `evaluate` in their order, and at last `update`, by name.
        self.parts: tuple[tuple[str, Callable[[], None]], ...] = (
            ("generator forward", self._generate),
            ("renderer forward", self._draw),
            ("identity", self._compare_identity),
            ("perceptual", self._compare_images),
            ("renderer backward", self._differentiate_drawing),
            ("generator backward", self._differentiate_generator),
            ("update", self.update),
        )
        self._marks: list[Any] = []

    def step(self) -> None:
        """One iteration. On a GPU the work is queued, and the host goes on once the step before the last has
        been computed.
        """
        with self.device.queue():
            self.evaluate()
            self.update()
            self._marks.append(self.device.mark())
        if len(self._marks) > 2:
            self.device.wait(self._marks.pop(0))

    def evaluate(self) -> None:
        """Losses and gradients at the present parameters, for `losses`, `gradients` and `update`."""
        for _, part in self.parts[:-1]:
            part()

    @property
    def losses(self) -> Array:
        """f32 ``[B, 4]`` of the last evaluation: columns `facewright.refine.history.LOSS_NAMES`. The total is
        NaN where the picture does not show the head: the terms say nothing then.
        """
        xp = self.device.xp
        moved = self._networks.w_plus - self._start
        latent = xp.sqrt((moved * moved).mean(axis=(1, 2)))
        perceptual = self._perceptual.value
        identity = xp.zeros_like(perceptual) if self._identity is None else self._identity.value
        terms = xp.stack([latent, perceptual, identity], axis=1).astype(np.float32)
        total = (terms * self._weights).sum(axis=1)
        total = xp.where(self._scene.shows_head(self._drawing), total, np.float32(np.nan))
        losses: Array = xp.concatenate([total[:, None], terms], axis=1)
        return losses

    @property
    def gradients(self) -> Parameters:
        """Gradients of each photo's total loss of the last evaluation."""
        xp = self.device.xp
        moved = self._networks.w_plus - self._start
        distance = xp.sqrt((moved * moved).mean(axis=(1, 2)))
        # The distance has no derivative at the start itself; 0 is a subgradient, and `moved` is 0 there.
        pull = self.options.latent_weight / (moved[0].size * xp.maximum(distance, np.float32(1e-20)))
        by_w = self._networks.grad_w_plus + pull.astype(np.float32)[:, None, None] * moved
        return Parameters(by_w, self._by_scene.head_to_camera, self._by_scene.sh_light)

    def update(self) -> None:
        """Takes the last evaluation into `history` and moves the parameters by one step of Adam."""
        xp, options, now = self.device.xp, self.options, self.parameters
        tried = Parameters(self._networks.w_plus, now.head_to_camera, now.sh_light)
        self.history.record(self.iteration, self.losses, tried)
        gradients, moments = self.gradients, self._moments
        factor = options.rate_factor(self.iteration)
        self.iteration += 1

        def move(parameter: Array, gradient: Array, moments: tuple[Array, Array], rate: float) -> None:
            rates = (self.history.active * (rate * factor)).astype(np.float32)
            adam_step(parameter, gradient, *moments, self.iteration, learning_rate=rates)

        move(now.w_plus, gradients.w_plus, moments.w_plus, options.learning_rate)
        if options.optimize_light:
            move(now.sh_light, gradients.sh_light, moments.sh_light, LIGHT_RATE)
        if options.optimize_camera:
            by_pose = gradients.head_to_camera
            turn, shift = xp.zeros_like(by_pose[:, :, 3]), xp.zeros_like(by_pose[:, :, 3])
            by_turn = rotation_gradient(xp, now.head_to_camera, by_pose)
            move(turn, by_turn, moments.rotation, ROTATION_RATE)
            move(shift, by_pose[:, :, 3], moments.translation, TRANSLATION_RATE)
            now.head_to_camera[...] = turned_pose(xp, now.head_to_camera, turn, shift)

    def goes_on(self) -> bool:
        """Whether a photo may still change. On a GPU that is looked up now and then, and else taken for so,
        because looking makes both wait.
        """
        if self.iteration >= self.options.iterations or self.history.all_stopped:
            return False
        if self.device.is_gpu and self.iteration % 8:
            return True
        with self.device.queue():
            return bool(self.history.active.any())

    def picture(self, row: int) -> Array:
        """u8 sRGB ``[H, H, 3]``: the composite of a photo in the last evaluation, on the host."""
        image = self.device.host(self._drawing.image[row]).transpose(1, 2, 0)
        picture: Array = np.ascontiguousarray(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
        return picture

    def _aimed_identity(self, photo: Array) -> BoundLoss | None:
        identity = self._networks.identity if self.options.identity_weight else None
        if identity is None:
            return None
        identity.image[...] = photo
        self.device.fork_identity()
        identity.compute_targets()
        self.device.join_identity()
        return identity

    def _generate(self) -> None:
        deviation = self.options.noise_deviation(self.iteration)
        self._networks.w_plus[...] = self.parameters.w_plus
        if deviation:
            noise: Array = self._noise.standard_normal(self._networks.w_plus.shape, np.float32)
            self._networks.w_plus[...] = self._networks.w_plus + np.float32(deviation) * noise
        self._networks.run_forward()

    def _draw(self) -> None:
        now = self.parameters
        self._drawing: Drawing = self._scene.draw(self._networks.uv_maps, now.head_to_camera, now.sh_light)
        self._perceptual.image[...] = self._drawing.image
        if self._identity is not None:
            self._identity.image[...] = self._drawing.image

    def _compare_identity(self) -> None:
        if self._identity is not None:
            self.device.fork_identity()
            self._identity.run()

    def _compare_images(self) -> None:
        self._perceptual.run()
        self.device.join_identity()

    def _differentiate_drawing(self) -> None:
        grad: Array = np.float32(self.options.perceptual_weight) * self._perceptual.gradient
        if self._identity is not None:
            grad = grad + np.float32(self.options.identity_weight) * self._identity.gradient
        self._by_scene: SceneGradients = self._scene.gradients(self._drawing, grad)

    def _differentiate_generator(self) -> None:
        self._networks.grad_uv_maps[...] = self._by_scene.uv_maps
        self._networks.run_backward()


class _Moments:
    """Adam's first and second moments of everything that it may move."""

    def __init__(self, start: Parameters, xp: Any) -> None:
        def zeros(like: Array) -> tuple[Array, Array]:
            return xp.zeros_like(like), xp.zeros_like(like)

        self.w_plus, self.sh_light = zeros(start.w_plus), zeros(start.sh_light)
        self.rotation = zeros(start.head_to_camera[:, :, 3])
        self.translation = zeros(start.head_to_camera[:, :, 3])
