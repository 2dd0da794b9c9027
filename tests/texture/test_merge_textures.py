"""Textures of one person: one tone, what each photo shows best, nothing that one alone shows wrongly."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facewright.core.assets import asset_path
from facewright.core.colour import linear_from_srgb, srgb_from_linear
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.texture.merge_textures import TextureMerger, matched_tones
from facewright_client.contract import ErrorCode

SKIN = np.array([0.4, 0.25, 0.18], np.float32)
#: Texels of the open head's cheeks, left and right of the middle, at 256².
LEFT, RIGHT = (slice(120, 150), slice(60, 80)), (slice(120, 150), slice(176, 196))


@pytest.fixture(scope="module")
def merger() -> TextureMerger:
    return TextureMerger(HeadModel.load(asset_path("head.npz")))


def _code(colour: np.ndarray, seen: np.ndarray, mirrored: float = 0.0) -> Any:
    """What the merger reads of a code."""
    file = io.BytesIO()
    picture = Image.fromarray(srgb_from_linear(np.broadcast_to(colour, (512, 512, 3))))
    picture.save(file, "JPEG", quality=95, subsampling=0)
    confidence = np.stack([seen, np.full((256, 256), mirrored)])
    return SimpleNamespace(texture=file.getvalue(), confidence=(confidence * 255).astype(np.uint8))


def _half(left: float, right: float) -> np.ndarray:
    seen = np.full((256, 256), left)
    seen[:, 128:] = right
    return seen


def test_gains_bring_photos_to_one_tone_whatever_a_part_of_one_is() -> None:
    colours = np.stack([np.broadcast_to(SKIN * gain, (256, 256, 3)) for gain in (1.0, 0.6, 1.3)]).copy()
    colours[1, :90] = (0.02, 0.02, 0.02)  # hair over a third of one
    gains = matched_tones(colours, np.ones((3, 256, 256), np.float32))
    tones = gains * np.array([[1.0], [0.6], [1.3]])
    np.testing.assert_allclose(tones / tones[0], 1.0, atol=0.06)


def test_a_photo_that_shares_nothing_keeps_its_tone() -> None:
    seen = np.stack([_half(1.0, 0.0), _half(0.0, 1.0)]).astype(np.float32)
    colours = np.stack([np.full((256, 256, 3), 0.4), np.full((256, 256, 3), 0.2)]).astype(np.float32)
    np.testing.assert_allclose(matched_tones(colours, seen), 1.0, atol=1e-3)


def test_each_side_is_of_the_photo_that_shows_it(merger: TextureMerger) -> None:
    """Both see the middle, where their tones meet; each sees one cheek alone, which is blushed there."""
    sides = []
    for blushed in (LEFT, RIGHT):
        colour = np.broadcast_to(SKIN, (512, 512, 3)).copy()
        rows, columns = blushed
        colour[rows.start * 2 : rows.stop * 2, columns.start * 2 : columns.stop * 2] = (0.6, 0.1, 0.1)
        sides.append(colour)
    merged = merger.merge([_code(sides[0], _half(1.0, 0.1)), _code(sides[1], _half(0.1, 1.0))], 0, 512)
    linear = linear_from_srgb(merged.texture)
    for rows, columns in (LEFT, RIGHT):
        red = linear[rows.start * 2 + 12 : rows.stop * 2 - 12, columns.start * 2 + 12 : columns.stop * 2 - 12]
        assert red[..., 0].mean() > 0.5
        assert red[..., 1].mean() < 0.13
    assert 0.3 < merged.seen[1] < 0.5 < merged.seen[0] < 0.7, "the reference has the scalp, too"


def test_what_one_of_three_shows_otherwise_is_left_out(merger: TextureMerger) -> None:
    hand = np.broadcast_to(SKIN, (512, 512, 3)).copy()
    hand[240:300, 120:160] = 0.02
    ones = _half(0.9, 0.9)
    merged = merger.merge([_code(SKIN, ones), _code(hand, ones), _code(SKIN, ones)], 0, 512)
    covered = linear_from_srgb(merged.texture)[255:285, 132:148]
    assert covered[..., 0].mean() > 0.8 * SKIN[0]


def test_fine_structure_says_who_is_alike(merger: TextureMerger) -> None:
    """The same freckles in another light, and others."""
    random = np.random.default_rng(4)
    freckles, others = (
        np.kron(np.exp(0.2 * random.standard_normal((128, 128, 1))), np.ones((4, 4, 1))) for _ in "12"
    )
    seen = _half(0.9, 0.9)
    codes = [_code(SKIN * freckles, seen), _code(0.6 * SKIN * freckles, seen), _code(SKIN * others, seen)]
    first, second, third = merger.merge(codes, 0, 512).likeness
    assert min(first, second) > 0.4
    assert abs(third) < 0.1
    assert min(merger.merge(codes[:2], 0, 512).likeness) > 0.9


def test_hair_and_what_nobody_shows_are_the_references(merger: TextureMerger) -> None:
    nothing, everything = np.zeros((256, 256)), np.ones((256, 256))
    merged = merger.merge([_code(SKIN, everything), _code(np.array([0.1, 0.3, 0.1]), nothing)], 1, 512)
    scalp = linear_from_srgb(merged.texture)[20:40, 60:100]
    assert scalp[..., 1].mean() > 1.5 * scalp[..., 0].mean(), "green hair"


def test_a_texture_that_breaks_off(merger: TextureMerger) -> None:
    whole, broken = _code(SKIN, np.ones((256, 256))), _code(SKIN, np.ones((256, 256)))
    broken.texture = broken.texture[: len(broken.texture) // 2]
    with pytest.raises(FacewrightError, match="code 2 has a texture") as caught:
        merger.merge([whole, broken], 0, 512)
    assert caught.value.code is ErrorCode.BAD_CODE
