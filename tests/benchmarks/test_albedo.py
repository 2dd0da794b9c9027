"""Figures of albedos, and the networks on a real photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.albedo.portraits import SIDE, PortraitMaker
from benchmarks.albedo.skin import SkinFigures, WornAlbedo, with_half_contrast
from facewright.appearance.texel_layout import TexelPoints, padded_texel_map
from facewright.core.colour import linear_from_srgb, luminance
from facewright.head.head_model import HeadModel
from facewright_kernels import vertex_normals

ASTRONAUT = Path(__file__).parents[1] / "data" / "astronaut.jpg"


@pytest.fixture(scope="module")
def face(open_head: HeadModel) -> np.ndarray:
    points = TexelPoints(open_head, padded_texel_map(open_head, SIDE))
    return points.interpolate(open_head.region("cheeks")).reshape(SIDE, SIDE) > 0.8


def _texture(red: float, noise: int) -> np.ndarray:
    grain = np.random.default_rng(noise).normal(0, 6, (SIDE, SIDE, 3))
    return np.clip(np.array([red, 120, 100]) + grain, 0, 255).astype(np.uint8)


def test_halved_contrast_halves_distances_and_tells_nobody_apart_any_better(open_head: HeadModel) -> None:
    textures = [_texture(red, seed) for seed, red in enumerate((150, 160, 155, 210, 220, 215))]
    figures, persons = SkinFigures(open_head), ["ann"] * 3 + ["bob"] * 3
    row, rival = (figures.row(some, persons) for some in (textures, with_half_contrast(textures)))
    assert row["tone"]["ratio"] > 4
    assert rival["skin"]["same"] < 0.6 * row["skin"]["same"]
    assert abs(rival["skin"]["ratio"] - row["skin"]["ratio"]) < 0.15 * row["skin"]["ratio"]
    assert row["left-right ΔL > 5"] == 0.0


def test_one_side_in_shadow_is_uneven(open_head: HeadModel) -> None:
    dark, even = _texture(180, 0), _texture(180, 0)
    dark[:, : SIDE // 2] //= 2
    row = SkinFigures(open_head).row([dark, dark, even], ["ann", "bob", "ann"])
    assert row["left-right ΔL, median"] > 15
    assert row["left-right ΔL > 5"] == pytest.approx(2 / 3, abs=0.01)


def test_what_is_worn_has_the_networks_tone_and_the_photos_fine_structure(
    open_head: HeadModel, face: np.ndarray
) -> None:
    albedo, texture = np.full((SIDE, SIDE, 3), 180, np.uint8), np.full((SIDE, SIDE, 3), 90, np.uint8)
    texture[::8] = 60
    worn = WornAlbedo(open_head, 4.0)(albedo, texture).astype(float)
    assert abs(worn[face].mean() - 180) < 8
    assert worn[face].std() > 10


def test_a_photos_albedo_is_complete_and_albedo_times_light_is_the_photo(
    open_head: HeadModel, face: np.ndarray
) -> None:
    points = TexelPoints(open_head, padded_texel_map(open_head, SIDE))
    normals = points.interpolate(vertex_normals(open_head.vertices_mean[None], open_head.triangles)[0])
    portrait = PortraitMaker(open_head, normals.reshape(SIDE, SIDE, 3)).make(ASTRONAUT.read_bytes())
    colour = linear_from_srgb(portrait.albedo)[face]
    assert (colour[:, 0] > colour[:, 2]).all()
    assert luminance(colour).std() < 0.12
    shown = linear_from_srgb(portrait.albedo) * portrait.light
    wrong = np.abs(shown - linear_from_srgb(portrait.texture))
    middle = slice(SIDE // 3, 2 * SIDE // 3)  # what is seen of the cheeks; further out is noise
    assert np.median(wrong[:, middle][face[:, middle]]) < 0.04
