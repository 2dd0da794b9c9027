"""Stage ``unwrap_texture``: a photo as a UV texture with holes, the prior albedo as one without, and the
photo's light, for the network ``detail_refinement``.

Yang et al. 2021, "Self-supervised High-fidelity and Re-renderable 3D Facial Reconstruction from a Single
Image", section 4.2; what is done otherwise:

- pixels are not sampled at projected vertices and then projected to UV: each texel looks at the photo;
- unseen texels are Gaussian noise, as in the paper, but of one seed: equal photos give equal textures;
- unseen is also what is not the person, and what is seen at a slant: there a fit that is a millimetre off
  smears hair and background over the cheek.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facewright.appearance.head_template import head_template
from facewright.appearance.photo_view import FacePhoto
from facewright.appearance.seen_face import FaceSeer
from facewright.appearance.texel_layout import TexelPoints, padded_texel_map
from facewright.core.arrays import Floats
from facewright.core.clock import LapClock
from facewright.core.colour import srgb_from_linear
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.pipelines.tensors import UV_MAP_SIZE
from facewright.texture.bake_settings import BakeSettings
from facewright_client.contract import ErrorCode

#: Of the noise where nothing is seen.
NOISE_MEAN: Final = 0.5
NOISE_SIGMA: Final = 0.25
#: A texel whose normal is this far from the viewing ray, a cosine, is not seen.
LEAST_FACING: Final = 0.12


@dataclass(frozen=True)
class UnwrappedTexture:
    """What the stage ``unwrap_texture`` gives.

    Attributes:
        texture: f32 ``[3, 256, 256]``, sRGB-encoded, 0-1; Gaussian noise where nothing is seen.
        prior_albedo: f32 ``[3, 256, 256]``, sRGB-encoded, 0-1; complete.
        sh_light: f32 ``[9, 3]``, the photo's light, head space, such that the face is lit by 1 on average.
        seen: bool ``[256, 256]``, where the texture is the photo.
        seen_share: of the face's texels, 0-1.
    """

    texture: Floats
    prior_albedo: Floats
    sh_light: Floats
    seen: NDArray[np.bool_]
    seen_share: float


class TextureUnwrapper:
    """Unwraps photos onto one head model's UV.

    Args:
        head: the head model that the fits are of.
        settings: of what counts as seen, of light and of skin; the bake's.
    """

    def __init__(self, head: HeadModel, settings: BakeSettings | None = None) -> None:
        self.head = head
        settings = settings or BakeSettings()
        self.points = TexelPoints(head, padded_texel_map(head, UV_MAP_SIZE))
        self._seer = FaceSeer(head, settings)
        self._template = head_template(head, settings.template)
        self._face = self.points.interpolate(head.region("face"))
        noise = np.random.Generator(np.random.PCG64(0)).standard_normal((UV_MAP_SIZE**2, 3), np.float32)
        self._noise = np.clip(NOISE_MEAN + NOISE_SIGMA * noise, 0.0, 1.0)

    def unwrap(
        self,
        photo: FacePhoto,
        intrinsics: Floats,
        head_to_camera: Floats,
        fitted_vertices: Floats,
        vertex_albedo: Floats | None = None,
        clock: LapClock | None = None,
    ) -> UnwrappedTexture:
        """The textures of one photo; equal inputs give equal bytes.

        Args:
            photo: the crop around the face.
            intrinsics: f32 ``[3, 3]``, crop pixels.
            head_to_camera: f32 ``[3, 4]``, metres.
            fitted_vertices: f32 ``[V, 3]``, head space, as in the photo.
            vertex_albedo: f32 ``[V, 3]``, linear: the prior. None: that of a generic head with the skin's
                tone in the photo.
            clock: told of each step; ends the work by raising.

        Raises:
            FacewrightError: INTERNAL for wrong shapes or numbers that are not finite.
        """
        self._check(intrinsics, head_to_camera, fitted_vertices, vertex_albedo)
        seen_face = self._seer.see(photo, intrinsics, head_to_camera, fitted_vertices, clock or LapClock())
        light = seen_face.light
        if vertex_albedo is None:
            inner = self._template.inner[:, None]
            vertex_albedo = (1.0 - inner) * self._template.tint * light.tone
            vertex_albedo = vertex_albedo + inner * self._template.inner_colour
        looked = seen_face.view.look(self.points.texels, seen_face.fitted, seen_face.normals)
        seen = (looked.visible > 0.5) & (looked.facing > LEAST_FACING)
        texture = np.where(seen[:, None], _encoded(looked.colour), self._noise)
        face = float((self._face * seen).sum()) / max(float(self._face.sum()), 1e-6)
        prior = _map(_encoded(self.points.interpolate(vertex_albedo)))
        seen_texels = seen.reshape(UV_MAP_SIZE, UV_MAP_SIZE)
        return UnwrappedTexture(_map(texture), prior, seen_face.sh_light, seen_texels, face)

    def _check(
        self,
        intrinsics: Floats,
        head_to_camera: Floats,
        fitted_vertices: Floats,
        vertex_albedo: Floats | None,
    ) -> None:
        places = self.head.vertices_mean.shape
        for name, value, shape in (
            ("intrinsics", intrinsics, (3, 3)),
            ("head_to_camera", head_to_camera, (3, 4)),
            ("fitted_vertices", fitted_vertices, places),
            ("vertex_albedo", vertex_albedo, places),
        ):
            if value is None:
                continue
            if value.shape != shape:
                raise _bad_input(f"{name} has shape {list(value.shape)}, expected {list(shape)}")
            if not np.isfinite(value).all():
                wrong = int((~np.isfinite(value)).sum())
                raise _bad_input(f"{name} holds {wrong} numbers that are not finite")


def _map(colours: Floats) -> Floats:
    """``[N, 3]`` of the texels → ``[3, 256, 256]``."""
    planes: Floats = np.ascontiguousarray(colours.reshape(UV_MAP_SIZE, UV_MAP_SIZE, 3).transpose(2, 0, 1))
    return planes


def _encoded(linear: Floats) -> Floats:
    """sRGB, 0-1, of linear light."""
    encoded: Floats = srgb_from_linear(linear).astype(np.float32) / np.float32(255)
    return encoded


def _bad_input(message: str) -> FacewrightError:
    hint = "pass the outputs of find_face and fit_head unchanged"
    return FacewrightError(ErrorCode.INTERNAL, message, hint, stage="unwrap_texture")
