"""Stages that pipelines of UV maps share: what a photo shows of the face, and maps refined to match it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from facewright.core.options import Option
from facewright.pipelines import tensors
from facewright.pipelines.refinement import GRAPHS, REFINE_OPTIONS
from facewright.pipelines.stages import Stage
from facewright.pipelines.twin import FILE_OPTIONS, HEAD
from facewright_client import contract

#: Of `REFINE_OPTIONS` those that a pipeline has: its deadline is the caller's, and its answer is one.
REFINING: Final = tuple(name for name in REFINE_OPTIONS if name not in ("deadline_ms", "preview_every"))

#: Options of pipelines whose texture has a network's albedo.
MAP_OPTIONS: Final[Mapping[str, Option]] = {
    **{name: row for name, row in FILE_OPTIONS.items() if name != "delight"},
    "detail": Option(
        float, 1.0, 0.0, 1.0, meaning="share of the photo's own fine structure on the network's albedo"
    ),
}

FACE_EVIDENCE: Final = Stage(
    "face_evidence",
    (
        contract.FACE_CROP,
        tensors.PERSON_MASK,
        contract.INTRINSICS,
        contract.HEAD_TO_CAMERA,
        tensors.FITTED_VERTICES,
        tensors.PHOTO_INFO,
    ),
    (contract.FACE_MASK, tensors.PHOTO_LIGHT),
    expected_s=0.04,
    weights=(HEAD,),
)
REFINE_MAPS: Final = Stage(
    "refine_maps",
    (
        contract.FACE_CROP,
        contract.FACE_MASK,
        contract.INTRINSICS,
        contract.HEAD_TO_CAMERA,
        tensors.PHOTO_LIGHT,
        tensors.FITTED_VERTICES,
        tensors.FIT_NEUTRAL_VERTICES,
        contract.W_PLUS,
    ),
    (contract.REFINED_W_PLUS, contract.NEUTRAL_VERTICES, tensors.ALBEDO_MAP),
    options=(*REFINING, "fit_share"),
    runs="gpu",
    runs_networks=True,
    # 200 iterations, as REFINE_LATENT's.
    expected_s=17.0,
    weights=(HEAD,),
    graphs=GRAPHS,
)


def fitted_as_start(fit_head: Stage) -> Stage:
    """The fit of a pipeline whose neutral another stage gives."""
    return fit_head.renamed({contract.NEUTRAL_VERTICES: tensors.FIT_NEUTRAL_VERTICES})
