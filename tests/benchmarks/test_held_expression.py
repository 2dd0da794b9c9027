"""What a neutral head holds of an expression is read from the head."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from benchmarks.likeness.held_expression import held_expression
from facewright.core.assets import asset_path
from facewright.fit.fit_info import HeadFit
from facewright.head.head_model import HeadModel


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_weight_beside_the_person(weight: float) -> None:
    head = HeadModel.load(asset_path("head.npz"))
    identity = np.random.default_rng(4).normal(0, 1, 160).astype(np.float32)
    jaw = head.expression_basis[list(head.expression_names).index("jawOpen")]
    found = SimpleNamespace(identity=identity, neutral_vertices=head.neutral(identity) + weight * jaw)
    assert held_expression(head, cast(HeadFit, found), ["jawOpen"]) == pytest.approx(weight, abs=1e-4)
