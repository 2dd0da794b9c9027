"""A pipeline as somebody else would write it: one file, two networks of their own, one new stage, one option.

The networks were written without a thought of each other: both call their tensors ``input`` and ``output``.
"""

from __future__ import annotations

import numpy as np

from facewright.adapter.stage_model import Machine, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.core.assets import asset_path
from facewright.core.options import Option
from facewright.head.head_model import HeadModel
from facewright.pipelines.section import Section
from facewright.pipelines.stages import SECTIONS, Network, Pipeline, Stage
from facewright.pipelines.twin import (
    BAKE_TEXTURE,
    FACE_LANDMARKS,
    FACE_SHAPE,
    FILE_OPTIONS,
    FIND_FACE,
    FIT_HEAD,
    HEAD,
    PACKAGE_AVATAR,
    PHOTO_OPTIONS,
    RENDER_PREVIEW,
)
from facewright_client import contract
from facewright_client.contract import IDENTITY, NEUTRAL_VERTICES, PHOTO, Tensor

CODE_SIZE = 8
IDENTITY_CODE = Tensor("IDENTITY_CODE", "TYPE_FP32", (CODE_SIZE,))
IDENTITY_OFFSET = Tensor("IDENTITY_OFFSET", "TYPE_FP32", (contract.IDENTITY_SIZE,))
TWIN_VERTICES = Tensor("TWIN_VERTICES", "TYPE_FP32", (-1, 3))
#: Somebody may say so with the photo; nobody has to.
FACTOR = Tensor("FACTOR", "TYPE_FP32", (1,), optional=True)


class ShiftIdentity(StageModel):
    """Moves the neutral head by what two networks make of its coefficients."""

    def load(self, machine: Machine) -> None:
        """Load the identity basis."""
        self._basis = HeadModel.load(asset_path("head.npz")).identity_basis

    def compute(self, request: StageRequest) -> Outputs:
        """Shift one head."""
        factor = float(request.array(FACTOR)[0]) if request.given(FACTOR) else 1.0
        offset = factor * request.option("shift") * request.array(IDENTITY_OFFSET)
        moved = request.array(TWIN_VERTICES) + np.tensordot(offset, self._basis, axes=1)
        largest = float(1e3 * np.abs(moved - request.array(TWIN_VERTICES)).max())
        return {
            NEUTRAL_VERTICES: moved.astype(np.float32),
            SECTIONS: Section({"shift": {"largest_mm": round(largest, 3)}}, ["the head was shifted"]),
        }


ENCODE = Network(
    "encode_identity",
    (IDENTITY,),
    (IDENTITY_CODE,),
    renames={"input": IDENTITY, "output": IDENTITY_CODE},
)
DECODE = Network(
    "decode_identity",
    (IDENTITY_CODE,),
    (IDENTITY_OFFSET,),
    renames={"input": IDENTITY_CODE, "output": IDENTITY_OFFSET},
)
SHIFT = Stage(
    "shift_identity",
    (TWIN_VERTICES, IDENTITY_OFFSET, FACTOR),
    (NEUTRAL_VERTICES,),
    options=("shift",),
    expected_s=0.01,
    weights=(HEAD,),
    model=ShiftIdentity,
)

AVATAR_SHIFTED = Pipeline(
    "avatar_shifted",
    (
        FIND_FACE,
        FACE_LANDMARKS,
        FACE_SHAPE,
        FIT_HEAD.renamed({NEUTRAL_VERTICES: TWIN_VERTICES}),
        ENCODE,
        DECODE,
        SHIFT,
        BAKE_TEXTURE,
        PACKAGE_AVATAR,
        RENDER_PREVIEW,
    ),
    {
        **PHOTO_OPTIONS,
        **FILE_OPTIONS,
        "shift": Option(float, 0.5, 0.0, 1.0, meaning="how far the head moves"),
    },
    takes=(PHOTO, FACTOR),
    summary="The twin's head, moved by two networks.",
)
