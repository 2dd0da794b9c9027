"""The head renderer: cameras, what is shaded, light that stays or turns, antialiasing, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from facewright.core.colour import linear_from_srgb
from facewright.core.spherical_harmonics import sh_basis
from facewright.head.ambient_occlusion import ambient_occlusion
from facewright.head.eyeball import eyeballs
from facewright.head.head_model import HeadModel
from facewright.render.light import STUDIO, Lamp, Light
from facewright.render.render_head import HeadRenderer, View
from facewright_kernels import vertex_normals
from tests.support.synthetic_head import EYE_RADIUS, EYES, save_synthetic_head

GREY = np.full((16, 16, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> HeadModel:
    return HeadModel.load(save_synthetic_head(tmp_path_factory.mktemp("head") / "head.npz"))


def _pixel(view: View, point: tuple[float, float, float]) -> np.ndarray:
    """K (R h + t) in float64, the definition."""
    camera = view.head_to_camera[:, :3].astype(float) @ point + view.head_to_camera[:, 3]
    seen = view.intrinsics.astype(float) @ camera
    return seen[:2] / seen[2]


def test_turning_follows_the_conventions() -> None:
    """yaw > 0: the subject looks to their left, the picture's right; pitch > 0: down."""
    nose = (0.0, -0.03, 0.04)
    front = _pixel(View.turned(), nose)
    assert _pixel(View.turned(yaw=30), nose)[0] > front[0] + 50
    assert _pixel(View.turned(pitch=20), nose)[1] > front[1] + 30
    left_eye = _pixel(View.turned(), (0.03, 0.0, 0.0))
    assert left_eye[0] > front[0]


def test_span_is_what_the_picture_shows_at_the_pivot() -> None:
    view = View.turned(size=400, span=0.3, pivot=(0.01, 0.02, -0.05))
    np.testing.assert_allclose(_pixel(view, (0.01, 0.02, -0.05)), [200, 200], atol=1e-3)
    np.testing.assert_allclose(_pixel(view, (0.16, 0.02, -0.05)), [400, 200], atol=1e-3)


def test_window_is_a_crop_of_the_same_camera() -> None:
    view = View.turned(yaw=20, size=300)
    cut = view.window(left=60, top=30, side=150, size=450)
    for point in ((0.0, 0.0, 0.0), (0.05, -0.1, 0.02)):
        np.testing.assert_allclose(_pixel(cut, point), (_pixel(view, point) - [60, 30]) * 3, atol=1e-3)


def test_clip_positions_are_the_pinhole_camera(head: HeadModel) -> None:
    view = View.turned(yaw=25, pitch=-10, size=320)
    clip = view.clip_positions(head.vertices_mean)
    pixel = (clip[:, :2] / clip[:, 3:] + 1) * 160
    truth = [_pixel(view, tuple(vertex)) for vertex in head.vertices_mean]
    np.testing.assert_allclose(pixel, truth, atol=2e-3)


def test_even_light_shows_the_texture_as_it_is(head: HeadModel) -> None:
    texture = np.full((8, 8, 3), (200, 120, 60), np.uint8)
    view = View.turned(size=96)
    picture = HeadRenderer(head, texture).render(head.vertices_mean, view, Light.even())
    inside = picture.alpha == 1
    assert inside.sum() > 500
    np.testing.assert_allclose(
        picture.light[inside], np.tile(linear_from_srgb(texture[0, 0]), (inside.sum(), 1)), atol=2e-4
    )
    sheet = picture.over((0, 0, 0))
    assert np.abs(sheet[inside].astype(int) - texture[0, 0]).max() <= 1
    assert (sheet[picture.alpha == 0] == 0).all()
    half = (picture.alpha > 0) & (picture.alpha < 1)
    assert half.any()  # the outline is antialiased


def test_float_and_byte_textures_agree(head: HeadModel) -> None:
    texture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    view = View.turned(size=64)
    as_bytes = HeadRenderer(head, texture).render(head.vertices_mean, view).over()
    as_light = HeadRenderer(head, linear_from_srgb(texture)).render(head.vertices_mean, view).over()
    assert np.abs(as_bytes.astype(int) - as_light).max() <= 1


