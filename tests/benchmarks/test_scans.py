"""Scans are read, moved and compared as what they are: here heads whose shape is known, as files."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.geometry.geometry_report import scans_section
from benchmarks.geometry.scan_measures import ScanMeasures
from benchmarks.geometry.scan_rows import summary
from benchmarks.geometry.scans import (
    LIGHTS,
    Scan,
    ScanError,
    photo_of,
    photograph,
    read_scan,
    scan_files,
)
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright_export.open_head.landmark_observations import rotation_matrix


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load(asset_path("head.npz"))


@pytest.fixture(scope="module")
def person(head: HeadModel) -> np.ndarray:
    return head.neutral(np.random.default_rng(6).standard_normal(160)).astype(np.float64)


@pytest.fixture
def scan(head: HeadModel, person: np.ndarray) -> Scan:
    """The person's skin, every other way around the head's own vertices."""
    skin = list(head.part_names).index("skin")
    triangles = head.triangles[head.triangle_part == skin].astype(np.int64)
    grey, uv = np.full((4, 4, 3), 165, np.uint8), np.zeros((len(person), 2), np.float32)
    landmarks = head.landmarks(person.astype(np.float32)).astype(np.float64)
    return Scan("known", person, triangles, grey, uv, landmarks)


def test_the_same_head_moved_and_scaled_is_no_distance_away(
    head: HeadModel, person: np.ndarray, scan: Scan
) -> None:
    moved = 0.9 * person @ rotation_matrix(0.3, 0.1, -0.2).astype(np.float64).T + [0.2, -0.1, 0.4]
    errors = ScanMeasures(head, scan).errors(moved)
    assert len(errors.points) > 1000
    assert errors.mean < 1e-5
    assert errors.area.sum() == pytest.approx(1)


def test_another_head_is_as_far_as_its_surface(head: HeadModel, person: np.ndarray, scan: Scan) -> None:
    measures = ScanMeasures(head, scan)
    nose = head.region("nose")[:, None] * np.array([0.0, 0.0, 0.004])
    longer, mean = measures.errors(person + nose), measures.errors(head.vertices_mean)
    assert 2e-4 < longer.mean < mean.mean < 4e-3
    assert longer.distance.max() < 0.0045
    picture = measures.error_map(longer, "longer nose")
    assert picture.shape[1] > 900
    assert picture.shape[0] < 400
    red = (picture[..., 0].astype(int) - picture[..., 2] > 120).sum()
    assert 20 < red < 5000, "the nose alone is far"


def test_what_lies_inside_is_not_compared(head: HeadModel, person: np.ndarray, scan: Scan) -> None:
    measures = ScanMeasures(head, scan)
    plain = measures.errors(head.vertices_mean)
    skull = replace(
        scan,
        vertices=np.concatenate([person, 0.5 * person - [0, 0, 0.04]]),
        triangles=np.concatenate([scan.triangles, scan.triangles + len(person)]),
        uv=np.tile(scan.uv, (2, 1)),
    )
    lined = ScanMeasures(head, skull).errors(head.vertices_mean)
    assert len(lined.points) == pytest.approx(len(plain.points), rel=0.02)
    assert lined.mean == pytest.approx(plain.mean, rel=0.02)


def test_an_obj_is_read_with_the_texture_beside_it(tmp_path: Path) -> None:
    (tmp_path / "one.obj").write_text(
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nvn 0 0 1\nf 1/1/1 2/2/1 3/3/1\n"
    )
    texture = np.zeros((4, 4, 3), np.uint8)
    texture[0] = 200  # the upper edge, at v = 1 of an OBJ
    Image.fromarray(texture).save(tmp_path / "one.texture.png")
    Image.fromarray(texture).save(tmp_path / "one.jpg")
    (path,) = scan_files(tmp_path)
    scan = read_scan(path)
    assert scan.triangles.shape == (1, 3)
    at = dict(zip(map(tuple, scan.vertices.tolist()), scan.uv.tolist(), strict=True))
    assert at[(0, 1, 0)] == [0, 0]
    assert at[(0, 0, 0)] == [0, 1]
    assert scan.texture[0, 0, 0] == 200
    assert photo_of(path) == tmp_path / "one.jpg"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("points.ply", "ply\nformat ascii 1.0\nelement vertex 0\nend_header\n", "points.ply"),
        ("words.obj", "this is no mesh\n", "words.obj"),
    ],
)
def test_what_is_no_scan_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ScanError, match=message):
        read_scan(tmp_path / name)


def test_a_photograph_turns_with_the_head_and_not_with_the_light(scan: Scan) -> None:
    pictures = {
        (yaw, light): np.asarray(Image.open(io.BytesIO(photograph(scan, yaw, LIGHTS[light])))).astype(int)
        for yaw, light in ((0.0, "side"), (0.0, "studio"), (45.0, "side"))
    }
    straight = pictures[0.0, "side"]
    assert straight.shape == (1024, 1024, 3)
    left, right = straight[512, 380:420].mean(), straight[512, 604:644].mean()
    assert left > 1.3 * right, "the lamp is at the left of the picture"
    assert np.abs(straight - pictures[45.0, "side"]).mean() > 3
    assert np.abs(straight - pictures[0.0, "studio"]).mean() > 1


def test_the_section_has_scans_that_were_refused() -> None:
    row = {"mean mm": 1.9, "median mm": 1.5, "mean by area mm": 2.5}
    scans = {
        "ann": {
            "photos": {"yaw 0, side": {**row, "yaw found": 1.2}, "yaw 45, side": {"refused": "NO_FACE"}},
            "the mean head": row,
        },
        "bob": {"refused": "no triangles", "photos": {}},
    }
    told = scans_section({"pipeline": "avatar_twin", "all": summary(scans), "scans": scans})
    assert "2 photos, refused: 1." in told
    assert "| **avatars** | 1.90 | 1.50 | 2.50 | – |" in told
    assert "| ann, yaw 45, side (NO_FACE) | – | – | – | – |" in told
    assert "| bob: no triangles | – | – | – | – |" in told
