"""Training of ``face_shape``: what exact landmarks tell is learnt, what may be an expression is no form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright_export.face_shape import training
from facewright_export.face_shape.training import (
    STRONGLY,
    ObservedPeople,
    _calibrated,
    _identity,
    _told,
    _untold,
    train_face_shape,
)
from facewright_export.face_shape.weights import IDENTITY_REGRESSED, FaceShapeWeights
from facewright_export.open_head.expressions import EXPRESSION_NAMES
from tests.support.pose import rotation_from_angles

COUNT = 400
NAMES = list(EXPRESSION_NAMES)
FROWN = [NAMES.index("mouthFrownLeft"), NAMES.index("mouthFrownRight")]


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


def test_what_may_be_a_frown_is_not_read_as_a_form() -> None:
    """One identity and a rare frown move the same landmark; a second landmark sees the identity alone."""
    random = np.random.default_rng(3)
    count = 4000
    identity = random.normal(0, 1, (count, 160))
    expression = np.zeros((count, 52))
    expression[: count // 50, FROWN] = 0.7
    centred = random.normal(0, 0.01, (count, 1404))
    centred[:, :2] += random.normal(0, 0.5, (count, 2))
    centred[:, 0] += identity[:, 0] + 2 * expression[:, FROWN[0]]
    centred[:, 1] += identity[:, 0]
    people = ObservedPeople(
        np.zeros((count, 478, 3), np.float32),
        np.zeros((count, 52), np.float32),
        identity,
        expression,
        *(np.zeros((count, 3, size)) for size in (3, 4)),
    )
    untold = _untold(np.zeros(52), NAMES)
    noise, known = 0.1 * np.eye(1404), np.ones(count, bool)
    read = [_identity(people, centred, noise, more, known)[0][:2, 0] for more in (0 * untold, untold)]
    assert read[0][0] == pytest.approx(read[0][1], abs=0.1)  # a rare frown is neglected
    assert read[1][0] < 0.5 * read[0][0]
    assert read[1][1] > read[0][1]


def test_lids_that_are_found_to_close_are_closed() -> None:
    """A network that gives .3 for most closed lids, and .05 for open ones."""
    random = np.random.default_rng(5)
    truth, output = np.zeros((2000, 52)), random.normal(0, 0.02, (2000, 52))
    shown = slice(0, 400)
    for name in ("eyeBlinkLeft", "mouthFunnel"):
        row = NAMES.index(name)
        truth[shown, row] = random.uniform(STRONGLY, 1, 400)
        output[shown, row] = 0.3 * truth[shown, row] + random.normal(0, 0.03, 400)
    gain, dead, sigma = _calibrated(output, truth, _told(output, truth), NAMES)
    found = np.clip(gain * output - dead, 0, 1)
    blink, funnel = NAMES.index("eyeBlinkLeft"), NAMES.index("mouthFunnel")
    assert np.median(found[shown, blink]) == pytest.approx(1.0, abs=0.02)
    assert np.median(found[shown, funnel]) < 0.6
    assert (found[400:, blink] > 0.2).mean() < 0.01
    assert sigma[blink] < sigma[funnel]
