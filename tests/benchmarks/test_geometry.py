"""The geometry benchmark's measures on shapes that differ by what is known, and its photos."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.geometry.geometry_report import geometry_section
from benchmarks.geometry.known_heads import EXPRESSIONS, HeadPhotographer, Sitting
from benchmarks.geometry.measures import FaceMeasures
from benchmarks.geometry.sittings import LIGHTS
from facewright.core.assets import asset_path
from facewright.fit.camera import pose_angles
from facewright.head.head_model import HeadModel
from facewright_export.open_head.landmark_observations import rotation_matrix


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load(asset_path("head.npz"))


@pytest.fixture(scope="module")
def measures(head: HeadModel) -> FaceMeasures:
    return FaceMeasures(head)


@pytest.fixture(scope="module")
def people(head: HeadModel) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [head.neutral(random.standard_normal(160)).astype(np.float64) for _ in range(5)]


def test_a_head_that_was_moved_and_scaled_is_the_same(
    measures: FaceMeasures, people: list[np.ndarray]
) -> None:
    turn = rotation_matrix(0.4, -0.2, 0.1).astype(np.float64)
    moved = 1.1 * people[0] @ turn.T + [0.1, 0.2, 0.3]
    assert measures.to_surface(moved, people[0]).max() < 1e-7
    assert measures.rms(moved, people[0], scaled=True) < 1e-7
    assert measures.rms(moved, people[0]) > 1e-3, "its size is another"
    assert measures.to_surface(moved, people[0], scaled=False).mean() > 1e-3


def test_a_raised_face_is_as_far_as_it_was_raised(measures: FaceMeasures, people: list[np.ndarray]) -> None:
    bump = people[0].copy()
    bump[measures.near[::2], 2] += 0.002
    assert 0.0005 < measures.rms(bump, people[0]) < 0.002


def test_the_share_of_what_sets_people_apart(measures: FaceMeasures, people: list[np.ndarray]) -> None:
    mean = np.mean(people, axis=0)
    assert measures.captured(people, people)["all"] == pytest.approx(1)
    assert abs(measures.captured([mean] * 5, people)["all"]) < 1e-9
    half = [mean + 0.5 * (person - mean) for person in people]
    assert measures.captured(half, people)["all"] == pytest.approx(0.75, abs=0.03)  # 1 - (1 - .5)²
    flat = [person * [1, 1, 0] + mean * [0, 0, 1] for person in people]
    captured = measures.captured(flat, people)
    assert captured["z"] < 0.2 < 0.9 < captured["y"]


def test_an_expression_that_stays(head: HeadModel, measures: FaceMeasures, people: list[np.ndarray]) -> None:
    smile = head.expression_basis[list(head.expression_names).index("mouthSmileLeft")].astype(np.float64)
    for share in (0.0, 0.4, 1.0):
        left = measures.left_behind(people[0], people[0] + share * smile, smile)
        assert left == pytest.approx(share, abs=0.01)


def test_lips_are_compared_where_the_face_puts_them(
    head: HeadModel, measures: FaceMeasures, people: list[np.ndarray]
) -> None:
    lips, moved = head.region("lips") > 0.5, people[0].copy()
    moved[lips] += [0.0, 0.002, 0.0]
    assert measures.lips_rms(people[0] + [0.1, 0.0, 0.0], people[0]) < 1e-9
    assert 0.0015 < measures.lips_rms(moved, people[0]) < 0.002  # the face follows its lips a little
    assert measures.rms(moved, people[0]) < 0.001


def test_photos_are_of_the_pose_and_expression_that_are_told(head: HeadModel) -> None:
    photographer = HeadPhotographer(head, seed=1)
    person = photographer.draw()
    calm = np.asarray(Image.open(io.BytesIO(photographer.photo(person)))).astype(int)
    turned = np.asarray(Image.open(io.BytesIO(photographer.photo(person, yaw=30.0)))).astype(int)
    assert calm.shape == (768, 768, 3)
    assert np.abs(calm - turned).mean() > 2
    assert np.abs(calm - np.asarray(Image.open(io.BytesIO(photographer.photo(person))))).max() == 0
    again = photographer.photo(person, sitting=Sitting(light=1))
    assert np.abs(calm - np.asarray(Image.open(io.BytesIO(again)))).mean() > 1, "the light is another"
    far = photographer.photo(person, sitting=Sitting(distance=2.0, hair=photographer.draw().person.hair))
    assert np.abs(calm - np.asarray(Image.open(io.BytesIO(far)))).mean() > 1
    weights = photographer.weights(EXPRESSIONS["blink 1"])
    assert sorted(np.flatnonzero(weights)) == sorted(
        list(head.expression_names).index(name) for name in EXPRESSIONS["blink 1"]
    )
    rotation = np.diag([1.0, -1.0, -1.0]) @ rotation_matrix(np.radians(30), 0.0, 0.0)
    assert pose_angles(rotation)[0] == pytest.approx(30, abs=1e-4)


def test_the_section_has_every_row() -> None:
    captured = dict.fromkeys(("all", "x", "y", "z"), 0.5)
    row = {"median mm": 1.0, "mean mm": 1.2, "mean at unit scale mm": 1.4, "rms at unit scale mm": 2.0}
    section = geometry_section(
        {
            "heads": 2,
            "seed": 3,
            "refused": 1,
            "rows": {"avatars": {**row, "captured": captured}},
            "strangers, rms mm": 2.5,
            LIGHTS: 0.5,
            "expressions": {
                "smile .8": {"people": 2, "found": 0.3, "left in the neutral": 0.5},
                "blink 1": {
                    "found": 0.7,
                    "left in the neutral": 0.0,
                    "against calm, rms mm": 1.5,
                    "lips against calm, rms mm": 2.25,
                },
            },
        }
    )
    assert "| avatars | 1.00 | 1.20 | 1.40 | 2.00 | 0.50 / 0.50 / 0.50 / 0.50 |" in section
    assert "| strangers, rms mm | 2.50 |" in section
    assert f"| {LIGHTS} | 0.50 |" in section
    assert "| smile .8 | 0.30 | 0.50 | – | – |" in section
    assert "| blink 1 | 0.70 | 0.00 | 1.50 | 2.25 |" in section
    assert "usable photos: 1." in section
