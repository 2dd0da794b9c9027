"""A refinement to measure: pictures of faces that a generator can make, and starts that are wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from facewright.core.arrays import Array
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright.refine.device import RefinementDevice
from facewright.refine.networks import UV_MAPS, W_PLUS, RefinementNetworks
from facewright.refine.photos import RefinementPhotos
from facewright.refine.pose import turned_pose
from facewright.refine.scene import HeadSurface, RefinementScene
from facewright.render.light import STUDIO
from facewright.render.render_head import View
from facewright_kernels import sh_shading

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Errors:
    """How far parameters are from the truth.

    Attributes:
        pixels: root mean square distance between the face's vertices on the photo, pixels of 256.
        degrees: between the rotations.
        vertices_mm: root mean square of the face's vertices in head space.
        albedo, light: relative L2 of the albedo map, and of the shading of normals that face forward.
    """

    pixels: float
    degrees: float
    vertices_mm: float
    albedo: float
    light: float


@dataclass(frozen=True)
class Problem:
    """Photos of B known faces.

    Attributes:
        head: the open head.
        networks: engines on ``device``.
        surface: the head's, on ``device``.
        truth: what the photos show: latents, cameras, lights, and the photos themselves.
        device: where everything is.
    """

    head: HeadModel
    networks: RefinementNetworks
    surface: HeadSurface
    truth: RefinementPhotos
    device: RefinementDevice

    def maps(self, w_plus: Array) -> Array:
        """The generator's UV maps."""
        return self.networks.generator.forward.run({W_PLUS: w_plus})[UV_MAPS]

    def start(self, share: float = 0.3, seed: int = 100) -> RefinementPhotos:
        """The photos with other people's latents, ``share`` of a standard deviation from the mean."""
        others = share * person_latents(self.truth.batch, self.networks.generator.latent_shape, seed)
        return replace(self.truth, w_plus=self.device.array(others.astype(np.float32)))

    def disturbed(self) -> RefinementPhotos:
        """The photos with cameras turned by 4.4 degrees and moved by 11 mm, and a darker, turned light."""
        batch = self.truth.batch
        turn = np.repeat(np.radians([[2.0, -3.0, 2.5]]), batch, axis=0).astype(np.float32)
        shift = np.repeat([[0.004, -0.003, 0.01]], batch, axis=0).astype(np.float32)
        light = self.device.host(self.truth.sh_light) * np.float32(0.85)
        light[:, 1:4] += np.float32(0.12)
        pose = turned_pose(np, self.device.host(self.truth.head_to_camera), turn, shift)
        return replace(self.truth, head_to_camera=self.device.array(pose), sh_light=self.device.array(light))

    def errors(self, w_plus: F32, head_to_camera: F32, sh_light: F32) -> Errors:
        """Of the first photo's parameters, host arrays without the batch."""
        host, true = self.device.host, self.truth
        w_both = self.device.array(np.stack([host(true.w_plus[0]), w_plus]))
        maps = self.maps(w_both)
        both = RefinementScene(self.surface, _twice(true), self.device.xp).draw(
            maps,
            self.device.array(np.stack([host(true.head_to_camera[0]), head_to_camera])),
            self.device.array(np.stack([host(true.sh_light[0]), sh_light])),
        )
        face = self.head.region("face") > 0.5
        vertices, clip = host(both.vertices)[:, face], host(both.clip)[:, face]
        screen = (clip[..., :2] / clip[..., 3:] + 1) * true.size / 2
        relative = head_to_camera[:, :3] @ host(true.head_to_camera[0])[:, :3].T
        albedo = host(maps)[:, 3:]
        forward = np.random.default_rng(0).normal(size=(2, 2000, 3)).astype(np.float32)
        forward[1], forward[..., 2] = forward[0], np.abs(forward[0, :, 2])
        shading = sh_shading(forward, np.stack([host(true.sh_light[0]), sh_light]))
        return Errors(
            pixels=_rms(screen[0] - screen[1]),
            degrees=float(np.degrees(np.arccos(np.clip((np.trace(relative) - 1) / 2, -1, 1)))),
            vertices_mm=1e3 * _rms(vertices[0] - vertices[1]),
            albedo=_relative(albedo[1], albedo[0]),
            light=_relative(shading[1], shading[0]),
        )


def make_problem(
    networks: RefinementNetworks, device: RefinementDevice, batch: int, seed: int = 0
) -> Problem:
    """Photos of ``batch`` people: a generator's faces before grey, each turned a little differently."""
    with device.queue():
        problem = _make_problem(networks, device, batch, seed)
    device.finish()
    return problem


def _make_problem(networks: RefinementNetworks, device: RefinementDevice, batch: int, seed: int) -> Problem:
    head = HeadModel.load(asset_path("head.npz"))
    surface = HeadSurface.from_head(head, networks.generator.map_size, device)
    size = networks.perceptual.image_size
    rng = np.random.default_rng(seed)
    views = [View.turned(*rng.uniform(-12, 12, 2), size=size, span=0.26) for _ in range(batch)]
    blank = RefinementPhotos(
        device.array(np.full((batch, 3, size, size), 0.35, np.float32)),
        device.array(np.ones((batch, size, size), np.float32)),
        device.array(np.stack([view.intrinsics for view in views])),
        device.array(np.stack([view.head_to_camera for view in views])),
        device.array(np.repeat(STUDIO.coefficients[None], batch, axis=0)),
        device.array(person_latents(batch, networks.generator.latent_shape, seed)),
        device.xp.zeros((batch, 1, 3), np.float32),
    )
    maps = networks.generator.forward.run({W_PLUS: blank.w_plus})[UV_MAPS]
    scene = RefinementScene(surface, blank, device.xp)
    image = scene.draw(maps, blank.head_to_camera, blank.sh_light).image
    photo = device.array(device.xp.clip(image, 0, 1))
    return Problem(head, networks, surface, replace(blank, photo=photo), device)


def person_latents(count: int, latent_shape: tuple[int, int], seed: int) -> F32:
    """Latents of ``count`` people, the same in every layer: entries ~ N(0, 1)."""
    layers, size = latent_shape
    latents = np.random.default_rng(seed).normal(size=(count, 1, size))
    return np.repeat(latents, layers, axis=1).astype(np.float32)


def _twice(photos: RefinementPhotos) -> RefinementPhotos:
    """The first photo, twice."""
    fields = {name: getattr(photos, name)[[0, 0]] for name in photos.__dataclass_fields__}
    return RefinementPhotos(**fields)


def _rms(difference: F32) -> float:
    return float(np.sqrt((difference.astype(np.float64) ** 2).sum(axis=-1).mean()))


def _relative(got: F32, true: F32) -> float:
    return float(np.linalg.norm(got - true) / np.linalg.norm(true))
