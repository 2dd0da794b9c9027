"""A source's expression coefficients from ARKit's weights and back, by least squares over the known skin."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from facewright.head.correspondence import HeadCorrespondence
from facewright.head.head_model import HeadModel
from facewright_export.head_correspondence.source_head import SourceHead

#: Weight of the coefficients' own squares beside the mean square of the shapes' displacements.
_RIDGE: Final = 1e-3


def expression_matrices(
    correspondence: HeadCorrespondence, head: HeadModel, source: SourceHead
) -> HeadCorrespondence:
    """The correspondence with ``arkit_from_source`` [52, K] and ``source_from_arkit`` [K, 52]."""
    known = correspondence.confidence == 1
    rest = correspondence.carried(source.vertices)[known]
    shapes = np.array(
        [
            correspondence.carried(source.vertices + shape)[known].astype(np.float64) - rest
            for shape in source.expressions
        ]
    ).reshape(len(source.expressions), rest.size)
    arkit = head.expression_basis[:, known].reshape(len(head.expression_names), -1).astype(np.float64)
    return replace(
        correspondence,
        arkit_from_source=_best(arkit, shapes),
        source_from_arkit=_best(shapes, arkit),
    )


def _best(
    basis: np.typing.NDArray[np.float64], wanted: np.typing.NDArray[np.float64]
) -> np.typing.NDArray[np.float32]:
    """The coefficients [B, W] of ``basis`` [B, M] that come nearest to each row of ``wanted`` [W, M]."""
    gram = basis @ basis.T
    ridge = _RIDGE * (np.trace(gram) / max(len(gram), 1)) * np.eye(len(gram))
    return np.linalg.solve(gram + ridge, basis @ wanted.T).astype(np.float32)
