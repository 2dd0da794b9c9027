"""Buffers of a refinement's networks: kept for each batch, shared among batches, unseen by the results."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facewright.core.errors import FacewrightError
from facewright.engines.engine import NamedTensors, TensorSpec
from facewright.engines.onnx_engine import OnnxEngine
from facewright.head.head_model import HeadModel
from facewright.refine.bindings import BindingsByBatch, BoundNetworks, BufferMemory
from facewright.refine.device import RefinementDevice
from facewright.refine.networks import RefinementNetworks, load_refinement_networks
from facewright.refine.options import RefinementOptions
from facewright.refine.photos import RefinementPhotos
from facewright.refine.scene import HeadSurface
from facewright.refine.step import RefinementStep
from facewright.render.light import STUDIO
from facewright.render.render_head import View
from tests.support.small_refinement_networks import IMAGE_SIZE, LATENT_SHAPE, MAP_SIZE, small_networks

CPU = RefinementDevice.cpu()


@pytest.fixture(scope="module")
def folder(open_head: HeadModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("networks")
    small_networks(open_head, path)
    return path


@pytest.fixture(scope="module")
def networks(folder: Path) -> RefinementNetworks:
    return load_refinement_networks(folder, OnnxEngine)


def _photos(batch: int, seed: int, device: RefinementDevice) -> RefinementPhotos:
    view = View.turned(5, 2, size=IMAGE_SIZE, span=0.26)
    rng = np.random.default_rng(seed)

    def each(value: Any) -> Any:
        return device.array(np.repeat(np.asarray(value, np.float32)[None], batch, axis=0))

    return RefinementPhotos(
        device.array(rng.uniform(size=(batch, 3, IMAGE_SIZE, IMAGE_SIZE)).astype(np.float32)),
        each(np.ones((IMAGE_SIZE, IMAGE_SIZE))),
        each(view.intrinsics),
        each(view.head_to_camera),
        each(STUDIO.coefficients),
        device.array(rng.normal(size=(batch, *LATENT_SHAPE)).astype(np.float32)),
        device.array(np.zeros((batch, 1, 3), np.float32)),
    )


def _refined(step: RefinementStep) -> list[np.ndarray]:
    """Latents and losses after two iterations."""
    for _ in range(2):
        step.step()
    return [step.device.host(step.parameters.w_plus), step.device.host(step.losses)]


def test_a_refinement_in_kept_buffers_is_what_it_is_in_new_ones(
    open_head: HeadModel, networks: RefinementNetworks
) -> None:
    surface = HeadSurface.from_head(open_head, MAP_SIZE, CPU)
    options = RefinementOptions(iterations=10)
    bindings = BindingsByBatch(networks, CPU)
    for batch, seed in ((2, 0), (1, 1), (2, 2), (4, 3), (3, 4)):
        photos = _photos(batch, seed, CPU)
        alone = _refined(RefinementStep(networks, surface, photos, options, CPU))
        kept = _refined(RefinementStep(networks, surface, photos, options, CPU, bindings.of(batch)))
        for expected, got in zip(alone, kept, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_a_batch_is_bound_once(networks: RefinementNetworks) -> None:
    bindings = BindingsByBatch(networks, CPU)
    three, four, five = (bindings.of(batch) for batch in (3, 4, 5))
    assert bindings.of(3) is three
    assert np.shares_memory(three.uv_maps, four.uv_maps)
    assert three.uv_maps.ctypes.data == four.uv_maps.ctypes.data
    assert not np.shares_memory(four.uv_maps, five.uv_maps)
    assert (len(three.w_plus), len(four.w_plus), len(five.w_plus)) == (3, 4, 5)


def test_the_identity_network_is_bound_when_it_is_needed(networks: RefinementNetworks) -> None:
    bound = BoundNetworks(networks, 2, CPU)
    assert "identity" not in vars(bound)
    assert bound.identity is not None
    assert bound.identity is bound.identity
    assert not np.shares_memory(bound.identity.image, bound.perceptual.image)
    assert BoundNetworks(dataclasses.replace(networks, identity=None), 2, CPU).identity is None


def test_an_axis_that_is_free_beside_the_batch_is_refused() -> None:
    spec = TensorSpec(np.dtype(np.float32), (None, 3, None))
    graph = NamedTensors("identity_loss.onnx", {"IMAGE": spec}, {})
    with pytest.raises(FacewrightError, match=r"IMAGE of the identity network is float32\[\?, 3, \?\]"):
        BufferMemory(2, CPU).buffers("identity", [graph], 2)