def test_sh_light_is_shaded_in_head_space(head: HeadModel) -> None:
    """Radiance = albedo x sum c_k Y_k(n) at the middle of the forehead's side, against float64."""
    rng = np.random.default_rng(4)
    coefficients = np.zeros((9, 3), np.float32)
    coefficients[0] = 2.5
    coefficients[1:] = rng.normal(0, 0.25, (8, 3))
    view = View.turned(yaw=-35, size=200)
    picture = HeadRenderer(head, GREY).render(head.vertices_mean, view, Light(coefficients))
    albedo = linear_from_srgb(GREY)[0, 0, 0]
    normals = vertex_normals(head.vertices_mean[None], head.triangles)[0]
    clip = view.clip_positions(head.vertices_mean)
    eye = -view.head_to_camera[:, :3].T @ view.head_to_camera[:, 3]
    facing = np.einsum("vc,vc->v", normals, (eye - head.vertices_mean) / np.linalg.norm(eye))
    skin = np.unique(head.triangles[head.part_triangles("skin")])
    checked = 0
    for vertex in skin[facing[skin] > 0.7][::7]:
        x, y = ((clip[vertex, :2] / clip[vertex, 3] + 1) * 100).astype(int)
        if np.linalg.norm(head.vertices_mean[vertex] - EYES, axis=1).min() < 0.02:
            continue
        expected = albedo * (sh_basis(normals[vertex][None])[0].astype(float) @ coefficients)
        np.testing.assert_allclose(picture.light[y, x], expected, rtol=0.1, atol=0.01)
        checked += 1
    assert checked > 20


