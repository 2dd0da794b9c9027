"""Stage ``package_avatar``: everything known about the person into one GLB and one report."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from facewright.asset.gltf import write_glb
from facewright.asset.gltf_mesh import encoded_mesh
from facewright.asset.head_meshes import HeadMesh, MeshOptions, head_meshes, head_parts, head_skeleton
from facewright.asset.report import (
    AvatarReport,
    Report,
    build_report,
    fit_report,
    photo_report,
    texture_report,
)
from facewright.asset.visemes import VISEMES
from facewright.core.errors import FacewrightError
from facewright.core.mesh_part import MalformedPartError, Texture, triangle_counts
from facewright.core.provenance import Provenance
from facewright.fit.fit_info import FitInfo
from facewright.head.head_model import HeadModel
from facewright.photo.photo_info import PhotoInfo
from facewright.texture.texture_info import TextureInfo
from facewright_client.contract import ErrorCode
from facewright_kernels import VertexTriangles, make_vertex_triangles, vertex_normals

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class AvatarParts:
    """What the earlier stages found out; the fields are the contract's tensors.

    Attributes:
        neutral_vertices: f32 [V, 3], head space, metres, without expression.
        identity: f32 [160].
        expression: f32 [52], 0-1, of the photo.
        texture: encoded albedo.
        sh_light: f32 [9, 3], the photo's light.
        photo_info: the photo, and which face of it.
        fit_info: what the fit says about itself; carries the request's options.
        texture_info: what the texture says about itself.
    """

    neutral_vertices: F32
    identity: F32
    expression: F32
    texture: bytes
    sh_light: F32
    photo_info: PhotoInfo
    fit_info: FitInfo
    texture_info: TextureInfo


@dataclass(frozen=True)
class AvatarPackager:
    """Packs avatars of one head model; what all of them share is built once per set of options.

    Attributes:
        head: topology, morph targets, skinning.
        provenance: written into reports and files.
    """

    head: HeadModel
    provenance: Provenance = field(default_factory=Provenance)
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

    def package(self, avatar: AvatarParts) -> tuple[bytes, Report]:
        """The GLB's bytes and the report.

        Raises:
            FacewrightError: INTERNAL when an earlier stage handed over numbers that are not finite, another
                head's vertices, or a texture that is not in the format it is said to be.
        """
        started = time.perf_counter()
        vertices = self._checked(avatar)
        wanted = avatar.fit_info.options
        meshes = self.meshes(MeshOptions(lods=wanted["lods"], visemes=wanted["visemes"]))
        normals = vertex_normals(vertices[None], self.head.triangles, self._around)[0]
        try:
            albedo = Texture("albedo", avatar.texture, avatar.texture_info.format)
            parts = head_parts(meshes, vertices, normals, albedo)
            glb = write_glb(parts, head_skeleton(self.head, vertices), self._asset())
        except MalformedPartError as error:
            raise _unusable(str(error)) from error
        contents: AvatarReport = {
            "bytes": len(glb),
            "triangles": triangle_counts(parts),
            "vertices": sum(len(part.positions) for part in parts),
            "morph_targets": len({morph.name for part in parts for morph in part.topology.morphs}),
            "joints": [str(name) for name in self.head.joint_names],
        }
        sections = (
            photo_report(avatar.photo_info),
            fit_report(avatar.fit_info, avatar.identity, avatar.expression, self._names()),
            texture_report(avatar.texture_info, avatar.sh_light, len(avatar.texture)),
            contents,
        )
        spent = {
            "write": (time.perf_counter() - started) * 1e3,
            "since_accepted": (time.time() - avatar.photo_info.accepted_unix_s) * 1e3,
        }
        return glb, build_report(self.provenance, avatar.fit_info, avatar.texture_info, sections, spent)

    def _names(self) -> list[str]:
        return [str(name) for name in self.head.expression_names]

    def _checked(self, avatar: AvatarParts) -> F32:
        vertices = np.ascontiguousarray(avatar.neutral_vertices, np.float32)
        if vertices.shape != self.head.vertices_mean.shape:
            raise _unusable(
                f"NEUTRAL_VERTICES has shape {vertices.shape}, not {self.head.vertices_mean.shape}"
            )
        for name, values in (
            ("NEUTRAL_VERTICES", vertices),
            ("IDENTITY", avatar.identity),
            ("EXPRESSION", avatar.expression),
            ("SH_LIGHT", avatar.sh_light),
        ):
            if not np.isfinite(values).all():
                raise _unusable(
                    f"{name} has {np.count_nonzero(~np.isfinite(values))} values that are not finite"
                )
        return vertices

    def _asset(self) -> dict[str, Any]:
        """glTF's ``asset``: where the file comes from, and how visemes follow from the expressions."""
        made_with = self.provenance
        return {
            "generator": made_with.generator,
            "extras": {
                "pipeline": made_with.pipeline,
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
