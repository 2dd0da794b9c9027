"""The heads of FLAME and of the Basel face model, read from their owners' files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facewright_export.checkpoints.bfm import read_bfm
from facewright_export.checkpoints.flame import read_flame, read_flame_landmarks
from facewright_export.head_correspondence.correspondence_error import CorrespondenceError
from facewright_export.head_correspondence.landmarks import COUNT, OUTLINE
from facewright_export.head_correspondence.obj_file import read_obj
from facewright_export.head_correspondence.source_head import IntArray, SourceHead, UvLayout, fingerprint
from facewright_export.head_correspondence.surface import SurfacePoints, vertex_points
from facewright_export.networks.flame import IDENTITIES


def flame_head(model: Path, embedding: Path, layout: Path | None = None) -> SourceHead:
    """FLAME: ``generic_model.pkl``, ``flame_static_embedding.pkl`` and, for its UV, ``head_template.obj``.

    Raises:
        CheckpointError: a file is not what it should be.
        CorrespondenceError: the UV are another mesh's.
    """
    flame = read_flame(model)
    landmarks = read_flame_landmarks(embedding, flame)
    if len(landmarks.triangles) != COUNT:
        raise CorrespondenceError(
            f"{embedding} has {len(landmarks.triangles)} landmarks, not {COUNT}",
            "give FLAME's static embedding",
        )
    triangles = flame.triangles.astype(np.int64)
    points = SurfacePoints(triangles[landmarks.triangles], np.asarray(landmarks.barycentrics, np.float64))
    shapes = np.asarray(flame.shape_basis[:, :, IDENTITIES:], np.float64).transpose(2, 0, 1)
    files = tuple(fingerprint(path) for path in (model, embedding, layout) if path is not None)
    uv = None
    if layout is not None:
        uv = _layout_of(layout, triangles)
    template = np.asarray(flame.template, np.float64)
    return SourceHead("flame", template, triangles, points, files, 1.0, shapes, uv)


def basel_head(path: Path) -> SourceHead:
    """The Basel face model: ``BFM_model_front.mat``. Raises CheckpointError."""
    model = read_bfm(path)
    return SourceHead(
        "basel",
        np.asarray(model.mean_shape, np.float64),
        model.triangles.astype(np.int64),
        vertex_points(model.landmarks[OUTLINE:].astype(np.int64)),
        (fingerprint(path),),
        0.1,
        np.asarray(model.expression_basis, np.float64).transpose(2, 0, 1),
    )


def _layout_of(path: Path, triangles: IntArray) -> UvLayout:
    mesh = read_obj(path)
    if mesh.uv is None or mesh.uv_triangles is None:
        raise CorrespondenceError(
            f"{path} has no texture coordinates", "leave it out, or give head_template.obj"
        )
    if not np.array_equal(mesh.triangles, triangles):
        raise CorrespondenceError(
            f"{path} has not the model's {len(triangles)} triangles", "give the template of the same model"
        )
    return UvLayout(mesh.uv, mesh.uv_triangles)
