"""What one photo shows of a fitted head: its vertices, the light on them, and which of them are the face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facewright.appearance.evidence import (
    Evidence,
    EvidenceSettings,
    PhotoJudge,
    ZoneSettings,
    ZoneWeights,
    estimate_light_and_skin,
    vertex_zones,
)
from facewright.appearance.photo_light import LampSky, PhotoLight, PhotoLightPrior
from facewright.appearance.photo_view import FacePhoto, FittedSurface, PhotoView, Sighting, SightingSettings
from facewright.appearance.skin_model import SkinModel, SkinSettings
from facewright.appearance.surface_diffusion import SurfaceDiffusion
from facewright.appearance.texel_layout import vertex_texel_map
from facewright.core.arrays import Floats
from facewright.core.clock import LapClock
from facewright.core.spherical_harmonics import fit_sh
from facewright.head.head_model import HeadModel
from facewright_client.contract import CROP_SIZE
from facewright_kernels import (
    PinholeCamera,
    interpolate,
    make_vertex_triangles,
    pinhole_clip_positions,
    rasterize,
    vertex_normals,
)

#: Side of a face mask, pixels over the crop.
MASK_SIZE = 256
#: What unseen vertices count where nine bands are fitted to the light of the seen ones.
_UNSEEN = 0.02


class SeeingSettings(Protocol):
    """Numbers by which a face is seen; each is defined beside the code that reads it."""

    @property
    def sighting(self) -> SightingSettings: ...
    @property
    def zones(self) -> ZoneSettings: ...
    @property
    def light(self) -> PhotoLightPrior: ...
    @property
    def skin(self) -> SkinSettings: ...
    @property
    def evidence(self) -> EvidenceSettings: ...


@dataclass(frozen=True)
class SeenFace:
    """A face in its photo.

    Attributes:
        view: the photo as the head's points see it.
        fitted, normals: f32 ``[V, 3]``, head space.
        vertices: the vertices' sighting.
        light: on them.
        skin: how skin looks; None where too little of it is seen.
        evidence: what the photo shows at the vertices.
    """

    view: PhotoView
    fitted: Floats
    normals: Floats
    vertices: Sighting
    light: PhotoLight
    skin: SkinModel | None
    evidence: Evidence

    @property
    def sh_light(self) -> Floats:
        """f32 ``[9, 3]``, the light as nine bands, head space: known where the face is seen."""
        return fit_sh(self.normals, self.light.shade, self.evidence.weight + np.float32(_UNSEEN))


class FaceSeer:
    """Sees faces of one head model.

    Args:
        head: the model that the fits are of.
        settings: how strictly.
    """

    def __init__(self, head: HeadModel, settings: SeeingSettings) -> None:
        self.head, self._settings = head, settings
        skin_triangles = head.triangles[head.part_triangles("skin")]
        self.diffusion = SurfaceDiffusion(skin_triangles, head.vertices_mean)
        self.zones: ZoneWeights = vertex_zones(head, self.diffusion, settings.zones)
        self._sky = LampSky.around(head)
        self._vertex_map = vertex_texel_map(head)
        self._vertex_triangles = make_vertex_triangles(head.triangles, head.vertex_count)
        self._vertices = np.arange(head.vertex_count, dtype=np.int32)
        self._of_face = np.clip(
            sum(head.region(name) for name in ("face", "eyeballs", "mouth_inside")), 0.0, 1.0
        ).astype(np.float32)

    def see(
        self, photo: FacePhoto, intrinsics: Floats, head_to_camera: Floats, fitted: Floats, clock: LapClock
    ) -> SeenFace:
        """A fitted head in its photo.

        Args:
            photo: around the face.
            intrinsics: f32 ``[3, 3]``, crop pixels.
            head_to_camera: f32 ``[3, 4]``, metres.
            fitted: f32 ``[V, 3]``, head space, as in the photo.
            clock: told of each step.
        """
        settings, triangles = self._settings, self.head.triangles
        fitted = np.ascontiguousarray(fitted, np.float32)
        normals = vertex_normals(fitted[None], triangles, self._vertex_triangles)[0]
        surface = FittedSurface(fitted, normals, triangles)
        view = PhotoView(photo, intrinsics, head_to_camera, surface, settings.sighting)
        clock.lap("z_buffer")
        vertices = view.look(self._vertex_map, fitted, normals).at(self._vertices)
        light, skin = estimate_light_and_skin(
            self._sky, vertices, normals, self.zones, settings.light, settings.skin
        )
        clock.lap("light")
        partner, shade = self.head.mirror_vertex, light.shade
        judge = PhotoJudge(settings.evidence, skin)
        evidence = judge.judge(vertices, shade, vertices.at(partner), shade[partner], self.zones)
        return SeenFace(view, fitted, normals, vertices, light, skin, evidence)

    def mask(
        self, seen: SeenFace, intrinsics: Floats, head_to_camera: Floats, person_mask: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Where the photo shows the face and nothing before it: probability x 255, u8 ``[256, 256]``.

        The paper's mask is a segmentation network's (normalized, sec. 3.3: PSPNet); here it is the fitted
        head's, without what lies on the skin and what is not the person.
        """
        crop = np.array([MASK_SIZE / CROP_SIZE] * 2 + [1.0], np.float32)[:, None]
        camera = PinholeCamera(
            np.ascontiguousarray(crop * intrinsics)[None], head_to_camera[None], MASK_SIZE, MASK_SIZE
        )
        clip = pinhole_clip_positions(seen.fitted[None], camera)
        raster = rasterize(clip, self.head.triangles, MASK_SIZE, MASK_SIZE, cull_back_faces=True)
        face = (self._of_face * (1.0 - seen.evidence.occluded)).astype(np.float32)
        shown = interpolate(face[None, :, None], self.head.triangles, raster)[0, :, :, 0]
        mask: NDArray[np.uint8] = (np.clip(shown, 0.0, 1.0) * person_mask + 0.5).astype(np.uint8)
        return mask
