"""The scalp moves out to the outline of the person mask, and nothing but the scalp moves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from facewright.hair.volume import HairVolume, HairVolumeSettings
from facewright.head.head_model import HeadModel
from facewright_kernels import rasterize, vertex_normals

FULL = (0, 0, 1024, 1024)
FOCAL, DISTANCE = 2600.0, 1.0
INTRINSICS = np.array([[FOCAL, 0, 512], [0, FOCAL, 512], [0, 0, 1]], np.float32)
HEAD_TO_CAMERA = np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, DISTANCE]], np.float32)
CELLS_PER_METRE = FOCAL / DISTANCE / 4


@pytest.fixture(scope="module")
def volume(open_head: HeadModel) -> HairVolume:
    return HairVolume(open_head, HairVolumeSettings())


def dilated_silhouette(head: HeadModel, thickness: float) -> NDArray[np.uint8]:
    """The person mask of the mean head with hair of one thickness, metres, all around."""
    rows, columns = np.ogrid[-20:21, -20:21]
    disc = rows**2 + columns**2 <= (thickness * CELLS_PER_METRE) ** 2
    return np.where(binary_dilation(silhouette(head, head.vertices_mean) > 0, disc), 255, 0).astype(np.uint8)


def silhouette(head: HeadModel, vertices: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The head's own person mask, 256 x 256, 255 inside."""
    camera = vertices @ HEAD_TO_CAMERA[:, :3].T + HEAD_TO_CAMERA[:, 3]
    pixels = camera @ INTRINSICS.T
    ndc = pixels[:, :2] / pixels[:, 2:] / 512 - 1
    clip = np.concatenate([ndc, camera[:, 2:] / 10, np.ones((len(ndc), 1))], axis=1).astype(np.float32)
    raster = rasterize(clip[None], head.triangles, 256, 256)
    return np.where(raster.triangle_id[0] >= 0, 255, 0).astype(np.uint8)


def test_the_outline_of_the_mask_is_reached(volume: HairVolume, open_head: HeadModel) -> None:
    head = open_head.vertices_mean
    thickness = 0.025
    mask = dilated_silhouette(open_head, thickness)
    moved = volume.displacement(head, INTRINSICS, HEAD_TO_CAMERA, mask, FULL)

    scalp = open_head.region("scalp")
    assert np.all(moved[scalp <= 0.05] == 0)
    crown = (scalp > 0.95) & (head[:, 1] > 0.9 * head[:, 1].max())
    assert np.linalg.norm(moved[crown], axis=1) == pytest.approx(thickness, abs=0.006)
    outward = np.einsum("vc,vc->v", moved, head - head.mean(axis=0))
    assert np.all(outward >= 0)


def test_the_back_moves_less_than_the_top_and_the_front(volume: HairVolume, open_head: HeadModel) -> None:
    """What the camera does not see gets a share; what faces it the mean of the upper half."""
    head = open_head.vertices_mean
    mask = dilated_silhouette(open_head, 0.025)
    moved = np.linalg.norm(
        volume.displacement(head, INTRINSICS, HEAD_TO_CAMERA, mask, FULL), axis=1
    ) / np.maximum(open_head.region("scalp"), 1e-6)
    hair = open_head.region("scalp") > 0.5
    high = head[:, 1] > 0.6 * head[:, 1].max()  # above the nape, where hair lies down anyway
    outward = vertex_normals(head[None], open_head.triangles)[0]
    top = hair & (outward[:, 1] > 0.95)
    back = hair & high & (outward[:, 2] < -0.7)
    front = hair & (outward[:, 2] > 0.5)
    assert min(top.sum(), back.sum(), front.sum()) >= 5
    assert moved[back].max() < 0.75 * moved[top].min()
    assert moved[front].min() > 0.9 * moved[top].mean()


def test_a_mask_that_is_the_skull_moves_little(volume: HairVolume, open_head: HeadModel) -> None:
    mask = silhouette(open_head, open_head.vertices_mean)
    moved = volume.displacement(open_head.vertices_mean, INTRINSICS, HEAD_TO_CAMERA, mask, FULL)
    assert np.linalg.norm(moved, axis=1).max() < 0.006


def test_hats_and_crowds_are_cut(volume: HairVolume, open_head: HeadModel) -> None:
    everywhere = np.full((256, 256), 255, np.uint8)
    moved = volume.displacement(open_head.vertices_mean, INTRINSICS, HEAD_TO_CAMERA, everywhere, FULL)
    assert np.linalg.norm(moved, axis=1).max() <= volume.settings.thickest * 1.01


def test_nothing_is_guessed_where_the_photo_ends(volume: HairVolume, open_head: HeadModel) -> None:
    everywhere = np.full((256, 256), 255, np.uint8)
    box = (0, 600, 1024, 1024)  # the photo shows the chin only
    moved = volume.displacement(open_head.vertices_mean, INTRINSICS, HEAD_TO_CAMERA, everywhere, box)
    assert not moved.any()
