"""What an avatar's file holds, apart from how it is written: parts with materials, textures, a skeleton.

An avatar is a list of `MeshPart`: skin, eyes, teeth and tongue of the head, and whatever else it wears. What
a part has whoever it belongs to is its `MeshTopology`, one object for all avatars, which a writer encodes
once; positions, normals and textures are the person's. Frames and units: CONVENTIONS.md. The terms are those
of Khronos' glTF 2.0, sections 3.7 (meshes, morph targets, skins) and 3.9 (materials).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]

AlphaMode = Literal["OPAQUE", "MASK", "BLEND"]

#: Texture format -> its first bytes, at an offset.
_SIGNATURES: Final = {"jpeg": (0, b"\xff\xd8\xff"), "png": (0, b"\x89PNG\r\n\x1a\n"), "webp": (8, b"WEBP")}
#: How far skin weights may add up to something else than 1.
_WEIGHT_TOLERANCE: Final = 1e-5


class MalformedPartError(ValueError):
    """A part, material, texture or skeleton that no file can hold; says which, and what was found."""


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture as a file embeds it. One object is embedded once, whatever uses it.

    Attributes:
        name: of the image.
        content: the picture file's bytes.
        format: ``jpeg``, ``png`` or ``webp``.

    Raises:
        MalformedPartError: another format, or bytes that are not in it.
    """

    name: str
    content: bytes
    format: str

    def __post_init__(self) -> None:
        if self.format not in _SIGNATURES:
            raise MalformedPartError(
                f"{self.name}: texture format must be one of {sorted(_SIGNATURES)}, got {self.format!r}"
            )
        start, signature = _SIGNATURES[self.format]
        if self.content[start : start + len(signature)] != signature:
            raise MalformedPartError(
                f"{self.name}: the texture's {len(self.content)} bytes are not a {self.format} picture"
            )

    @classmethod
    def of_file(cls, name: str, content: bytes) -> Texture:
        """A picture whose format its first bytes tell.

        Raises:
            MalformedPartError: it is none of the formats.
        """
        for kind, (start, signature) in _SIGNATURES.items():
            if content[start : start + len(signature)] == signature:
                return cls(name, content, kind)
        raise MalformedPartError(
            f"{name}: the texture's {len(content)} bytes are no {', '.join(_SIGNATURES)} picture"
        )


@dataclass(frozen=True)
class Material:
    """How light leaves a surface: glTF's metallic-roughness model. Equal materials are written once.

    Attributes:
        name: of the material.
        base_colour: sRGB, with alpha where ``alpha_mode`` is not OPAQUE.
        base_colour_factor: linear RGBA, 0-1, multiplies the texture.
        normal: tangent space, linear; +X along u, +Y against v (up in the picture), +Z out of the surface.
        metallic_roughness: linear; roughness in green, metalness in blue; multiplied by the two factors.
        occlusion: linear, in red; may be the object that is ``metallic_roughness``.
        roughness: perceptual, 0-1.
        metallic: 0-1.
        alpha_mode: OPAQUE ignores alpha, MASK cuts at ``alpha_cutoff``, BLEND mixes with what is behind.
        alpha_cutoff: the least alpha that MASK shows.
        double_sided: whether triangles are seen from behind, too.

    Raises:
        MalformedPartError: a factor outside 0-1, or another alpha mode.
    """

    name: str
    base_colour: Texture | None = None
    base_colour_factor: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    normal: Texture | None = None
    metallic_roughness: Texture | None = None
    occlusion: Texture | None = None
    roughness: float = 1.0
    metallic: float = 0.0
    alpha_mode: AlphaMode = "OPAQUE"
    alpha_cutoff: float = 0.5
    double_sided: bool = False

    def __post_init__(self) -> None:
        if self.alpha_mode not in get_args(AlphaMode):
            raise MalformedPartError(
                f"{self.name}: alpha_mode must be one of {list(get_args(AlphaMode))}, got {self.alpha_mode!r}"
            )
        if len(self.base_colour_factor) != 4:
            raise MalformedPartError(
                f"{self.name}: base_colour_factor must be four numbers, got {self.base_colour_factor}"
            )
        factors = {
            "roughness": self.roughness,
            "metallic": self.metallic,
            "alpha_cutoff": self.alpha_cutoff,
            **{f"base_colour_factor[{i}]": factor for i, factor in enumerate(self.base_colour_factor)},
        }
        for what, factor in factors.items():
            if not 0 <= factor <= 1:
                raise MalformedPartError(f"{self.name}: {what} must lie between 0 and 1, got {factor}")


