"""Stage ``package_avatar``: a person's shape and texture into one GLB."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from facewright.asset.gltf import write_glb
from facewright.asset.gltf_mesh import encoded_mesh
from facewright.asset.head_meshes import HeadMesh, MeshOptions, head_meshes, head_parts, head_skeleton
from facewright.asset.report import AvatarSection
from facewright.asset.visemes import VISEMES
from facewright.core.errors import FacewrightError
from facewright.core.mesh_part import MalformedPartError, Texture, triangle_counts
from facewright.head.head_model import HeadModel
from facewright.pipelines.request import Request
from facewright.pipelines.section import Section
from facewright_client.contract import ErrorCode
from facewright_kernels import VertexTriangles, make_vertex_triangles, vertex_normals

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PackedAvatar:
    """A file, and what it holds.

    Attributes:
        glb: its bytes.
        section: the packager's part of the report.
    """

    glb: bytes
    section: Section


@dataclass(frozen=True)
class AvatarPackager:
    """Packs avatars of one head model; what all of them share is built once per set of options.

    Attributes:
        head: topology, morph targets, skinning.
    """

    head: HeadModel
    _meshes: dict[MeshOptions, tuple[HeadMesh, ...]] = field(default_factory=dict, init=False, repr=False)
    _around: VertexTriangles = field(init=False, repr=False)

    def __post_init__(self) -> None:
        around = make_vertex_triangles(self.head.triangles, self.head.vertex_count)
        object.__setattr__(self, "_around", around)
        for mesh in self.meshes(MeshOptions()):
            encoded_mesh(mesh.topology)  # the default options' first avatar is as fast as the others

    def meshes(self, options: MeshOptions) -> tuple[HeadMesh, ...]:
        """The head's meshes with these options (at most six are kept, of about 5 MB with their encoding)."""
        if options not in self._meshes:
            self._meshes[options] = head_meshes(self.head, options)
        return self._meshes[options]

    def package(self, neutral_vertices: F32, texture: bytes, request: Request) -> PackedAvatar:
        """One person's file.

        Args:
            neutral_vertices: f32 [V, 3], head space, metres, without expression.
            texture: encoded albedo: JPEG, PNG or WebP.
            request: whose options ``lods`` and ``visemes`` count, and whose provenance is written into the
                file.

        Raises:
            FacewrightError: INTERNAL when an earlier stage handed over numbers that are not finite, another
                head's vertices, or a texture that is no such picture.
        """
        started = time.perf_counter()
        vertices = self._checked(neutral_vertices)
        wanted = request.options
        meshes = self.meshes(MeshOptions(lods=int(wanted["lods"]), visemes=bool(wanted["visemes"])))
        normals = vertex_normals(vertices[None], self.head.triangles, self._around)[0]
        try:
            parts = head_parts(meshes, vertices, normals, Texture.of_file("albedo", texture))
            glb = write_glb(parts, head_skeleton(self.head, vertices), _asset(request))
        except MalformedPartError as error:
            raise _unusable(str(error)) from error
        members: AvatarSection = {
            "avatar": {
                "bytes": len(glb),
                "triangles": triangle_counts(parts),
                "vertices": sum(len(part.positions) for part in parts),
                "morph_targets": len({morph.name for part in parts for morph in part.topology.morphs}),
                "joints": [str(name) for name in self.head.joint_names],
            }
        }
        spent = {
            "write": (time.perf_counter() - started) * 1e3,
            "since_accepted": (time.time() - request.accepted_unix_s) * 1e3,
        }
        return PackedAvatar(glb, Section(members, milliseconds=spent))

    def _checked(self, neutral_vertices: F32) -> F32:
        vertices = np.ascontiguousarray(neutral_vertices, np.float32)
        if vertices.shape != self.head.vertices_mean.shape:
            raise _unusable(
                f"NEUTRAL_VERTICES has shape {vertices.shape}, not {self.head.vertices_mean.shape}"
            )
        lost = np.count_nonzero(~np.isfinite(vertices))
        if lost:
            raise _unusable(f"NEUTRAL_VERTICES has {lost} values that are not finite")
        return vertices


def _asset(request: Request) -> dict[str, Any]:
    """glTF's ``asset``: where the file comes from, and how visemes follow from the expressions."""
    made_with = request.provenance
    return {
        "generator": made_with.generator,
        "extras": {
            "pipeline": request.pipeline,
            "version": made_with.version,
            "models": dict(made_with.models),
            "licences": dict(made_with.licences),
            "visemes": {name: dict(weights) for name, weights in VISEMES.items()},
        },
    }


def _unusable(what: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.INTERNAL,
        what,
        "report this with the server's log: an earlier stage made it",
        "package_avatar",
    )
