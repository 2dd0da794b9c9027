"""What the corrective field holds of expressions: no person's form, so no part of the neutral head.

A smooth field of some millimetres is cheaper than any expression, so what the landmarks show beyond the
expression that was found goes into it. Of a shape that is shown it holds more of the same, which goes to the
shape. Of the shapes that nothing tells from a form before the fit (`UNTOLD`) it holds all that is seen: that
stays in the fitted head, where the photo has it, and not in the neutral one.

Why no more than these two: a face is also known by what the field holds along the other shapes. On 8 people
photographed as in benchmarks/geometry (captured of their own form; left of lowered brows and of a frown) and
36 photos of benchmarks/likeness (share of the gap at yaw 0), when the neutral still had the whole field and
not `OwnShare` of it:

=================================  ========  ===========  =======
taken from the neutral's field     captured  left         share
=================================  ========  ===========  =======
nothing                            .38       .32 / .29    22.5 %
`UNTOLD`                           .37       .19 / .27    22.9 %
all but jaws and parted lips       .41       .16 / .21    26.3 %
=================================  ========  ===========  =======
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facewright.fit.gauss_newton import box_quadratic
from facewright.fit.landmark_basis import LandmarkBasis
from facewright.head.head_model import HeadModel

#: An expression that is shown this much may be shown more, by so much (1 sigma), and the corrective field
#: hold the rest; what it holds beside is of this size.
LEAST_SHOWN: Final = 0.1
EXPLAINED_SIGMA: Final = 0.3
FIELD_ERROR: Final = 0.001  # metres
#: Shapes that people show strongly and `face_shape` tells nothing of.
UNTOLD: Final = ("browDown", "mouthFrown")
#: What hides the form that it moves, by as much as it is shown: closed lids do not tell how open ones lie,
#: and the field opens them too far where the landmarks see a closed eye half open.
HIDING: Final = "eyeBlink"


class FieldExpressions:
    """Splits a corrective field into expressions and what else it holds.

    Args:
        head: the head model.
        basis: its landmarks.
        free: bool [E], the shapes that the fit may use.
    """

    def __init__(self, head: HeadModel, basis: LandmarkBasis, free: NDArray[np.bool_]) -> None:
        shapes = slice(basis.identity_size, basis.identity_size + basis.expression_size)
        landmarks = basis.landmarks.basis.astype(np.float64)
        self._free = free
        self._moved = landmarks[:, :, shapes].reshape(-1, basis.expression_size)  # [3 N, E]
        self._field = landmarks[:, :, shapes.stop :].reshape(len(self._moved), -1)  # [3 N, F]
        of_name = both_sides([str(name) for name in head.expression_names])
        sides = np.stack([of_name[name] for name in (*UNTOLD, HIDING)])
        self._hiding = sides[-1] / sides[-1].sum()
        self._taken = np.tensordot(sides, head.expression_basis, 1).astype(np.float32)  # [U + 1, V, 3]
        moved = self._moved @ sides.T
        self._along = np.linalg.solve(moved.T @ moved + _ridge(len(sides)), moved.T)  # [U + 1, 3 N]

    def shown(
        self, expression: NDArray[np.floating], correction: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """What more of the shapes [E] that are shown the field holds.

        Args:
            expression: [E], as it was found.
            correction: [F], coefficients of the field.
        """
        more = np.zeros(len(expression), np.float32)
        shown = np.flatnonzero((expression > LEAST_SHOWN) & self._free)
        if len(shown):
            moved = self._moved[:, shown]
            gram = moved.T @ moved + _ridge(len(shown))
            room = 1.0 - expression[shown].astype(np.float64)
            more[shown] = box_quadratic(
                gram, moved.T @ (self._field @ correction), np.zeros(len(shown)), room
            )
        return more

    def not_of_the_person(
        self,
        expression: NDArray[np.floating],
        correction: NDArray[np.floating],
        more: NDArray[np.floating],
    ) -> NDArray[np.float32]:
        """What the field without `shown` holds along `UNTOLD` and `HIDING`.

        Args:
            expression: [E], with ``more``.
            correction: [F], coefficients of the field.
            more: [E], what was `shown`.

        Returns:
            Displacement [V, 3], metres.
        """
        weights = self._along @ (self._field @ correction - self._moved @ more)
        weights[-1] *= self._hiding @ expression
        return np.tensordot(weights.astype(np.float32), self._taken, 1)


def both_sides(names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """For each shape, or left and right together by their common name, which of the shapes [E] it is."""
    rows: dict[str, NDArray[np.float64]] = {}
    for index, name in enumerate(names):
        stem = name.removesuffix("Left").removesuffix("Right")
        if stem in ("jaw", "mouth"):  # to the left and to the right: the whole of it moves
            stem = name
        rows.setdefault(stem, np.zeros(len(names)))[index] = 1.0
    return rows


def _ridge(count: int) -> NDArray[np.float64]:
    return np.asarray((FIELD_ERROR / EXPLAINED_SIGMA) ** 2 * np.eye(count))