@dataclass(frozen=True, eq=False)
class MorphTarget:
    """Displacements that are added at weight 1, of the vertices that it moves; one that moves all names all.

    Attributes:
        name: an ARKit shape, a viseme, or what a game sets it by.
        vertices: i32 [K], which vertices, ascending.
        positions: f32 [K, 3], metres.
        normals: f32 [K, 3], to be added to unit normals; None leaves the normals as they are.
    """

    name: str
    vertices: I32
    positions: F32
    normals: F32 | None


@dataclass(frozen=True, eq=False)
class Skin:
    """The joints that each vertex follows, four at most.

    Attributes:
        joints: u8 [N, 4], of the file's skeleton; 0 in places that are not used.
        weights: f32 [N, 4], rows sum to 1; 0 in places that are not used.
    """

    joints: U8
    weights: F32


@dataclass(frozen=True, eq=False)
class MeshTopology:
    """What a mesh has whoever it belongs to. Its arrays become read-only, because writers encode them once.

    Attributes:
        name: of the mesh and its node; once in a file.
        uv: f32 [N, 2], N vertices.
        levels: triangles i32 [F, 3] of each level of detail, finest first, over the same vertices.
        morphs: all of them with normals, or none.
        skin: None where no joint moves the mesh.
        colours: u8 [N, 4], linear RGBA, multiplies the base colour; None for white.

    Raises:
        MalformedPartError: an array of another dtype or shape, an index without a vertex, a number that is
            not finite, weights that do not sum to 1, or a morph target's name that is there twice.
    """

    name: str
    uv: F32
    levels: tuple[I32, ...]
    morphs: tuple[MorphTarget, ...] = ()
    skin: Skin | None = None
    colours: U8 | None = None

    def __post_init__(self) -> None:
        count = len(self.uv)
        _check(self.name, "uv", self.uv, np.float32, (count, 2))
        if not self.levels:
            raise MalformedPartError(f"{self.name}: no level of detail; at least the finest is needed")
        for level, triangles in enumerate(self.levels):
            self._check_triangles(level, triangles)
        names = [morph.name for morph in self.morphs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise MalformedPartError(f"{self.name}: two morph targets are named {', '.join(twice)}")
        if len({morph.normals is None for morph in self.morphs}) > 1:
            without = [morph.name for morph in self.morphs if morph.normals is None]
            raise MalformedPartError(
                f"{self.name}: the morph targets {', '.join(without)} have no normals, but others have"
            )
        for morph in self.morphs:
            self._check_morph(morph)
        if self.skin is not None:
            self._check_skin(self.skin)
        if self.colours is not None:
            _check(self.name, "colours", self.colours, np.uint8, (count, 4))
        for array in self._arrays():
            array.flags.writeable = False

    def _arrays(self) -> Iterator[npt.NDArray[Any]]:
        yield from (self.uv, *self.levels)
        for morph in self.morphs:
            yield from (morph.vertices, morph.positions)
            if morph.normals is not None:
                yield morph.normals
        if self.skin is not None:
            yield from (self.skin.joints, self.skin.weights)
        if self.colours is not None:
            yield self.colours

    def _check_triangles(self, level: int, triangles: I32) -> None:
        _check(self.name, f"levels[{level}]", triangles, np.int32, (len(triangles), 3))
        if len(triangles) == 0:
            raise MalformedPartError(
                f"{self.name}: levels[{level}] has no triangles; leave out what a mesh has vanished from"
            )
        self._check_vertices(f"levels[{level}]", triangles)

    def _check_morph(self, morph: MorphTarget) -> None:
        what = f"morph target {morph.name}"
        count = len(morph.vertices)
        _check(self.name, f"{what}: vertices", morph.vertices, np.int32, (count,))
        _check(self.name, f"{what}: positions", morph.positions, np.float32, (count, 3))
        if morph.normals is not None:
            _check(self.name, f"{what}: normals", morph.normals, np.float32, (count, 3))
        if count:
            self._check_vertices(what, morph.vertices)
        if (np.diff(morph.vertices) <= 0).any():
            raise MalformedPartError(f"{self.name}: {what}: vertices must ascend, each at most once")

    def _check_skin(self, skin: Skin) -> None:
        _check(self.name, "skin: joints", skin.joints, np.uint8, (len(self.uv), 4))
        _check(self.name, "skin: weights", skin.weights, np.float32, (len(self.uv), 4))
        sums = skin.weights.sum(axis=1)
        wrong = np.flatnonzero((np.abs(sums - 1) > _WEIGHT_TOLERANCE) | (skin.weights < 0).any(axis=1))
        if len(wrong):
            raise MalformedPartError(
                f"{self.name}: skin weights must not be negative and sum to 1, "
                f"got {skin.weights[wrong[0]].tolist()} at vertex {wrong[0]}"
            )

    def _check_vertices(self, what: str, vertices: I32) -> None:
        lowest, highest = int(vertices.min()), int(vertices.max())
        if lowest < 0 or highest >= len(self.uv):
            raise MalformedPartError(
                f"{self.name}: {what} has vertices {lowest} to {highest}, "
                f"the mesh has 0 to {len(self.uv) - 1}"
            )


@dataclass(frozen=True, eq=False)
class MeshPart:
    """One mesh of one avatar.

    Attributes:
        topology: what it has in common with the same part of other avatars.
        positions: f32 [N, 3], head space, metres.
        normals: f32 [N, 3], unit; None for a faceted look, which renderers then compute.
        material: of all its triangles.
        tangents: f32 [N, 4]: the unit direction of u, and 1 or -1, by which normal x tangent is to be
            multiplied to point up in the picture; what a normal texture refers to. None leaves them to
            renderers, which need not agree.

    Raises:
        MalformedPartError: another dtype or shape, a number that is not finite, or tangents or displacements
            of normals for a part without normals.
    """

    topology: MeshTopology
    positions: F32
    normals: F32 | None
    material: Material
    tangents: F32 | None = None

    def __post_init__(self) -> None:
        shape = (len(self.topology.uv), 3)
        _check(self.name, "positions", self.positions, np.float32, shape)
        if self.normals is not None:
            _check(self.name, "normals", self.normals, np.float32, shape)
        elif any(morph.normals is not None for morph in self.topology.morphs):
            raise MalformedPartError(f"{self.name}: morph targets displace normals, but there are none")
        if self.tangents is not None:
            _check(self.name, "tangents", self.tangents, np.float32, (len(self.positions), 4))
            if self.normals is None:
                raise MalformedPartError(f"{self.name}: tangents without normals")
            if (np.abs(self.tangents[:, 3]) != 1).any():
                raise MalformedPartError(f"{self.name}: the last number of a tangent must be 1 or -1")

    @property
    def name(self) -> str:
        """Of the mesh and its node."""
        return self.topology.name


@dataclass(frozen=True, eq=False)
class Skeleton:
    """The joints of one avatar at rest.

    Attributes:
        names: J joints.
        parents: parent of each joint, -1 for the first, which is the only root.
        positions: f32 [J, 3], head space, metres.

    Raises:
        MalformedPartError: another dtype or shape, a number that is not finite, or a joint whose parent does
            not come before it.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    positions: F32

    def __post_init__(self) -> None:
        _check("skeleton", "positions", self.positions, np.float32, (len(self.names), 3))
        if len(self.parents) != len(self.names) or not self.names:
            raise MalformedPartError(f"skeleton: {len(self.names)} joints with {len(self.parents)} parents")
        for joint, parent in enumerate(self.parents):
            if parent >= joint or (parent < 0) != (joint == 0) or parent < -1:
                raise MalformedPartError(
                    f"skeleton: joint {joint} ({self.names[joint]}) has parent {parent}; "
                    "the first joint's must be -1, the others' a joint before them"
                )


def triangle_counts(parts: Sequence[MeshPart]) -> list[int]:
    """Triangles of each level of detail, finest first, of the parts that have it."""
    counts = [[len(triangles) for triangles in part.topology.levels] for part in parts]
    return [sum(level) for level in zip_longest(*counts, fillvalue=0)]


def _check(name: str, what: str, array: npt.NDArray[Any], dtype: Any, shape: tuple[int, ...]) -> None:
    """Refuses another dtype or shape, and numbers that are not finite."""
    if array.dtype != dtype or array.shape != shape:
        raise MalformedPartError(
            f"{name}: {what} must be {np.dtype(dtype)} {list(shape)}, got {array.dtype} {list(array.shape)}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        unusable = np.count_nonzero(~np.isfinite(array))
        raise MalformedPartError(f"{name}: {what} has {unusable} numbers that are not finite")
