"""FLAME's and the Basel model's files, of stand-ins with a head's form, to heads of the open topology."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facewright.core.assets import asset_path
from facewright.fit.carried_head import HeadCarriers
from facewright.head.correspondence import file_sha256
from facewright.head.head_model import HeadModel
from facewright_export.head_correspondence.build_correspondence import build_correspondence
from facewright_export.head_correspondence.correspondence_command import source_of
from facewright_export.head_correspondence.correspondence_error import CorrespondenceError
from facewright_export.head_correspondence.landmarks import open_landmarks
from facewright_export.head_correspondence.source_head import SourceHead
from facewright_export.head_correspondence.surface import Surface
from facewright_export.networks.basel_face import BaselFaceModel
from facewright_export.networks.flame import FlameModel
from facewright_export.open_head.head_file import write_head_file
from facewright_export.stand_in_models import basel_stand_in, flame_stand_in
from tests.networks.synthetic_models import write_flame_pickle, write_mat, write_python2_pickle


def _flame_files(folder: Path, model: FlameModel, head: HeadModel) -> list[Path]:
    """The model, the landmark embedding, and a template whose UV are seen from the front."""
    places = open_landmarks(head).of(head.vertices_mean)
    triangles = model.triangles.astype(np.int64)
    points = Surface(model.template.astype(np.float64), triangles).closest(places, np.zeros_like(places), -1)[
        0
    ]
    row = {tuple(corners): number for number, corners in enumerate(triangles.tolist())}
    embedding = {
        "lmk_face_idx": np.array([row[tuple(corners)] for corners in points.corners.tolist()]),
        "lmk_b_coords": points.weights,
    }
    lines = [f"v {x} {y} {z}\nvt {0.5 + 3 * x} {0.5 + 3 * y}" for x, y, z in model.template.tolist()]
    lines += [f"f {a}/{a} {b}/{b} {c}/{c}" for a, b, c in (triangles + 1).tolist()]
    (folder / "head_template.obj").write_text("\n".join(lines))
    arrays = {
        "f": model.triangles.astype(np.uint32),
        "v_template": model.template.astype(np.float64),
        "shapedirs": model.shape_basis.astype(np.float64),
        "posedirs": model.pose_basis.astype(np.float64),
        "J_regressor": model.joint_regressor.astype(np.float64),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "weights": model.skin_weights.astype(np.float64),
    }
    return [
        write_python2_pickle(folder / "flame_static_embedding.pkl", embedding),
        write_flame_pickle(folder / "generic_model.pkl", arrays),
        folder / "head_template.obj",
    ]


def _basel_file(folder: Path, model: BaselFaceModel) -> Path:
    return write_mat(
        folder / "BFM_model_front.mat",
        {
            "meanshape": model.mean_shape.reshape(1, -1),
            "idBase": model.identity_basis.reshape(-1, 80),
            "exBase": model.expression_basis.reshape(-1, 64),
            "meantex": model.mean_texture.reshape(1, -1),
            "texBase": model.texture_basis.reshape(-1, 80),
            "tri": model.triangles + 1,
            "keypoints": model.landmarks[None] + 1,
        },
    )


def _carriers(head: HeadModel, source: SourceHead, folder: Path) -> HeadCarriers:
    """By a correspondence that nothing was registered for: stand-ins have the open head's form already."""
    built = build_correspondence(head, file_sha256(asset_path("head.npz")), source, ())
    write_head_file(built.correspondence.arrays(), folder / f"{source.name}_to_open.npz")
    return HeadCarriers(asset_path("head.npz"), folder)


def test_flames_heads_become_open_ones(open_head: HeadModel, tmp_path: Path) -> None:
    model = flame_stand_in()
    files = _flame_files(tmp_path, model, open_head)
    source = source_of(files)
    assert (source.name, source.metres_per_unit, source.expressions.shape) == ("flame", 1.0, (100, 5023, 3))
    assert source.uv is not None
    identity, smile = np.zeros(160), np.zeros(52)
    identity[:6], smile[list(open_head.expression_names).index("mouthSmileLeft")] = 1.0, 0.7
    neutral = model.template + model.shape_basis[:, :, :160] @ identity
    posed = neutral + model.shape_basis[:, :, 300:352] @ smile
    camera = np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.8]])
    found = _carriers(open_head, source, tmp_path).of(5023).carry(posed, neutral, camera)
    error = 1e3 * np.linalg.norm(found.fitted_vertices - open_head.shape(identity, smile), axis=1)
    assert np.percentile(error, 95) < 1.5
    np.testing.assert_allclose(found.expression, smile, atol=0.1)
    (tmp_path / "head_template.obj").write_text("v 0 0 0\nvt 0 0\nf 1/1 1/1 1/1\n")
    with pytest.raises(CorrespondenceError, match="has not the model's"):
        source_of(files)


def test_the_basel_models_masks_become_whole_heads(open_head: HeadModel, tmp_path: Path) -> None:
    model = basel_stand_in()
    source = source_of([_basel_file(tmp_path, model)])
    assert (source.name, source.metres_per_unit, source.expressions.shape) == ("basel", 0.1, (64, 35709, 3))
    identity = np.zeros(80)
    identity[:6] = 1.0
    neutral = model.mean_shape + model.identity_basis @ identity
    camera = np.array([[0.1, 0, 0, 0], [0, -0.1, 0, 0], [0, 0, -0.1, 0.8]])
    found = _carriers(open_head, source, tmp_path).of(35709).carry(neutral, neutral, camera)
    true = open_head.neutral(np.append(identity, np.zeros(80)))
    error = 1e3 * np.linalg.norm(found.neutral_vertices - true, axis=1)
    assert np.median(error[open_head.region("face") > 0.5]) < 1.0
    assert error.max() < 10
