"""Avatars beside avatars: their faces, colours and skin tones."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.likeness.consistency import AvatarComparison, lab_from_srgb, tone_name
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load(asset_path("head.npz"))


@pytest.fixture(scope="module")
def comparison(head: HeadModel) -> AvatarComparison:
    return AvatarComparison(head)


def test_lab_of_known_colours() -> None:
    colours = np.array([[255, 255, 255], [119, 119, 119], [255, 0, 0]], np.uint8)
    expected = [[100, 0, 0], [50, 0, 0], [53.24, 80.09, 67.20]]
    np.testing.assert_allclose(lab_from_srgb(colours), expected, atol=0.15)


def test_skin_tones_are_told_from_the_cheeks(comparison: AvatarComparison) -> None:
    texture = np.zeros((256, 256, 3), np.uint8)
    for colour, name in (((236, 205, 190), "very light"), ((180, 130, 98), "tan"), ((92, 58, 42), "dark")):
        texture[:] = colour
        assert tone_name(comparison.tone(comparison.skin(texture))) == name


def test_size_and_place_set_nobody_apart(head: HeadModel, comparison: AvatarComparison) -> None:
    person = head.neutral(np.random.default_rng(3).standard_normal(160))
    moved = 1.2 * person + np.float32(0.1)
    np.testing.assert_allclose(comparison.shape(moved), comparison.shape(person), atol=1e-6)


def test_avatars_of_one_person_agree_more(head: HeadModel, comparison: AvatarComparison) -> None:
    random = np.random.default_rng(4)
    shapes, skins, persons = [], [], []
    for person in "ann", "bob", "eve":
        identity, colour = random.standard_normal(160), random.integers(60, 220, 3)
        for _ in range(2):
            shapes.append(comparison.shape(head.neutral(identity + 0.3 * random.standard_normal(160))))
            texture = np.clip(colour + random.integers(-3, 4, (64, 64, 3)), 0, 255).astype(np.uint8)
            skins.append(comparison.skin(texture))
            persons.append(person)
    told = comparison.agreement(shapes, skins, persons)
    assert list(told) == ["shape, rms mm", "depth, rms mm", "skin, mean ΔE", "mean skin colour, ΔE"]
    for row in told.values():
        assert row["pairs"] == 3
        assert row["ratio"] < 0.6
        assert row["auc"] == 1
    assert told["depth, rms mm"]["same"] < told["shape, rms mm"]["same"]
    alone = comparison.agreement(shapes[:1], skins[:1], persons[:1])
    assert alone["shape, rms mm"] == {"pairs": 0}
