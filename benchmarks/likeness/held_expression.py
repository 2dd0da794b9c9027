"""How much of an expression a neutral head holds.

The head itself is asked. A fit to its render would also read what is painted on it: the tongue that a photo
shows lies in the texture, on closed lips, and a network takes it for an open mouth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from facewright.fit.fit_info import HeadFit
from facewright.head.head_model import HeadModel

#: What a shape moves by less than this does not count, metres.
_MOVED: Final = 1e-3


def held_expression(head: HeadModel, fit: HeadFit, names: Sequence[str]) -> float:
    """The weight of the shapes ``names``, all alike, that the neutral has beside the person's identity: what
    of them went into the corrective field, or is left in the neutral as a habit."""
    rows = [list(head.expression_names).index(name) for name in names]
    shape = head.expression_basis[rows].sum(axis=0).astype(np.float64)
    moved = (head.region("face") > 0.5) & (np.linalg.norm(shape, axis=1) > _MOVED)
    beside = fit.neutral_vertices.astype(np.float64) - head.neutral(fit.identity)
    return float(np.sum(beside[moved] * shape[moved]) / np.sum(shape[moved] ** 2))
