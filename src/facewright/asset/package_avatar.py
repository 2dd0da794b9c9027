"""Stage ``package_avatar``: a person's shape and texture into one GLB."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from facewright.asset.gltf import AvatarGeometry, EncodedTexture, picture_format, write_glb
from facewright.asset.gltf_layout import AvatarLayout, LayoutOptions, avatar_layout
from facewright.asset.report import AvatarSection
from facewright.asset.visemes import VISEMES
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.pipelines.request import Request
from facewright.pipelines.section import Section
from facewright_client.contract import ErrorCode
from facewright_kernels import vertex_normals

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
    _layouts: dict[LayoutOptions, AvatarLayout] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.layout(LayoutOptions())  # the default options' first avatar is as fast as the others

    def layout(self, options: LayoutOptions) -> AvatarLayout:
        """The constant part of files with these options (at most six of about 2.5 MB are kept)."""
        if options not in self._layouts:
            self._layouts[options] = avatar_layout(self.head, options)
        return self._layouts[options]

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
        layout = self.layout(LayoutOptions(lods=int(wanted["lods"]), visemes=bool(wanted["visemes"])))
        try:
            encoded = EncodedTexture(texture, picture_format(texture))
        except ValueError as error:
            raise _unusable(str(error)) from error
        geometry = AvatarGeometry(
            vertices, vertex_normals(vertices[None], self.head.triangles)[0], self.head.joints(vertices)
        )
        glb = write_glb(layout, geometry, encoded, _asset(request))
        members: AvatarSection = {
            "avatar": {
                "bytes": len(glb),
                "triangles": list(layout.triangle_counts),
                "vertices": len(layout.vertex),
                "morph_targets": len(layout.morph_names),
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
