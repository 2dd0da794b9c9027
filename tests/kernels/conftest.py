"""Devices that kernels run on, and meshes to run them over."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.support.gpu import GPU, cupy_on_a_gpu


@dataclass(frozen=True)
class Device:
    """Where a test's arrays live; ``send`` and ``fetch`` move any array (or leave it)."""

    name: str
    xp: Any

    @property
    def is_gpu(self) -> bool:
        """Whether it is one, simulated or not."""
        return self.name != "cpu"

    def send(self, array: np.ndarray) -> Any:
        return self.xp.asarray(array)

    def fetch(self, array: Any) -> np.ndarray:
        return array if isinstance(array, np.ndarray) else self.xp.asnumpy(array)


@pytest.fixture(params=["cpu", GPU])
def device(request: pytest.FixtureRequest) -> Device:
    return Device("cpu", np) if request.param == "cpu" else _gpu(request.param)


@pytest.fixture(params=[GPU])
def gpu_device(request: pytest.FixtureRequest) -> Device:
    return _gpu(request.param)


def _gpu(name: str) -> Device:
    cupy = cupy_on_a_gpu()
    if "FACEWRIGHT_PLAIN_ALLOCATIONS" in os.environ:  # scripts/gpu-suite, under compute-sanitizer
        cupy.cuda.set_allocator(None)
    return Device(name, cupy)


@dataclass(frozen=True)
class Ball:
    """A closed, outward-wound sphere of radius 0.12 around the origin with longitude–latitude UVs."""

    vertices: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    uv_triangles: np.ndarray


def make_ball(columns: int = 24, rows: int = 16) -> Ball:
    longitude, latitude = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    uv = np.stack([0.05 + 0.9 * longitude.ravel(), 0.05 + 0.9 * latitude.ravel()], 1).astype(np.float32)
    at = np.arange(uv.shape[0]).reshape(rows + 1, columns + 1)
    a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel()
    uv_triangles = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    welded = at.copy()
    welded[:, -1] = welded[:, 0]
    welded[0], welded[-1] = welded[0, 0], welded[-1, 0]
    triangles = welded.ravel()[uv_triangles]
    kept = (triangles[:, 0] != triangles[:, 1]) & (triangles[:, 1] != triangles[:, 2])
    kept &= triangles[:, 0] != triangles[:, 2]
    phi, theta = 2 * np.pi * longitude.ravel(), np.pi * latitude.ravel()
    vertices = 0.12 * np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), np.sin(theta) * np.cos(phi)], 1)
    return Ball(
        vertices.astype(np.float32),
        triangles[kept].astype(np.int32),
        uv,
        uv_triangles[kept].astype(np.int32),
    )


@pytest.fixture(scope="session")
def ball() -> Ball:
    return make_ball()
