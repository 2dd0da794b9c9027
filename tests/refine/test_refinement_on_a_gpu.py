"""Refinement on a GPU gives what it gives on the CPU; without a GPU on the simulated one, to rounding."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facewright.head.head_model import HeadModel
from facewright.refine.bindings import BindingsByBatch
from facewright.refine.device import RefinementDevice
from facewright.refine.history import Refinement
from facewright.refine.loop import refine
from facewright.refine.networks import load_refinement_networks
from facewright.refine.options import RefinementOptions
from facewright.refine.photos import RefinementPhotos
from facewright.refine.scene import HeadSurface
from facewright.refine.step import RefinementStep
from facewright.render.light import STUDIO
from facewright.render.render_head import View
from tests.support.gpu import GPU, IS_REAL, cupy_with_onnxruntime
from tests.support.simulated_cuda import run_early
from tests.support.small_refinement_networks import IMAGE_SIZE, LATENT_SHAPE, MAP_SIZE, small_networks

CPU = RefinementDevice.cpu()


@pytest.fixture(scope="module")
def folder(open_head: HeadModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("networks")
    small_networks(open_head, path)
    return path


@dataclasses.dataclass(frozen=True)
class Side:
    """One of the two devices with everything on it."""

    device: RefinementDevice
    surface: HeadSurface
    bindings: BindingsByBatch
    networks: Any

    @classmethod
    def on(cls, device: RefinementDevice, head: HeadModel, folder: Path) -> Side:
        networks = load_refinement_networks(folder, device.open_engine)
        with device.queue():
            surface = HeadSurface.from_head(head, MAP_SIZE, device)
        return cls(device, surface, BindingsByBatch(networks, device), networks)

    def refined(self, batch: int, seed: int, options: RefinementOptions) -> list[Refinement]:
        photos = _photos(batch, seed, self.device)
        bound = self.bindings.of(batch)
        return refine(RefinementStep(self.networks, self.surface, photos, options, self.device, bound))


def _photos(batch: int, seed: int, device: RefinementDevice) -> RefinementPhotos:
    view = View.turned(5, 2, size=IMAGE_SIZE, span=0.26)
    rng = np.random.default_rng(seed)

    def each(value: Any) -> Any:
        return device.array(np.repeat(np.asarray(value, np.float32)[None], batch, axis=0))

    with device.queue():
        return RefinementPhotos(
            device.array(rng.uniform(size=(batch, 3, IMAGE_SIZE, IMAGE_SIZE)).astype(np.float32)),
            each(np.ones((IMAGE_SIZE, IMAGE_SIZE))),
            each(view.intrinsics),
            each(view.head_to_camera),
            each(STUDIO.coefficients),
            device.array(rng.normal(size=(batch, *LATENT_SHAPE)).astype(np.float32)),
            device.array(np.zeros((batch, 1, 3), np.float32)),
        )


@pytest.fixture(params=[GPU])
def gpu(monkeypatch: pytest.MonkeyPatch) -> RefinementDevice:
    cupy_with_onnxruntime(monkeypatch)
    return RefinementDevice.cuda()


#: Relative and absolute; a real GPU's networks round otherwise.
TOLERANCE = {"rtol": 1e-2, "atol": 1e-3} if IS_REAL else {"rtol": 1e-4, "atol": 1e-5}

OPTIONS = {
    "latents alone": RefinementOptions(iterations=6),
    "camera and light": RefinementOptions(
        iterations=6, optimize_camera=True, optimize_light=True, identity_weight=0.5
    ),
    "noise": RefinementOptions(iterations=9, patience=3, latent_noise=0.3),
}


@pytest.mark.parametrize(
    ("name", "ahead"),
    [("latents alone", None), ("camera and light", "identity_stream"), ("noise", "stream")],
)
def test_a_refinement_is_the_cpus(
    gpu: RefinementDevice, open_head: HeadModel, folder: Path, name: str, ahead: str | None
) -> None:
    """CUDA graphs of several batches in shared buffers, the second time replayed from the first iteration;
    whichever of the streams is ahead.
    """
    if ahead and not IS_REAL:
        run_early(getattr(gpu, ahead))
    ours, theirs = (Side.on(device, open_head, folder) for device in (CPU, gpu))
    for batch, seed in ((2, 0), (1, 1), (2, 2)):
        expected = ours.refined(batch, seed, OPTIONS[name])
        got = theirs.refined(batch, seed, OPTIONS[name])
        for one, two in zip(expected, got, strict=True):
            assert (one.ended, one.best_iteration) == (two.ended, two.best_iteration)
            np.testing.assert_allclose(two.losses, one.losses, **TOLERANCE)
            for field in ("w_plus", "head_to_camera", "sh_light"):
                np.testing.assert_allclose(getattr(two.best, field), getattr(one.best, field), **TOLERANCE)


def test_a_copy_for_the_host_is_complete(gpu: RefinementDevice) -> None:
    with gpu.queue():
        array = gpu.xp.zeros(3, np.float32)
        array += 1
    assert gpu.host(array).tolist() == [1, 1, 1]
    with gpu.queue():
        array += 1
        gpu.fork_identity()
    with gpu.identity_stream:
        array *= 5
    assert gpu.host(array).tolist() == [10, 10, 10]
