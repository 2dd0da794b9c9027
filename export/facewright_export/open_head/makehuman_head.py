"""MakeHuman's mean head with the open head's topology: where labels are drawn and the texture is laid out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright_export.open_head.expressions import expression_basis
from facewright_export.open_head.identity_parameters import TargetWeights, draw_target_weights
from facewright_export.open_head.makehuman_data import BaseMesh, MakeHumanData
from facewright_export.open_head.mouth_parts import lift_tongue_out, place_mouth_parts
from facewright_export.open_head.neck_cut import HeadTopology, cut_head, eye_midpoint
from facewright_export.open_head.regions import cavities, region_weights
from facewright_export.open_head.rigging import joint_regressor, skin_weights

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

SEED: Final = 20250919
PEOPLE: Final = 20000


@dataclass(frozen=True)
class MakeHumanHead:
    """``vertices`` float64 [V, 3], the mean of ``population`` in head space, metres, teeth and tongue placed;
    ``expressions`` [52, V, 3];
    ``regions`` [15, V]; ``joints`` [6, V] the joints' regressor; ``skin_weights`` [V, 6]; ``in_mouth`` and
    ``in_socket`` bool [V], the linings of the cavities.
    """

    population: TargetWeights
    topology: HeadTopology
    vertices: FloatArray
    expressions: FloatArray
    regions: FloatArray
    joints: FloatArray
    skin_weights: FloatArray
    in_mouth: BoolArray
    in_socket: BoolArray


def makehuman_head(makehuman: MakeHumanData) -> MakeHumanHead:
    """Cut MakeHuman's mean body at the neck. Raises ValueError if the data are not what they should be."""
    base = makehuman.base_mesh()
    population = draw_target_weights(makehuman, PEOPLE, SEED)
    body = _mean_body(base, population)
    body -= eye_midpoint(makehuman, body)
    topology = cut_head(base, body)
    cut = topology.carry(body)
    joints = joint_regressor(makehuman, topology, body)
    mean = cut - (joints[4] + joints[5]) / 2 @ cut
    mean = place_mouth_parts(topology, (mean + mean[topology.mirror] * [-1, 1, 1]) / 2)
    in_mouth, in_socket = cavities(base, topology)
    return MakeHumanHead(
        population=population,
        topology=topology,
        vertices=mean,
        expressions=lift_tongue_out(topology, mean, expression_basis(makehuman, topology, mean)),
        regions=region_weights(makehuman, base, topology, cut),
        joints=joints,
        skin_weights=skin_weights(makehuman, topology),
        in_mouth=in_mouth,
        in_socket=in_socket,
    )


def _mean_body(base: BaseMesh, population: TargetWeights) -> FloatArray:
    body = base.vertices.copy()
    for weight, target in zip(population.weights.mean(axis=0), population.targets, strict=True):
        body[target.vertices] += weight * target.offsets
    symmetric: FloatArray = (body + body[base.mirror] * [-1, 1, 1]) / 2
    return symmetric