def test_a_lamps_sh_is_the_cosine_lobe() -> None:
    """A white surface facing a lamp of colour 1 has radiance 1, within what nine bands can say (3/32)."""
    lamp = Lamp((0.3, -0.5, 0.8), (1.0, 0.5, 0.0))
    light = Light.from_lamps((0, 0, 0), lamp)
    directions = np.random.default_rng(1).standard_normal((2000, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radiance = sh_basis(directions) @ light.coefficients
    lobe = np.maximum(directions @ lamp.unit, 0)
    np.testing.assert_allclose(radiance[:, 0], lobe, atol=0.0945)
    np.testing.assert_allclose(radiance[:, 1], 0.5 * radiance[:, 0], atol=1e-6)
    np.testing.assert_allclose(radiance[:, 2], 0, atol=1e-6)


def test_studio_light_stays_when_the_head_turns_and_a_photos_light_turns(head: HeadModel) -> None:
    lamp = Lamp((1.0, 0.0, 0.3), (1.0, 1.0, 1.0))
    studio = Light.from_lamps((0.1, 0.1, 0.1), lamp)
    photo = Light(studio.coefficients)
    for light, stays in ((studio, True), (photo, False)):
        sides = []
        for yaw in (0, 100):
            picture = HeadRenderer(head, GREY).render(head.vertices_mean, View.turned(yaw, size=96), light)
            sides.append(picture.light[:, 48:].mean() > picture.light[:, :48].mean())
        assert sides[0]
        assert sides[1] == stays


def test_eyes_glint_and_only_under_lamps(head: HeadModel) -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    view = View.turned(size=256)
    lit = HeadRenderer(head, black).render(head.vertices_mean, view).light.max(axis=2)
    for eye in EYES:
        x, y = _pixel(view, tuple(eye)).astype(int)
        assert lit[y - 12 : y + 12, x - 12 : x + 12].max() > 0.5
    assert lit[200:, :].max() < 0.1
    dark = HeadRenderer(head, black).render(head.vertices_mean, view, Light.even()).light
    assert dark.max() == 0


def test_occlusion_darkens(head: HeadModel) -> None:
    view = View.turned(size=64)
    renderer = HeadRenderer(head, GREY)
    free = renderer.render(head.vertices_mean, view, Light.even())
    half = renderer.render(
        head.vertices_mean, view, Light.even(), np.full(head.vertex_count, 0.5, np.float32)
    )
    np.testing.assert_allclose(half.light, 0.5 * free.light, atol=1e-6)


def test_faded_removes_the_neck_only(head: HeadModel) -> None:
    picture = HeadRenderer(head, GREY).render(head.vertices_mean, View.turned(size=64, span=0.15), STUDIO)
    faded = picture.faded(0.25)
    np.testing.assert_array_equal(faded.light[:48], picture.light[:48])
    assert picture.alpha[63].max() == 1
    assert faded.alpha[63].max() < 0.01
    assert (np.diff(faded.alpha[48:, 32]) <= 0).all()


def test_what_hides_is_not_visible(head: HeadModel) -> None:
    visible, points = HeadRenderer.visible_triangles(head, head.vertices_mean, View.turned(size=200))
    depth = head.vertices_mean[head.triangles[visible]].mean(axis=1)[:, 2]
    assert depth.min() > head.vertices_mean[:, 2].min() + 0.05  # nothing of the back of the head
    assert 200 < len(visible) < len(head.triangles) / 2
    np.testing.assert_allclose(
        points[0], _pixel(View.turned(size=200), tuple(head.vertices_mean[0])), atol=2e-3
    )


def test_bad_input_is_refused(head: HeadModel) -> None:
    view = View.turned(size=32)
    with pytest.raises(ValueError, match="texture must be u8 or f32"):
        HeadRenderer(head, np.zeros((8, 8, 4), np.uint8))
    with pytest.raises(ValueError, match="vertices must be finite"):
        HeadRenderer(head, GREY).render(np.full_like(head.vertices_mean, np.nan), view)
    with pytest.raises(ValueError, match="vertices must be finite"):
        HeadRenderer(head, GREY).render(head.vertices_mean[:-1], view)


def test_occlusion_of_a_box_with_a_lid() -> None:
    """A floor under a lid of the same size, as far away as it is wide, sees the sky that the lid leaves."""
    floor = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]], np.float32)
    centre = np.array([[0, 0, 0]], np.float32)
    lid = floor + np.float32([0, 2, 0])
    vertices = np.concatenate([floor, centre, lid]).astype(np.float32)
    # the floor faces up as a fan around its centre, the lid faces down
    fan = [[4, 1, 0], [4, 2, 1], [4, 3, 2], [4, 0, 3]]
    triangles = np.array([*fan, [5, 6, 7], [5, 7, 8]], np.int32)
    open_floor = ambient_occlusion(vertices[:5], triangles[:4], 256)
    covered = ambient_occlusion(vertices, triangles, 256)
    np.testing.assert_allclose(open_floor[4], 1, atol=0.02)
    # view factor of a 2 x 2 square seen from below its middle at distance 2: (4/pi) (a/r) atan(b/r) with
    # a = b = 1/2, r = sqrt(1 + 1/4) in units of the distance (Howell, "Radiation configuration factors", B-4)
    root = np.sqrt(1.25)
    view_factor = 4 / (2 * np.pi) * 2 * (0.5 / root) * np.arctan(0.5 / root)
    np.testing.assert_allclose(covered[4], 1 - view_factor, atol=0.04)


def test_the_cornea_tilts_normals_more_than_the_eyeball_and_only_before_the_iris(head: HeadModel) -> None:
    left = eyeballs(head)[0]
    axis = np.array([0.0, 0.0, 1.0])
    angles = np.radians([0, 5, 10, 40, 170])
    normals = np.stack([np.sin(angles), 0 * angles, np.cos(angles)], axis=1).astype(np.float32)
    tilted = left.with_cornea(normals, head.vertices_mean)
    np.testing.assert_allclose(np.linalg.norm(tilted, axis=1), 1, atol=1e-5)
    found = np.arccos(np.clip(tilted @ axis, -1, 1))
    # sphere of 12.5 mm, cornea of 7.7 mm: sin(tilt) grows by their ratio
    np.testing.assert_allclose(np.sin(found[:3]), np.sin(angles[:3]) * EYE_RADIUS / 0.0077, atol=0.01)
    np.testing.assert_allclose(found[3:], angles[3:], atol=1e-3)
    assert tilted[1, 0] > 0
