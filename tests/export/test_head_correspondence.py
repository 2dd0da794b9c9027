"""A correspondence finds the truth where it is known, and refuses what is no head."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facewright.core.assets import asset_path
from facewright.fit.carried_head import HeadCarrier
from facewright.head.correspondence import HeadCorrespondence, file_sha256
from facewright.head.head_model import HeadModel
from facewright_export.commands import add_export
from facewright_export.head_correspondence import correspondence_command as command
from facewright_export.head_correspondence.build_correspondence import (
    BuiltCorrespondence,
    build_correspondence,
)
from facewright_export.head_correspondence.correspondence_command import source_of
from facewright_export.head_correspondence.correspondence_error import CorrespondenceError
from facewright_export.head_correspondence.landmarks import EYES
from facewright_export.head_correspondence.matched_curves import source_face
from facewright_export.head_correspondence.open_skin import open_face
from facewright_export.head_correspondence.registration import STAGES
from facewright_export.head_correspondence.residual_picture import residual_picture
from facewright_export.head_correspondence.seen_curves import lid_lines, lip_sides
from facewright_export.head_correspondence.surface import vertex_points
from facewright_export.open_head.head_file import write_head_file
from tests.support.remeshed_source import RemeshedSource, remeshed_source, seen_uv, source_to_camera

#: A third of the rounds: enough for what a test asks.
_FEW = tuple(replace(stage, rounds=(stage.rounds + 2) // 3) for stage in STAGES)
_CAMERA = np.array([[1, 0, 0, 0.01], [0, -1, 0, 0.02], [0, 0, -1, 0.8]])


@pytest.fixture(scope="module")
def double(open_head: HeadModel) -> RemeshedSource:
    return remeshed_source(open_head)


@pytest.fixture(scope="module")
def built(open_head: HeadModel, double: RemeshedSource) -> BuiltCorrespondence:
    return build_correspondence(open_head, file_sha256(asset_path("head.npz")), double.head, _FEW)


def _millimetres(built: BuiltCorrespondence, head: HeadModel, region: str) -> np.ndarray:
    rows = head.region(region)[built.skin.vertices] > 0.5
    error = np.linalg.norm(built.vertices - head.vertices_mean[built.skin.vertices], axis=1)[rows]
    return np.asarray(1e3 * error)


def test_each_vertex_lies_where_it_belongs(built: BuiltCorrespondence, open_head: HeadModel) -> None:
    """Along the surface, too, of which a residual tells nothing."""
    for region, median, p95 in (
        ("face", 0.5, 1.5),
        ("nose", 0.5, 1.0),
        ("eyelids", 0.4, 0.8),
        ("lips", 1.0, 2.0),
    ):
        found = np.percentile(_millimetres(built, open_head, region), [50, 95])
        assert (found < [median, p95]).all(), (region, found)
    residual = built.correspondence.metadata["residual_mm"]
    assert residual["median"] < 0.05
    assert residual["p95"] < 0.3


def test_lids_and_lips_are_not_crossed(
    built: BuiltCorrespondence, double: RemeshedSource, open_head: HeadModel
) -> None:
    mean = open_head.vertices_mean.astype(np.float64)
    own = lip_sides(open_face(open_head, mean))
    other = lip_sides(source_face(double.head, double.remeshed.of(mean)))[built.correspondence.corners]
    known = built.correspondence.confidence > 0
    assert np.count_nonzero(own[known] == 1) > 50
    assert not ((own == 1) & (other == -1).all(axis=1) & known).any()
    assert not ((own == -1) & (other == 1).all(axis=1) & known).any()
    # an open jaw and a blink are carried as such
    for name, most in (("jawOpen", 3.0), ("eyeBlinkLeft", 1.0)):
        shape = open_head.expression_basis[list(open_head.expression_names).index(name)]
        rest, moved = (built.correspondence.carried(double.of(v)) for v in (mean, mean + shape))
        error = np.linalg.norm((moved - rest) - shape, axis=1)[built.correspondence.confidence == 1]
        assert 1e3 * np.percentile(error, 99) < most, name
    carrier = HeadCarrier(open_head, built.correspondence)
    blink = mean + open_head.expression_basis[list(open_head.expression_names).index("eyeBlinkLeft")]
    shut = carrier.carry(double.of(blink), double.of(mean), source_to_camera(_CAMERA)).fitted_vertices
    face = open_face(open_head, shut.astype(np.float64))
    assert len(lid_lines(face, face.eyes[0])[0].corners) < 0.1 * len(lid_lines(face, face.eyes[1])[0].corners)


def test_a_person_is_recovered(
    built: BuiltCorrespondence, double: RemeshedSource, open_head: HeadModel
) -> None:
    random = np.random.default_rng(7)
    identity = random.normal(0, 1, 160)
    expression = np.zeros(52)
    expression[random.choice(52, 5, replace=False)] = random.uniform(0.3, 0.9, 5)
    neutral, posed = open_head.neutral(identity), open_head.shape(identity, expression)
    nod = np.array([[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]])
    carrier = HeadCarrier(open_head, built.correspondence)
    found = carrier.carry(double.of(posed @ nod.T), double.of(neutral), source_to_camera(_CAMERA))
    face = open_head.region("face") > 0.5
    for carried, true in ((found.neutral_vertices, neutral), (found.fitted_vertices, posed)):
        error = 1e3 * np.linalg.norm(carried - true, axis=1)
        assert np.median(error[face]) < 0.7
        assert np.percentile(error[face], 95) < 2.0
        assert error.max() < 8
    assert np.corrcoef(found.identity, identity)[0, 1] > 0.85
    np.testing.assert_allclose(found.expression, expression, atol=0.15)
    np.testing.assert_allclose(found.head_to_camera[:, :3], _CAMERA[:, :3] @ nod, atol=0.01)


def test_texture_coordinates_and_expressions_are_those_of_the_source(
    built: BuiltCorrespondence, open_head: HeadModel
) -> None:
    correspondence = built.correspondence
    known = (correspondence.confidence == 1)[open_head.uv_vertex]
    true = seen_uv(open_head.vertices_mean[open_head.uv_vertex].astype(np.float64))
    apart = np.linalg.norm(correspondence.source_uv - true, axis=1)[known] / 3
    assert np.percentile(1e3 * apart, 95) < 1.5
    assert correspondence.source_from_arkit.shape == (52, 52)
    jaw = list(open_head.expression_names).index("jawOpen")
    for matrix in (correspondence.source_from_arkit, correspondence.arkit_from_source):
        assert matrix[jaw, jaw] == pytest.approx(1, abs=0.1)


def test_what_is_written_is_read_and_a_picture_is_drawn(built: BuiltCorrespondence, tmp_path: Path) -> None:
    path = tmp_path / "double_to_open.npz"
    write_head_file(built.correspondence.arrays(), path)
    read = HeadCorrespondence.load(path, asset_path("head.npz"))
    for name, array in built.correspondence.arrays().items():
        np.testing.assert_array_equal(array, read.arrays()[name])
    assert read.metadata["source_files"] == ["double.obj 0000"]
    assert residual_picture(built).startswith(b"\x89PNG")


def test_the_gate_says_where_a_source_is_no_such_head(double: RemeshedSource, open_head: HeadModel) -> None:
    """Without registering: the posed open head itself is held to a face with another chin."""
    chin = double.remeshed.points.of(open_head.region("chin")[:, None].astype(np.float64))
    longer = replace(double.head, vertices=double.head.vertices + 0.15 * chin)
    with pytest.raises(CorrespondenceError, match=r"from the face of double.* farthest at the chin"):
        build_correspondence(open_head, "", longer, ())


def test_what_is_no_head_is_refused(double: RemeshedSource, open_head: HeadModel) -> None:
    source = double.head
    with pytest.raises(CorrespondenceError, match=r"at 0\.0254\d* metres per unit, not 0\.1"):
        build_correspondence(open_head, "", replace(source, metres_per_unit=0.1), ())
    for unit in (0.0, -1.0, float("nan")):
        with pytest.raises(CorrespondenceError, match="are no length"):
            build_correspondence(open_head, "", replace(source, metres_per_unit=unit), ())
    inside_out = replace(source, triangles=source.triangles[:, ::-1])
    with pytest.raises(CorrespondenceError, match=r"has a surface for \d+% of the face only.*winding"):
        build_correspondence(open_head, "", inside_out, ())
    corners = source.landmarks.corners.copy()
    corners[EYES[0]], corners[EYES[1]] = corners[EYES[1]].copy(), corners[EYES[0]].copy()
    mixed = replace(source, landmarks=replace(source.landmarks, corners=corners))
    with pytest.raises(CorrespondenceError, match="landmarks"):
        build_correspondence(open_head, "", mixed, ())


def test_the_command_writes_into_the_repository_or_says_why_not(
    built: BuiltCorrespondence,
    double: RemeshedSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its own arguments and files; what is built, as `built`."""
    monkeypatch.setattr(command, "build_correspondence", lambda *_: built)
    mesh, landmarks = tmp_path / "double.obj", tmp_path / "landmarks.json"
    lines = [f"v {x} {y} {z}" for x, y, z in double.head.vertices.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (double.head.triangles + 1).tolist()]
    mesh.write_text("\n".join(lines))
    landmarks.write_text(json.dumps(double.head.landmarks.nearest.tolist()))
    parser = argparse.ArgumentParser()
    add_export(parser.add_subparsers())

    def run(*arguments: str) -> int:
        files = ("--weights", str(landmarks), str(mesh))
        parsed = parser.parse_args(["export", "correspondence", *files, *arguments])
        return int(parsed.run(parsed))

    repository = tmp_path / "repository"
    assert run("--output", str(repository), "--check") == 0
    assert not repository.exists()
    assert run("--output", str(repository)) == 0
    assert {path.name for path in repository.iterdir()} == {"double_to_open.npz", "double_to_open.png"}
    assert "mm (median)" in capsys.readouterr().out
    assert run("--output", str(repository), "--precision", "fp16") == 2
    with pytest.raises(CorrespondenceError, match="cannot be written"):
        run("--output", str(mesh / "repository"))


