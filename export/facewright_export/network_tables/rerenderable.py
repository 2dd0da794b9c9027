"""Networks of avatar_rerenderable: a face model's coefficients, then albedo and light in detail."""

from __future__ import annotations

from typing import Final

from facewright_export.checkpoints.bfm import import_bfm
from facewright_export.checkpoints.deep3d import import_deep3d
from facewright_export.checkpoints.state_dict import import_state_dict
from facewright_export.network import Batch, Example, Input, Network, then
from facewright_export.network_tables.row_parts import WHOLE, ZERO_TO_ONE, image
from facewright_export.networks import coefficient_regressor as deep3d
from facewright_export.networks.basel_face import BaselFace
from facewright_export.networks.detail_encoder import MAP_SIZE, DetailRefinement
from facewright_export.parity.parity import (
    albedo_delta_e,
    coefficient_sigma,
    plain_difference,
    rotation_degrees,
    vertex_millimetres,
)
from facewright_export.parity.parity_gates import gate
from facewright_export.stand_in_models import basel_stand_in

NETWORKS: Final[tuple[Network, ...]] = (
    Network(
        name="coefficient_regressor",
        build=deep3d.CoefficientRegressor,
        load=import_deep3d,
        files=("epoch_20.pth",),
        inputs=(image(deep3d.INPUT_SIZE),),
        gates={
            "IDENTITY": gate(coefficient_sigma(), 1e-4, 0.004, 0.04),
            "EXPRESSION": gate(coefficient_sigma(), 1e-4, 0.004, 0.04),
            "TEXTURE": gate(coefficient_sigma(), 1e-4, 0.004, 0.04),
            "ANGLES": gate(rotation_degrees(slice(0, 3)), 0.005, 0.12, 1),
            "SH_LIGHT": gate(plain_difference(), 1e-4, 0.012, 0.1),
            "TRANSLATION": gate(plain_difference(), 1e-4, 0.002, 0.02),
        },
        source="Deng et al. 2019, Accurate 3D Face Reconstruction",
        serve=then(deep3d.named_coefficients),
        pixels=ZERO_TO_ONE,
        seeded_scales={"final_layers.*.weight": 0.008},  # angles about a radian
    ),
    Network(
        name="basel_face",
        build=lambda: BaselFace(basel_stand_in()),
        load=import_bfm,
        files=("BFM_model_front.mat",),
        inputs=(
            Input("IDENTITY", (80,), Example.NORMAL),
            Input("EXPRESSION", (64,), Example.NORMAL),
            Input("TEXTURE", (80,), Example.NORMAL),
        ),
        gates={
            "VERTICES": gate(vertex_millimetres(metres_per_unit=0.1), 0.001, 0.001, 0.001),
            "VERTEX_ALBEDO": gate(plain_difference(), 1e-5, 1e-5, 1e-5),
        },
        source="Deng et al. 2019; Yang et al. 2021 (rerenderable), section 4.1, equations 1 and 2",
        islands=WHOLE,
        kept=("*",),
    ),
    Network(
        name="detail_refinement",
        build=DetailRefinement,
        load=lambda path: import_state_dict(DetailRefinement(), path),
        files=("detail_refinement.pt",),
        inputs=(
            Input("UV_TEXTURE", (3, MAP_SIZE, MAP_SIZE), Example.SIGNED),
            Input("PRIOR_ALBEDO", (3, MAP_SIZE, MAP_SIZE), Example.SIGNED),
        ),
        gates={
            "DETAILED_ALBEDO": gate(albedo_delta_e(low=0.0), 0.01, 0.6, 4),
            "SH_LIGHT_MAP": gate(plain_difference(), 1e-3, 0.03, 0.2),
        },
        source="Yang et al. 2021 (rerenderable), section 4.3, tables 1 and 2",
        batch=Batch(1, 1, 8),
    ),
)
