"""Read ICT-FaceKit's folder: a mean head, 100 identity modes and 53 expressions from light stage scans.

Source: Li et al. 2020, "Learning Formation of Physically-Based Face Attributes"; the vertex ranges and
landmarks are those of the kit's README. MIT licence. Coordinates are centimetres there, metres here, in the
axes of head space; the origin is moved between the eyeballs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

METRES_PER_UNIT: Final = 0.01
VERTEX_COUNT: Final = 26719
IDENTITY_COUNT: Final = 100
#: Vertex ranges of the geometries.
SKIN: Final = slice(0, 11248)
SKIN_AND_CAVITIES: Final = slice(0, 14062)
UPPER_TEETH: Final = slice(17039, 19247)
LOWER_TEETH: Final = slice(19247, 21451)
SCLERAS: Final = (slice(21451, 22221), slice(23021, 23791))  # left, right
EYEBALLS: Final = (slice(21451, 23021), slice(23021, 24591))
_MEAN: Final = "generic_neutral_mesh"


@dataclass(frozen=True)
class FaceKit:
    """``mean`` float64 [26719, 3]; ``identity`` float64 [100, 26719, 3], 1 sigma each; ``expressions`` name →
    float64 [26719, 3] at weight 1, in the kit's names; all in metres. ``triangles`` int64 [F, 3],
    counter-clockwise from outside. ``sha256`` of all files read.
    """

    mean: FloatArray
    identity: FloatArray
    expressions: dict[str, FloatArray]
    triangles: IntArray
    sha256: str

    def triangles_of(self, *parts: slice) -> IntArray:
        """Triangles whose corners all lie in one of the vertex ranges, int64 [N, 3]."""
        inside = [
            (self.triangles >= p.start).all(axis=1) & (self.triangles < p.stop).all(axis=1) for p in parts
        ]
        return self.triangles[np.any(inside, axis=0)]

    @cached_property
    def mirror(self) -> IntArray:
        """Left–right partner int64 [14062] of the vertices of the skin and its cavities."""
        from scipy.spatial import cKDTree

        skin = self.mean[SKIN_AND_CAVITIES]
        partner: IntArray = cKDTree(skin).query(skin * [-1, 1, 1])[1]
        return partner


def read_face_kit(folder: Path) -> FaceKit:
    """Read ``folder``, ICT-FaceKit's root or its ``FaceXModel``.

    Raises ValueError, naming the file, where one is missing or has another number of vertices.
    """
    inner = folder / "FaceXModel"
    folder = inner if inner.is_dir() else folder
    digest = hashlib.sha256()

    def vertices(name: str) -> FloatArray:
        path = folder / f"{name}.obj"
        if not path.is_file():
            raise ValueError(f"{path} is missing; give the folder of a complete ICT-FaceKit")
        content = path.read_bytes()
        digest.update(path.name.encode() + b"\0" + content)
        rows = [line[2:] for line in content.splitlines() if line.startswith(b"v ")]
        found = np.array(b" ".join(rows).split(), np.float64).reshape(-1, 3)
        if len(found) != VERTEX_COUNT:
            raise ValueError(f"{path} has {len(found)} vertices, not the {VERTEX_COUNT} of ICT-FaceKit")
        return found * METRES_PER_UNIT

    mean = vertices(_MEAN)
    identity = np.stack([vertices(f"identity{number:03d}") for number in range(IDENTITY_COUNT)]) - mean
    names = sorted(path.stem for path in folder.glob("*.obj"))
    names = [name for name in names if name != _MEAN and not name.startswith("identity")]
    expressions = {name: vertices(name) - mean for name in names}
    origin = np.mean([mean[eyeball].mean(axis=0) for eyeball in EYEBALLS], axis=0)
    return FaceKit(mean - origin, identity, expressions, _triangles(folder), digest.hexdigest())


def _triangles(folder: Path) -> IntArray:
    triangles: list[list[int]] = []
    for line in (folder / f"{_MEAN}.obj").read_text(encoding="ascii").splitlines():
        if line.startswith("f "):
            corners = [int(corner.split("/")[0]) - 1 for corner in line.split()[1:]]
            triangles += [[corners[0], *corners[i : i + 2]] for i in range(1, len(corners) - 1)]
    return np.array(triangles, np.int64)