def test_files_that_are_no_head_are_named(tmp_path: Path) -> None:
    mesh, landmarks = tmp_path / "mesh.obj", tmp_path / "landmarks.json"
    mesh.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n")
    landmarks.write_text(json.dumps([0] * 67 + [3]))
    with pytest.raises(CorrespondenceError, match=r"names a vertex 3; .*mesh\.obj has 3"):
        source_of([mesh, landmarks])
    landmarks.write_text(json.dumps([0, 1, 2] * 17))
    source = source_of([landmarks, mesh], 0.01)
    assert (source.name, source.metres_per_unit, len(source.files)) == ("mesh", 0.01, 2)
    np.testing.assert_array_equal(source.landmarks.corners, vertex_points(np.array([0, 1, 2] * 17)).corners)
    assert source.uv is not None
    np.testing.assert_array_equal(source.uv.uv, [[0, 1], [1, 1], [0, 0]])
    for broken, words in (
        ("v 0 zero 0\nf 1 1 1\n", "cannot be read"),
        ("v 0 0 nan\nf 1 1 1\n", "finite"),
        ("f 1 2 9\n", "cannot be read"),
    ):
        mesh.write_text(broken)
        with pytest.raises(CorrespondenceError, match=words):
            source_of([mesh, landmarks])
    with pytest.raises(CorrespondenceError, match=r"mesh\.obj are no head") as failure:
        source_of([mesh])
    assert "BFM_model_front.mat" in failure.value.hint
    (tmp_path / "BFM_model_front.mat").write_bytes(b"MATLAB")
    with pytest.raises(CorrespondenceError, match="the unit of this model is known"):
        source_of([tmp_path / "BFM_model_front.mat"], 0.1)
    with pytest.raises(CorrespondenceError, match="there is no file"):
        source_of([tmp_path / "none.mat"])
