"""Parts, materials and skeletons that no file can hold are refused in words that say what was found."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from facewright.core.mesh_part import (
    MalformedPartError,
    Material,
    MeshPart,
    MeshTopology,
    MorphTarget,
    Skeleton,
    Skin,
    triangle_counts,
)
from tests.support.spectacles import spectacles


def _floats(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("uv", np.zeros((8, 2)), r"spectacles: uv must be float32 \[8, 2\], got float64 \[8, 2\]"),
        ("uv", np.full((8, 2), np.nan, np.float32), "uv has 16 numbers that are not finite"),
        ("levels", (), "no level of detail; at least the finest is needed"),
        ("levels", (np.zeros((0, 3), np.int32),), r"levels\[0\] has no triangles"),
        ("levels", (np.zeros((2, 4), np.int32),), r"levels\[0\] must be int32 \[2, 3\], got int32 \[2, 4\]"),
        (
            "levels",
            (np.array([[0, 1, 8]], np.int32),),
            r"levels\[0\] has vertices 0 to 8, the mesh has 0 to 7",
        ),
        ("colours", np.zeros((8, 3), np.uint8), r"colours must be uint8 \[8, 4\], got uint8 \[8, 3\]"),
        (
            "skin",
            Skin(np.zeros((8, 4), np.uint8), np.full((8, 4), 0.3, np.float32)),
            r"sum to 1, got \[0\.3.*\] at vertex 0",
        ),
        (
            "skin",
            Skin(np.zeros((8, 4), np.uint8), np.tile(np.array([2, -1, 0, 0], np.float32), (8, 1))),
            "must not be negative",
        ),
    ],
)
def test_a_malformed_topology_is_refused(member: str, value: Any, message: str) -> None:
    with pytest.raises(MalformedPartError, match=message):
        dataclasses.replace(spectacles().topology, **{member: value})


@pytest.mark.parametrize(
    ("morph", "message"),
    [
        (
            MorphTarget("nod", np.array([8], np.int32), _floats(1, 3), _floats(1, 3)),
            "spectacles: morph target nod has vertices 8 to 8, the mesh has 0 to 7",
        ),
        (
            MorphTarget("nod", np.array([3, 3], np.int32), _floats(2, 3), _floats(2, 3)),
            "morph target nod: vertices must ascend, each at most once",
        ),
        (
            MorphTarget("nod", np.array([3], np.int32), _floats(8, 3), _floats(1, 3)),
            r"morph target nod: positions must be float32 \[1, 3\], got float32 \[8, 3\]",
        ),
        (
            MorphTarget("nod", np.array([3], np.int32), _floats(1, 3), None),
            "the morph targets nod have no normals, but others have",
        ),
        (
            MorphTarget("winkLeft", np.array([3], np.int32), _floats(1, 3), _floats(1, 3)),
            "two morph targets are named winkLeft",
        ),
    ],
)
def test_a_malformed_morph_target_is_refused(morph: MorphTarget, message: str) -> None:
    topology = spectacles().topology
    with pytest.raises(MalformedPartError, match=message):
        dataclasses.replace(topology, morphs=(*topology.morphs, morph))


def test_a_persons_geometry_must_fit_the_topology() -> None:
    part = spectacles()
    with pytest.raises(MalformedPartError, match=r"positions must be float32 \[8, 3\], got float32 \[9, 3\]"):
        dataclasses.replace(part, positions=_floats(9, 3))
    with pytest.raises(MalformedPartError, match="normals has 24 numbers that are not finite"):
        dataclasses.replace(part, normals=np.full((8, 3), np.inf, np.float32))
    with pytest.raises(MalformedPartError, match="morph targets displace normals, but there are none"):
        dataclasses.replace(part, normals=None)
    still = dataclasses.replace(part.topology, morphs=())
    with pytest.raises(MalformedPartError, match="tangents without normals"):
        dataclasses.replace(part, topology=still, normals=None)
    with pytest.raises(MalformedPartError, match="the last number of a tangent must be 1 or -1"):
        dataclasses.replace(part, tangents=_floats(8, 4))


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("alpha_mode", "ADD", r"skin: alpha_mode must be one of \['OPAQUE', 'MASK', 'BLEND'\], got 'ADD'"),
        ("roughness", 1.5, "skin: roughness must lie between 0 and 1, got 1.5"),
        ("metallic", -0.1, "metallic must lie between 0 and 1, got -0.1"),
        ("alpha_cutoff", float("nan"), "alpha_cutoff must lie between 0 and 1, got nan"),
        ("base_colour_factor", (1, 1, 2, 1), r"base_colour_factor\[2\] must lie between 0 and 1, got 2"),
        ("base_colour_factor", (1, 1, 1), r"must be four numbers, got \(1, 1, 1\)"),
    ],
)
def test_a_malformed_material_is_refused(member: str, value: Any, message: str) -> None:
    with pytest.raises(MalformedPartError, match=message):
        Material("skin", **{member: value})


@pytest.mark.parametrize(
    ("parents", "message"),
    [
        ((0, 0), r"joint 0 \(root\) has parent 0"),
        ((-1, -1), r"joint 1 \(neck\) has parent -1"),
        ((-1, 1), r"joint 1 \(neck\) has parent 1"),
        ((-1,), "2 joints with 1 parents"),
    ],
)
def test_a_malformed_skeleton_is_refused(parents: tuple[int, ...], message: str) -> None:
    with pytest.raises(MalformedPartError, match=message):
        Skeleton(("root", "neck"), parents, _floats(2, 3))


def test_a_topology_cannot_be_changed_after_it_was_encoded() -> None:
    topology = spectacles().topology
    for array in (topology.uv, topology.levels[1], topology.morphs[0].positions):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_triangles_are_counted_by_level() -> None:
    part = spectacles()
    coarse = MeshTopology("coarse", part.topology.uv, part.topology.levels[:1])
    worn = MeshPart(coarse, part.positions, None, part.material)
    assert triangle_counts([part]) == [4, 2]
    assert triangle_counts([part, worn]) == [8, 2]
