"""Joints and linear blend skinning weights of the open head."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from facewright_export.open_head.makehuman_data import VERTEX_COUNT, MakeHumanData
from facewright_export.open_head.neck_cut import HeadTopology

FloatArray = npt.NDArray[np.float64]

JOINT_NAMES: Final = ("root", "neck", "head", "jaw", "eye_left", "eye_right")
JOINT_PARENTS: Final = (-1, 0, 1, 2, 2, 2)
#: MakeHuman bone → joint; a bone that is not listed follows its nearest listed ancestor, else the root.
_BONE_JOINT: Final = {"neck01": 1, "neck02": 1, "neck03": 1, "head": 2, "jaw": 3}
#: Joint cube of the base mesh that places each joint; the root sits at the centre of the neck's border.
_JOINT_CUBE: Final = {1: "joint-neck", 2: "joint-head", 3: "joint-mouth"}
_MAX_INFLUENCES: Final = 4
_REGRESSION_VERTICES: Final = 200


def skin_weights(makehuman: MakeHumanData, topology: HeadTopology) -> FloatArray:
    """Skinning weights [V, 6]: rows sum to 1 with at most four non-zeros; eyeballs follow their own joint
    only.
    """
    parents = makehuman.bone_parents()
    body = np.zeros((VERTEX_COUNT, len(JOINT_NAMES)))
    for bone, pairs in makehuman.bone_weights().items():
        if not pairs:
            continue
        table = np.array(pairs)
        np.add.at(body[:, _joint_of(bone, parents)], table[:, 0].astype(np.int64), table[:, 1])
    weights = np.asarray(topology.from_body @ body)
    # eyeballs have joints of their own; the upper teeth belong to the skull, the lower ones to the jaw
    for part, joint in ((1, 4), (2, 5), (3, 2), (4, 3)):
        weights[topology.part_vertices(part)] = np.eye(len(JOINT_NAMES))[joint]
    smallest = np.sort(weights, axis=1)[:, -_MAX_INFLUENCES, None]
    weights = np.where(weights >= smallest, weights, 0.0)
    weights = (weights + weights[topology.mirror][:, [0, 1, 2, 3, 5, 4]]) / 2
    normalised: FloatArray = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def _joint_of(bone: str, parents: dict[str, str]) -> int:
    while bone:
        if bone in _BONE_JOINT:
            return _BONE_JOINT[bone]
        bone = parents.get(bone, "")
    return 0


def joint_regressor(makehuman: MakeHumanData, topology: HeadTopology, body: FloatArray) -> FloatArray:
    """Weights [6, V] whose product with neutral vertices gives the joints' positions.

    ``body`` [19158, 3] is the mean body in head space, ``eyes`` the vertex weights [V] of the eyeballs'
    centres. Joints inside the head are affine combinations, of least norm, of the vertices around them.
    """
    mean = topology.carry(body)
    regressor = np.zeros((len(JOINT_NAMES), len(mean)))
    regressor[0, topology.border] = 1.0 / len(topology.border)
    skin = topology.part_vertices(0)
    for joint, cube in _JOINT_CUBE.items():
        position = body[makehuman.vertex_group(cube)].mean(axis=0)
        position[0] = 0.0
        distance = np.round(np.linalg.norm(mean[skin] - position, axis=1), 9)
        nearest = skin[np.argsort(distance, kind="stable")[:_REGRESSION_VERTICES]]
        nearest = np.union1d(nearest, topology.mirror[nearest])
        regressor[joint, nearest] = affine_weights(mean[nearest], position)
    for joint, eyeball in zip((4, 5), topology.eyeballs, strict=True):
        centre = mean[eyeball.vertices[0]] - [0.0, 0.0, eyeball.radius(mean)]
        regressor[joint, eyeball.vertices] = affine_weights(mean[eyeball.vertices], centre)
    return regressor


def affine_weights(points: FloatArray, position: FloatArray) -> FloatArray:
    """Least-norm weights [N] that sum to 1 and blend ``points`` [N, 3] into ``position`` [3] (exact for
    affine maps).
    """
    system = np.concatenate([points.T, np.ones((1, len(points)))])
    weights: FloatArray = np.linalg.lstsq(system, np.append(position, 1.0), rcond=None)[0]
    return weights
