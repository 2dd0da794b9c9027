"""Where a photo shows a face, and in what light: photos whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from facewright.appearance.photo_view import FacePhoto
from facewright.appearance.seen_face import MASK_SIZE, FaceSeer, SeenFace
from facewright.core.clock import LapClock
from facewright.core.spherical_harmonics import sh_basis
from facewright.head.head_model import HeadModel
from facewright.texture.bake_settings import BakeSettings
from tests.support.rendered_photo import RenderedPhoto, paint_ellipse, render_photo, side_light

EVERYBODY = np.full((256, 256), 255, np.uint8)


@pytest.fixture(scope="module")
def seer(open_head: HeadModel) -> FaceSeer:
    return FaceSeer(open_head, BakeSettings())


@pytest.fixture(scope="module")
def side_lit(open_head: HeadModel) -> RenderedPhoto:
    return render_photo(open_head, light=side_light(0.35))


def _seen(seer: FaceSeer, photo: RenderedPhoto, crop: NDArray[np.uint8]) -> SeenFace:
    face = FacePhoto(crop, (0, 0, 1024, 1024))
    view = photo.view
    return seer.see(face, view.intrinsics, view.head_to_camera, photo.vertices, LapClock())


def _mask(seer: FaceSeer, photo: RenderedPhoto, crop: NDArray[np.uint8], person: NDArray[np.uint8]) -> float:
    view = photo.view
    mask = seer.mask(_seen(seer, photo, crop), view.intrinsics, view.head_to_camera, person)
    assert mask.shape == (MASK_SIZE, MASK_SIZE)
    return mask.astype(float) / 255


def _pixels(photo: RenderedPhoto, points: NDArray[np.float32]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Rows and columns of the mask that show head-space points [N, 3]."""
    pose = photo.view.head_to_camera
    seen = (points @ pose[:, :3].T + pose[:, 3]) @ photo.view.intrinsics.T
    at = (seen[:, :2] / seen[:, 2:] * MASK_SIZE / 1024).astype(int)
    return at[:, 1], at[:, 0]


def test_the_mask_is_the_face_with_its_eyes_and_nothing_else(
    seer: FaceSeer, side_lit: RenderedPhoto, open_head: HeadModel
) -> None:
    mask = _mask(seer, side_lit, side_lit.crop, EVERYBODY)
    mean = open_head.vertices_mean
    nose = mean[open_head.region("nose") > 0.9]
    assert mask[_pixels(side_lit, nose)].min() > 0.8
    assert mask[_pixels(side_lit, open_head.iris_centre.astype(np.float32))].min() > 0.8
    assert mask[_pixels(side_lit, mean[mean[:, 1] < -0.15])].max() < 0.05
    assert 0.05 < mask.mean() < 0.3


def test_what_lies_on_the_skin_and_who_is_no_person_is_left_out(
    seer: FaceSeer, side_lit: RenderedPhoto, open_head: HeadModel
) -> None:
    mean = open_head.vertices_mean
    cheek = mean[np.argmin(np.linalg.norm(mean - [0.035, -0.04, 0.01], axis=1))]
    at = _pixels(side_lit, cheek[None])
    painted = paint_ellipse(side_lit, cheek, 37.0, (0.004, 0.004, 0.005))
    assert _mask(seer, side_lit, side_lit.crop, EVERYBODY)[at] > 0.8
    assert _mask(seer, side_lit, painted, EVERYBODY)[at] < 0.4
    nobody = EVERYBODY.copy()
    nobody[at] = 0
    assert _mask(seer, side_lit, side_lit.crop, nobody)[at] == 0


def test_the_light_is_the_photos_up_to_its_exposure(seer: FaceSeer, side_lit: RenderedPhoto) -> None:
    """It falls from the side that it came from, as strongly: ratios over the face are those of the truth."""
    seen = _seen(seer, side_lit, side_lit.crop)
    front = seen.normals[:, 2] > 0.3
    basis = sh_basis(seen.normals[front])
    found = (basis @ seen.sh_light)[:, 1]
    truth = (basis @ np.asarray(side_light(0.35)))[:, 1]
    ratio = np.log(found / truth)
    assert np.abs(ratio - np.median(ratio)).mean() < 0.08
