"""Training of ``face_shape`` on people whose landmarks are exact: what can be known is learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright_export.face_shape import training
from facewright_export.face_shape.training import ObservedPeople, train_face_shape
from facewright_export.face_shape.weights import IDENTITY_REGRESSED, FaceShapeWeights
from tests.support.pose import rotation_from_angles

COUNT = 400


def test_what_exact_landmarks_tell_is_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "STEPS", 60)
    head = HeadModel.load(asset_path("head.npz"))
    random = np.random.default_rng(2)
    identity = random.standard_normal((COUNT, 160))
    identity[:, 12:] = 0.0
    expression = np.zeros((COUNT, 52))
    jaw = list(head.expression_names).index("jawOpen")
    expression[::2, jaw] = random.uniform(0.2, 1.0, COUNT // 2)
    landmarks, poses = np.zeros((COUNT, 478, 3), np.float32), np.zeros((COUNT, 3, 4))
    lens = np.array([[400.0, 0, 96], [0, 400.0, 96], [0, 0, 1]])
    for index in range(COUNT):
        turn = rotation_from_angles(*random.normal(0, [12, 6, 3]))
        points = head.landmarks(head.shape(identity[index], expression[index])) @ turn.T + [0, 0.02, 0.7]
        landmarks[index, :, :2] = (points @ lens.T)[:, :2] / points[:, 2:]
        landmarks[index, :, 2] = (points[:, 2] - 0.7) * 400 / 0.7
        poses[index] = np.concatenate([turn, [[0], [0.02], [0.7]]], axis=1)
    scores = np.zeros((COUNT, 52), np.float32)
    people = ObservedPeople(landmarks, scores, identity, expression, np.tile(lens, (COUNT, 1, 1)), poses)
    said: list[str] = []
    weights = train_face_shape(head, people, 1, said.append)
    assert any("variance explained" in line for line in said)

    assert weights.identity_sigma[:4].max() < 0.6  # the largest modes; 1 is what is known without a photo
    assert weights.identity_sigma.shape == (IDENTITY_REGRESSED,)
    assert weights.expression_gain[jaw] > 0
    assert weights.expression_gain[jaw + 1 :].max() == 0  # nobody showed them
    # exact landmarks have no bias but where silhouettes slide
    inner = [1, 4, 33, 133, 263, 362, 61, 291, 0, 17]
    assert np.abs(weights.landmark_bias[0, inner]).max() < 0.5

    weights.save(tmp_path / "weights.npz")
    again = FaceShapeWeights.load(tmp_path / "weights.npz")
    assert np.abs(again.identity_weights - weights.identity_weights).max() < 1e-3
    assert len(again.expression_layers) == len(weights.expression_layers)
    np.savez(tmp_path / "other.npz", format_version=9)
    with pytest.raises(ValueError, match="no face_shape weights"):
        FaceShapeWeights.load(tmp_path / "other.npz")
