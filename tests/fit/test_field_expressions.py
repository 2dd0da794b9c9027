"""What of the corrective field is no person's form."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from facewright.core.assets import asset_path
from facewright.fit.field_expressions import HIDING, UNTOLD, FieldExpressions, both_sides
from facewright.fit.fit_head import HeadFitter
from facewright.head.head_model import HeadModel

NOTHING = np.zeros(52)


@pytest.fixture(scope="module")
def fitter() -> HeadFitter:
    return HeadFitter(HeadModel.load(asset_path("head.npz")))


@pytest.fixture(scope="module")
def held(fitter: HeadFitter) -> FieldExpressions:
    return FieldExpressions(fitter.head, fitter.basis, fitter.optimiser.prior.free)


def as_field(fitter: HeadFitter, name: str, weight: float) -> NDArray[np.float64]:
    """Coefficients of the field that moves the landmarks as the shape does, both sides alike."""
    sides = both_sides([str(shape) for shape in fitter.head.expression_names])[name]
    landmarks = fitter.basis.landmarks.basis.astype(np.float64)
    expression = landmarks[:, :, fitter.optimiser.expression].reshape(-1, len(sides)) @ sides
    field = landmarks[:, :, fitter.optimiser.linear_size :].reshape(len(expression), -1)
    return np.asarray(np.linalg.lstsq(field, weight * expression, rcond=1e-4)[0])


def share(fitter: HeadFitter, taken: NDArray[np.floating], name: str) -> float:
    """The weight of a shape in a displacement [V, 3]."""
    sides = both_sides([str(shape) for shape in fitter.head.expression_names])[name]
    shape = np.tensordot(sides, fitter.head.expression_basis, 1)
    return float(np.sum(taken * shape) / np.sum(shape**2))


@pytest.mark.parametrize("name", UNTOLD)
@pytest.mark.parametrize("weight", [0.5, -0.5])
def test_what_nothing_tells_from_a_form_is_taken_out(
    fitter: HeadFitter, held: FieldExpressions, name: str, weight: float
) -> None:
    taken = held.not_of_the_person(NOTHING, as_field(fitter, name, weight), NOTHING)
    assert share(fitter, taken, name) == pytest.approx(weight, abs=0.1)


def test_what_went_to_an_expression_is_not_taken_twice(fitter: HeadFitter, held: FieldExpressions) -> None:
    more = 0.5 * both_sides([str(name) for name in fitter.head.expression_names])["mouthFrown"]
    taken = held.not_of_the_person(more, as_field(fitter, "mouthFrown", 0.5), more)
    assert abs(share(fitter, taken, "mouthFrown")) < 0.1


def test_how_open_lids_lie_is_not_read_from_closed_ones(fitter: HeadFitter, held: FieldExpressions) -> None:
    opened = as_field(fitter, HIDING, -0.3)
    closed = both_sides([str(name) for name in fitter.head.expression_names])[HIDING]
    for weight in (0.0, 0.5, 1.0):
        taken = held.not_of_the_person(weight * closed, opened, NOTHING)
        assert share(fitter, taken, HIDING) == pytest.approx(-0.3 * weight, abs=0.06)


def test_sides_are_summed_and_what_moves_aside_is_not() -> None:
    of_name = both_sides(["eyeBlinkLeft", "eyeBlinkRight", "mouthLeft", "mouthRight", "jawOpen"])
    assert {name: row.tolist() for name, row in of_name.items()} == {
        "eyeBlink": [1, 1, 0, 0, 0],
        "mouthLeft": [0, 0, 1, 0, 0],
        "mouthRight": [0, 0, 0, 1, 0],
        "jawOpen": [0, 0, 0, 0, 1],
    }
