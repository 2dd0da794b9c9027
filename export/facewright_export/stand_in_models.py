"""Face models of the published sizes with the open head's form, for networks whose files are licensed: to
measure them, and to try what becomes of their heads.

FLAME's stand-in is the open head's skin and eyeballs with other vertices, the Basel model's its face alone, a
mask (`remeshed_head`). Their first components move them as the open head's move it; the others mix those by
seeded numbers.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright_export.head_correspondence.landmarks import OUTLINE, open_landmarks
from facewright_export.networks.basel_face import BaselFaceModel
from facewright_export.networks.flame import EXPRESSIONS, IDENTITIES, JOINTS, FlameModel
from facewright_export.remeshed_head import RemeshedHead, remeshed_head
from facewright_export.seeded_weights import seeded_uniform

Floats = npt.NDArray[np.float32]

FLAME_VERTICES: Final = 5023
BASEL_VERTICES: Final = 35709
#: Which of the open head's joints move what each of FLAME's does.
_MOVED_BY: Final = {
    "root": ("root",),
    "neck": ("neck", "head"),
    "jaw": ("jaw",),
    "eye_left": ("eye_left",),
    "eye_right": ("eye_right",),
}
#: How far from a joint the vertices that tell its place lie at most, metres.
_AROUND_JOINT: Final = 0.03


def flame_stand_in() -> FlameModel:
    """FLAME's arrays at their published number of vertices and components; metres."""
    head, remeshed = _open_head(), _remeshed(FLAME_VERTICES, mask=False)
    names = list(head.joint_names)
    joints = head.joints(head.vertices_mean)
    template = remeshed.of(head.vertices_mean)
    places = [joints[names.index(_MOVED_BY[name][0])] for name in JOINTS]
    skin = np.stack(
        [
            remeshed.points.of(head.skin_weights[:, [names.index(own) for own in _MOVED_BY[joint]]]).sum(
                axis=1
            )
            for joint in JOINTS
        ],
        axis=1,
    )
    identity = _components(remeshed, head.identity_basis, IDENTITIES, "shape_basis")
    expression = _components(remeshed, head.expression_basis, EXPRESSIONS, "expression_basis")
    return FlameModel(
        triangles=remeshed.triangles.astype(np.int32),
        template=template.astype(np.float32),
        shape_basis=np.concatenate([identity, expression], axis=2),
        # a tenth of a millimetre: correctives that are there, and nothing that a head shows as a grain
        pose_basis=seeded_uniform((FLAME_VERTICES, 3, 36), "pose_basis", seed=3) * np.float32(1e-4),
        joint_regressor=np.stack([_regressor(template, place) for place in places]),
        parents=(-1, 0, 1, 1, 1),
        skin_weights=(skin / skin.sum(axis=1, keepdims=True)).astype(np.float32),
    )


def basel_stand_in() -> BaselFaceModel:
    """The Basel face model's arrays at the shapes of ``BFM_model_front.mat``; decimetres, gamma-encoded."""
    head, remeshed = _open_head(), _remeshed(BASEL_VERTICES, mask=True)
    shape = 10 * remeshed.of(head.vertices_mean)
    landmarks = open_landmarks(head).of(head.vertices_mean)
    nearest = remeshed.nearest_to(head.vertices_mean, landmarks)
    return BaselFaceModel(
        mean_shape=(shape - shape.mean(axis=0)).astype(np.float32),
        identity_basis=10 * _components(remeshed, head.identity_basis, 80, "identity_basis"),
        expression_basis=10 * _components(remeshed, head.expression_basis, 64, "expression_basis"),
        mean_texture=np.tile(np.array([186, 142, 122], np.float32), (BASEL_VERTICES, 1)),
        texture_basis=seeded_uniform((1, 3, 80), "texture_basis", seed=3)
        * np.ones((BASEL_VERTICES, 1, 1), "f"),
        triangles=remeshed.triangles.astype(np.int32),
        # the outline's, which nothing here reads, on the chin
        landmarks=np.concatenate([np.full(OUTLINE, nearest[-2]), nearest]).astype(np.int32),
    )


@cache
def _open_head() -> HeadModel:
    return HeadModel.load(asset_path("head.npz"))


@cache
def _remeshed(count: int, mask: bool) -> RemeshedHead:
    return remeshed_head(_open_head(), count, mask)


def _components(remeshed: RemeshedHead, basis: npt.NDArray[np.floating], count: int, name: str) -> Floats:
    """``count`` components [N, 3, count]: those of ``basis`` [C, V, 3], then mixtures of them."""
    vertices = basis.shape[1]
    map_to_points = remeshed.points.matrix(np.arange(vertices), vertices).astype(np.float32)
    flat = basis[:count].transpose(1, 2, 0).reshape(vertices, -1).astype(np.float32)
    own = (map_to_points @ flat).reshape(-1, 3, min(count, len(basis)))
    mixing = seeded_uniform((own.shape[2], count - own.shape[2]), name, seed=3) / np.sqrt(own.shape[2])
    return np.concatenate([own, own @ mixing], axis=2).astype(np.float32)


def _regressor(template: npt.NDArray[np.float64], joint: Floats) -> Floats:
    """Weights [N], all but those of vertices around the joint 0, whose sum of vertices is the joint."""
    distance = np.linalg.norm(template - joint, axis=1)
    around = np.flatnonzero(distance < max(_AROUND_JOINT, 1.5 * float(distance.min())))
    # the least change of equal weights that sums to one and gives the joint
    system = np.concatenate([template[around].T, np.ones((1, len(around)))])
    equal = np.full(len(around), 1 / len(around))
    weights = np.zeros(len(template))
    weights[around] = equal + np.linalg.pinv(system) @ (np.append(joint, 1.0) - system @ equal)
    return weights.astype(np.float32)
