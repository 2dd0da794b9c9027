"""The preview sheet: what each tile shows, that it repeats, and that it refuses what it cannot draw."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.render.preview_sheet import SheetStyle, backdrop, compose_sheet, encode_png
from facewright.render.render_head import View
from facewright.render.render_preview import FittedPhoto, PreviewRenderer, decode_texture
from facewright_client.contract import ErrorCode
from tests.support.painted_avatar import encoded
from tests.support.synthetic_head import save_synthetic_head

STYLE = SheetStyle()
TILES = ["photo", "mesh", "neutral", "smile", "-60", "-30", "30", "60", "jaw", "blink", "evening", "stage"]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> HeadModel:
    return HeadModel.load(save_synthetic_head(tmp_path_factory.mktemp("head") / "head.npz"))


@pytest.fixture(scope="module")
def renderer(head: HeadModel) -> PreviewRenderer:
    return PreviewRenderer(head)


@pytest.fixture(scope="module")
def photo(head: HeadModel) -> FittedPhoto:
    view = View.turned(10, size=1024, span=0.5)
    crop = np.zeros((1024, 1024, 3), np.uint8)
    crop[:, :512] = (180, 20, 20)
    crop[:, 512:] = (20, 20, 180)
    return FittedPhoto(crop, view.intrinsics, view.head_to_camera, head.vertices_mean)


def _texture() -> bytes:
    """Left half of the texture red, right half green: any tile that shows the avatar has both."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, :32, 0] = 200
    pixels[:, 32:, 1] = 200
    return encoded(pixels).content


def _tiles(png: bytes) -> dict[str, np.ndarray]:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        sheet = np.asarray(image.convert("RGB")).astype(int)
    tiles = {}
    for i, name in enumerate(TILES):
        left = STYLE.gap + i % 4 * (STYLE.tile + STYLE.gap)
        top = STYLE.gap + i // 4 * (STYLE.tile + STYLE.caption + STYLE.gap)
        tiles[name] = sheet[top : top + STYLE.tile, left : left + STYLE.tile]
    return tiles


@pytest.fixture(scope="module")
def tiles(renderer: PreviewRenderer, photo: FittedPhoto, head: HeadModel) -> dict[str, np.ndarray]:
    return _tiles(renderer.render(photo, head.vertices_mean, _texture()))


def test_photo_is_cut_around_the_head(tiles: dict[str, np.ndarray]) -> None:
    middle = tiles["photo"][160]
    assert (middle[10] == (180, 20, 20)).all()
    assert (middle[-10] == (20, 20, 180)).all()
    # the head is a little right of the crop's middle or left of it, so the cut is not in the tile's middle
    assert 100 < np.count_nonzero(middle[:, 0] > 100) < 220


def test_mesh_is_drawn_on_the_photo_and_nowhere_else(tiles: dict[str, np.ndarray]) -> None:
    changed = np.abs(tiles["mesh"] - tiles["photo"]).max(axis=2) > 8
    assert 0.05 < changed.mean() < 0.6
    assert changed[150:170, 140:180].any()
    assert not changed[12:-12, :3].any()
    assert not changed[12:-12, -3:].any()


def test_every_avatar_tile_shows_something_of_its_own(tiles: dict[str, np.ndarray]) -> None:
    names = TILES[2:]
    for i, name in enumerate(names):
        assert tiles[name].std() > 15, name
        for other in names[i + 1 :]:
            assert np.abs(tiles[name] - tiles[other]).mean() > 0.02, (name, other)


def test_turned_tiles_face_the_side_that_their_caption_says(photo: FittedPhoto, tmp_path: Path) -> None:
    """A white nose moves to the picture's left when the subject turns to their right."""
    path = save_synthetic_head(tmp_path / "head.npz")
    arrays = dict(np.load(path))
    x, y = arrays["vertices_mean"][:, 0], arrays["vertices_mean"][:, 1]
    arrays["uv"] = np.stack([0.5 + x / 0.4, 0.5 - y / 0.4], axis=1).astype(np.float32)
    np.savez(path, **arrays)
    head = HeadModel.load(path)
    rows, columns = np.mgrid[:64, :64]
    pixels = np.full((64, 64, 3), 20, np.uint8)
    pixels[np.hypot(columns - 32, rows - 32 - 0.1 * 64) < 3] = 255  # at y = -0.04, the nose
    tiles = _tiles(PreviewRenderer(head).render(photo, head.vertices_mean, encoded(pixels).content))
    columns = np.arange(STYLE.tile)
    at = {}
    for name in ("-60", "-30", "neutral", "30", "60"):
        bright = (tiles[name].min(axis=2) > 120).sum(axis=0)
        at[name] = (bright * columns).sum() / bright.sum()
    assert at["-60"] < at["-30"] < at["neutral"] < at["30"] < at["60"]


def test_equal_inputs_give_equal_bytes(
    renderer: PreviewRenderer, photo: FittedPhoto, head: HeadModel
) -> None:
    first = renderer.render(photo, head.vertices_mean, _texture())
    assert first == renderer.render(photo, head.vertices_mean, _texture())


def test_a_head_outside_the_crop_is_no_reason_to_fail(
    renderer: PreviewRenderer, photo: FittedPhoto, head: HeadModel
) -> None:
    moved = photo.head_to_camera.copy()
    moved[0, 3] += 0.4
    away = FittedPhoto(photo.face_crop, photo.intrinsics, moved, photo.vertices)
    renderer.render(away, head.vertices_mean, _texture())


def test_a_broken_texture_is_a_typed_error(
    renderer: PreviewRenderer, photo: FittedPhoto, head: HeadModel
) -> None:
    whole = _texture()
    for broken in (b"", b"not a picture", whole[: len(whole) // 2]):
        with pytest.raises(FacewrightError, match=f"{len(broken)} bytes. cannot be decoded") as caught:
            renderer.render(photo, head.vertices_mean, broken)
        assert caught.value.code == ErrorCode.INTERNAL


@pytest.mark.parametrize("texture_format", ["jpeg", "png", "webp"])
def test_large_textures_are_reduced(texture_format: str) -> None:
    pixels = np.full((512, 512, 3), (200, 100, 50), np.uint8)
    small = decode_texture(encoded(pixels, texture_format).content, largest=128)
    assert small.shape == (128, 128, 3)
    assert np.abs(small.astype(int) - (200, 100, 50)).max() <= 3


def test_sheet_places_tiles_and_keeps_captions_below_them() -> None:
    style = SheetStyle(tile=40, gap=4, caption=20, corner=0)
    red = np.full((40, 40, 3), (255, 0, 0), np.uint8)
    sheet = np.asarray(compose_sheet([("one", red), ("two", red), ("three", red)], 2, style))
    assert sheet.shape == (2 * 64 + 4, 2 * 44 + 4, 3)
    is_red = (sheet == (255, 0, 0)).all(axis=2)
    assert is_red.sum() == 3 * 40 * 40
    assert is_red[4:44, 48:88].all()
    caption = sheet[45:63, 4:44]
    assert caption.max() > 100  # letters
    with Image.open(io.BytesIO(encode_png(compose_sheet([("one", red)], 1, style)))) as image:
        assert image.size == (48, 68)


def test_backdrop_is_brightest_behind_the_head() -> None:
    roll = backdrop(64, (0.2, 0.1, 0.1))
    assert roll[27, 32, 0] == pytest.approx(roll[..., 0].max(), rel=0.01)
    assert roll[0, 0, 0] < 0.5 * roll[27, 32, 0]
    np.testing.assert_allclose(roll[..., 0], 2 * roll[..., 1], rtol=1e-5)
