"""Networks of avatar_animatable: a coarse face, and its displacement in detail."""

from __future__ import annotations

from typing import Final

from facewright_export.checkpoints.deca import import_deca_coarse, import_deca_detail
from facewright_export.network import Example, Input, Network, then
from facewright_export.network_tables.row_parts import ZERO_TO_ONE, flame_head, image
from facewright_export.networks import deca
from facewright_export.parity.parity import (
    coefficient_sigma,
    displacement_millimetres,
    plain_difference,
    rotation_degrees,
)
from facewright_export.parity.parity_gates import gate

NETWORKS: Final[tuple[Network, ...]] = (
    Network(
        name="coarse_encoder",
        build=lambda: deca.DecaEncoder(deca.COARSE),
        load=import_deca_coarse,
        files=("deca_model.tar",),
        inputs=(image(deca.INPUT_SIZE),),
        gates={
            "IDENTITY": gate(coefficient_sigma(), 1e-4, 0.01, 0.07),
            "ALBEDO": gate(coefficient_sigma(), 1e-4, 0.01, 0.07),
            "EXPRESSION": gate(coefficient_sigma(), 1e-4, 0.01, 0.07),
            "HEAD_AND_JAW_POSE": gate(rotation_degrees(slice(0, 6)), 0.005, 0.4, 4),
            "CAMERA": gate(plain_difference(), 1e-4, 0.005, 0.05),
            "SH_LIGHT": gate(plain_difference(), 1e-4, 0.016, 0.15),
        },
        source="Feng et al. 2021 (animatable), section 4.1",
        serve=then(deca.named_coefficients),
        pixels=ZERO_TO_ONE,
    ),
    Network(
        name="detail_displacement",
        build=deca.AnimatableDetail,
        load=import_deca_detail,
        files=("deca_model.tar",),
        inputs=(
            image(deca.INPUT_SIZE),
            Input("EXPRESSION", (50,), Example.NORMAL),
            Input("JAW_POSE", (3,), Example.SMALL),
        ),
        gates={"DISPLACEMENT": gate(displacement_millimetres(1.0), 0.001, 0.015, 0.15)},
        source="Feng et al. 2021 (animatable), section 4.2, equation 9",
        pixels=ZERO_TO_ONE,
    ),
    flame_head("animatable_head", identities=100),
)
