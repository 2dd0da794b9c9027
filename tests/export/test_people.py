"""Synthetic people: the same for the same seed, and seen where their truth says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facewright.head.head_model import HeadModel
from facewright.photo.landmark_crop import VIEW_SCALE
from facewright.pipelines.tensors import MESH_COUNT
from facewright_export.people import Framing, Lamp, Light, PeopleGenerator, Person, PersonTruth, View
from facewright_export.people.__main__ import main
from facewright_export.people.complexion import draw_complexion
from facewright_export.people.truth import lamp_harmonics
from facewright_kernels import sh_shading

_SIDE = 192
_LIPS, _AROUND_LIPS, _CHEEKS, _IRISES = (11, 16), (164, 200), (50, 280), (468, 473)


@pytest.fixture(scope="module")
def people(open_head: HeadModel) -> PeopleGenerator:
    return PeopleGenerator(open_head, seed=3)


def _portrait(people: PeopleGenerator, person: Person) -> tuple[np.ndarray, PersonTruth]:
    """Seen from the front, in even light."""
    scale = _SIDE / 0.3
    view = View(
        np.array([[scale, 0, _SIDE / 2], [0, scale, _SIDE / 2], [0, 0, 1]], np.float32),
        np.array([[1, 0, 0, 0], [0, -1, 0, -0.04], [0, 0, -1, 1]], np.float32),
    )
    even = np.zeros((9, 3), np.float32)
    even[0] = 1.2 / 0.282095
    return people.portrait(person, view, Light(even, ()), _SIDE)


def _at(picture: np.ndarray, head: HeadModel, truth: PersonTruth, landmarks: tuple[int, ...]) -> np.ndarray:
    """Mean colours [N, 3] of the 3 x 3 pixels at landmarks."""
    pixels = truth.pixels(head.landmarks(truth.vertices)[list(landmarks)]).astype(int)
    return np.stack([picture[y - 1 : y + 2, x - 1 : x + 2].mean(axis=(0, 1)) for x, y in pixels])


def test_a_seed_and_a_number_are_one_person_and_one_photo(people: PeopleGenerator) -> None:
    both = people.photograph(2, 64)
    alone = people.photograph(1, 64, first=1)
    assert np.array_equal(both.images[1], alone.images[0])
    assert np.array_equal(both.truths[1].vertices, alone.truths[0].vertices)
    assert np.abs(both.images[0] - both.images[1]).mean() > 0.02
    assert people.draw(1).details != people.draw(2).details


def test_photos_are_srgb_planes_with_a_truth_each(people: PeopleGenerator) -> None:
    batch = people.photograph(3, 96)
    assert batch.images.shape == (3, 3, 96, 96)
    assert batch.images.dtype == np.float32
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1
    for truth in batch.truths:
        assert [truth.identity.shape, truth.expression.shape, truth.light.environment.shape] == [
            (160,),
            (52,),
            (9, 3),
        ]
        assert truth.expression.min() >= 0
        assert truth.expression.max() <= 1
        assert 1 <= len(truth.light.lamps) <= 3


def test_faces_fill_the_photo_as_framed(people: PeopleGenerator, open_head: HeadModel) -> None:
    still = Framing(scale_sigma=0, shift_sigma=0, yaw_sigma=0, pitch_sigma=0, roll_sigma=0)
    for truth in people.photograph(3, 90, still).truths:
        pixels = truth.pixels(open_head.landmarks(truth.vertices)[:MESH_COUNT])
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        assert (high - low).max() * VIEW_SCALE == pytest.approx(90, abs=0.1)
        assert (low + high) / 2 == pytest.approx([45, 45], abs=0.1)
        assert truth.head_to_camera[:, :3] == pytest.approx(np.diag([1, -1, -1]), abs=1e-6)


def test_irises_and_lips_are_seen_where_the_truth_has_them(
    people: PeopleGenerator, open_head: HeadModel
) -> None:
    for index in range(4):
        person = people.draw(index).plain()
        red = np.array([0.5, 0.03, 0.05], np.float32)
        skin = replace(person.skin, beards={}, stubble=0, lips=red)
        picture, truth = _portrait(people, replace(person, skin=skin))
        cheek = _at(picture, open_head, truth, _CHEEKS).mean(axis=0)
        assert _at(picture, open_head, truth, _IRISES).mean(axis=1).max() < 0.6 * cheek.mean()
        lips, around = (_at(picture, open_head, truth, places) for places in (_LIPS, _AROUND_LIPS))
        assert (lips[:, 0] / lips[:, 1]).min() > 2 * (around[:, 0] / around[:, 1]).max()


def test_lids_close_and_eyes_turn(people: PeopleGenerator, open_head: HeadModel) -> None:
    person = people.draw(0).plain()
    picture, truth = _portrait(people, person)
    names = list(open_head.expression_names)
    closed = np.zeros(52, np.float32)
    closed[[names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]] = 1
    shut, _ = _portrait(people, replace(person, expression=closed))
    assert (_at(shut, open_head, truth, _IRISES) > 2 * _at(picture, open_head, truth, _IRISES)).all()
    aside = np.array([[0.4, 0], [0.4, 0]], np.float32)  # to the subject's left: right in the picture
    looking, turned = _portrait(people, replace(person, eye_rotation=aside))
    moved = turned.pixels(open_head.landmarks(turned.vertices)[list(_IRISES)])
    moved -= truth.pixels(open_head.landmarks(truth.vertices)[list(_IRISES)])
    assert (moved[:, 0] > 1.5).all()
    assert _at(looking, open_head, turned, _IRISES).mean() < 0.1


def test_everything_that_people_have_occurs(people: PeopleGenerator, open_head: HeadModel) -> None:
    drawn = [people.draw(index) for index in range(80)]
    for name in ("glasses", "hat", "occluder"):
        assert 0 < sum(getattr(person, name) for person in drawn) < 40, name
    assert 0 < sum(person.hair.grows for person in drawn) < 80
    assert 0 < sum(bool(person.skin.beards) for person in drawn) < 40
    of_face = [not str(name).startswith("eyeLook") for name in open_head.expression_names]
    assert 10 < sum(not person.expression[of_face].any() for person in drawn) < 40
    melanin = [person.skin.melanin for person in drawn]
    assert min(melanin) < 0.1
    assert max(melanin) > 0.8


def test_lids_are_open_or_closed(people: PeopleGenerator, open_head: HeadModel) -> None:
    blink = list(open_head.expression_names).index("eyeBlinkLeft")
    shown = np.array([people.draw(index).expression[blink] for index in range(400)])
    shown = shown[shown > 0]
    assert len(shown) > 10
    assert np.quantile(shown, 0.25) > 0.5


def test_what_is_worn_is_seen(people: PeopleGenerator) -> None:
    plain = people.draw(0).plain()
    bare, _ = _portrait(people, plain)
    for name in ("glasses", "hat", "occluder"):
        changed, truth = _portrait(people, replace(plain, **{name: True}))
        assert getattr(truth, name)
        assert (np.abs(changed - bare).max(axis=2) > 0.05).mean() > 0.005, name


def test_eyes_of_dark_people_are_not_bright() -> None:
    random = np.random.Generator(np.random.PCG64(0))
    dark = [skin for skin in (draw_complexion(random, ("full",)) for _ in range(200)) if skin.melanin > 0.7]
    assert len(dark) > 10
    for skin in dark:
        assert skin.sclera.mean() < 0.45
        assert skin.sclera[0] > 1.1 * skin.sclera[2]


def test_a_lamp_among_harmonics_lights_what_faces_it() -> None:
    lamp = Lamp(np.array([0.6, 0, 0.8], np.float32), np.array([1, 2, 3], np.float32), 0.01)
    light = Light(np.zeros((9, 3), np.float32), (lamp,)).total()
    assert light == pytest.approx(lamp_harmonics(lamp.direction, lamp.irradiance), abs=1e-6)
    lit = sh_shading(np.stack([lamp.direction, -lamp.direction])[None], light[None])[0]
    assert lit[0] == pytest.approx(lamp.irradiance * 1.0625, rel=1e-3)  # the expansion's overshoot
    assert lit[1] == pytest.approx(lamp.irradiance * 0.0625, rel=1e-2)


def test_what_cannot_be_drawn_is_told(people: PeopleGenerator, open_head: HeadModel) -> None:
    with pytest.raises(ValueError, match="count of people must be 1 or more, not 0"):
        people.photograph(0)
    with pytest.raises(ValueError, match="32 pixels per side or more, not 16"):
        people.photograph(1, 16)
    with pytest.raises(ValueError, match="numbered from 0, not -1"):
        people.photograph(1, 64, first=-1)
    with pytest.raises(ValueError, match="seed must be 0 or more, not -2"):
        PeopleGenerator(open_head, -2)


def test_the_command_writes_photos_truths_and_a_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(tmp_path / "new"), "--count", "3", "--seed", "3", "--side", "64"])
    truths = np.load(tmp_path / "new" / "truths.npz")
    assert truths["identity"].shape == (3, 160)
    assert truths["lamps"].shape == (3, 3, 2, 3)
    assert truths["glasses"].dtype == bool
    for name, size in (("000002.png", (64, 64)), ("sheet.png", (192, 64))):
        with Image.open(tmp_path / "new" / name) as picture:
            assert picture.size == size
    assert "wrote 3 photos" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--count", "0"])
    assert "--count must be 1 or more, not 0" in capsys.readouterr().err
