"""``to_open_head``: the stage by which FLAME's, BFM's and any other model's heads get the open topology."""

from __future__ import annotations

from typing import Final

from facewright.pipelines import tensors
from facewright.pipelines.stages import Stage
from facewright.pipelines.twin import HEAD
from facewright_client import contract

#: Which correspondence it takes follows from the number of vertices; those of the open head need none. Where
#: `FIT_HEAD` comes before, one of the two is `Stage.renamed`.
TO_OPEN_HEAD: Final = Stage(
    "to_open_head",
    (tensors.SOURCE_VERTICES, tensors.SOURCE_NEUTRAL_VERTICES, tensors.SOURCE_TO_CAMERA),
    (
        tensors.FITTED_VERTICES,
        contract.NEUTRAL_VERTICES,
        contract.IDENTITY,
        contract.EXPRESSION,
        contract.HEAD_TO_CAMERA,
    ),
    expected_s=0.03,
    weights=(HEAD,),
)
