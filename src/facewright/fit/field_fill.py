"""Continue a field that is known on some vertices of a surface into the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu


class FieldFill:
    """The field with the least energy that has the known values; factorised once.

    Args:
        energy: sparse [V, V], a quadratic form of the field, such as
            `facewright.fit.corrective_field.bilaplacian_energy`.
        known: int64 [N], vertices that keep what they have.
        unknown: int64 [M], vertices that are set; all others have no part.
        pull: float64 [M], how strongly an unknown vertex keeps to the value that it has; 0: not at all.
    """

    def __init__(
        self,
        energy: sparse.csr_array,
        known: NDArray[np.integer],
        unknown: NDArray[np.integer],
        pull: NDArray[np.floating] | None = None,
    ) -> None:
        self._known, self._unknown = known, unknown
        self._pull = np.zeros(len(unknown)) if pull is None else np.asarray(pull, np.float64)
        self._from_known = energy[unknown][:, known]
        own = energy[unknown][:, unknown] + sparse.diags_array(self._pull)
        self._solve = splu(sparse.csc_matrix(own)).solve if len(unknown) else None

    def __call__(self, field: NDArray[np.floating]) -> NDArray[np.float64]:
        """``field`` [V, C] as float64 with the unknown vertices set."""
        filled = np.array(field, np.float64)
        if self._solve is not None:
            wanted = self._pull[:, None] * filled[self._unknown] - self._from_known @ filled[self._known]
            filled[self._unknown] = self._solve(wanted)
        return filled
