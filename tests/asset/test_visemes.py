"""The viseme table: Oculus' names, weights that make sense, and the lips doing what a phoneme needs."""

from __future__ import annotations

import numpy as np
import pytest

from facewright.asset.visemes import VISEMES, viseme_matrix
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from tests.support.synthetic_head import arkit_names


@pytest.fixture(scope="module")
def lips_apart() -> dict[str, float]:
    """How far each viseme opens the mouth of the open head: change of the gap between the lips, metres."""
    head = HeadModel.load(asset_path("head.npz"))
    names = [str(name) for name in head.expression_names]
    lips = head.region("lips") > 0.5
    middle = lips & (np.abs(head.vertices_mean[:, 0]) < 0.004)
    jaw = head.expression_basis[names.index("jawOpen")][:, 1]
    # of the two lips' middles, the lower one goes down with the jaw
    lower, upper = middle & (jaw < -0.012), middle & (jaw > -0.003)
    assert lower.any()
    assert upper.any()
    moved = np.tensordot(viseme_matrix(names), head.expression_basis, axes=1)[..., 1]
    gap = moved[:, upper].min(axis=1) - moved[:, lower].max(axis=1)
    return dict(zip(VISEMES, gap.tolist(), strict=True))


def test_names_and_order_are_those_of_the_lip_sync_component() -> None:
    expected = "sil PP FF TH DD kk CH SS nn RR aa E I O U"
    assert list(VISEMES) == [f"viseme_{name}" for name in expected.split()]


def test_weights_are_symmetric_and_in_range() -> None:
    for name, weights in VISEMES.items():
        assert all(0 < weight <= 1 for weight in weights.values()), name
        for shape, weight in weights.items():
            if shape.endswith("Left"):
                assert weights[shape.removesuffix("Left") + "Right"] == weight, name
        assert weights.get("mouthClose", 0) <= weights.get("jawOpen", 0), name


def test_matrix_has_the_weights_at_the_named_columns() -> None:
    names = arkit_names()
    matrix = viseme_matrix(names)
    assert matrix.shape == (15, 52)
    assert matrix.dtype == np.float32
    assert not matrix[0].any()  # silence
    for row, weights in zip(matrix, VISEMES.values(), strict=True):
        assert {names[i]: pytest.approx(row[i]) for i in np.flatnonzero(row)} == weights


def test_a_head_without_a_needed_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="viseme_TH needs the expression 'tongueOut'"):
        viseme_matrix([name for name in arkit_names() if name != "tongueOut"])


def test_lips_close_for_p_and_open_widest_for_a(lips_apart: dict[str, float]) -> None:
    assert lips_apart["viseme_sil"] == 0
    assert lips_apart["viseme_PP"] < 0.001
    assert max(lips_apart, key=lambda name: lips_apart[name]) == "viseme_aa"
    assert lips_apart["viseme_aa"] > 0.01
    for vowel in ("viseme_E", "viseme_O"):
        assert lips_apart[vowel] > lips_apart["viseme_SS"]
