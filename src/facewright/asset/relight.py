"""Stage ``relight_avatar``: an avatar in another light, by its code (rerenderable, fig. 3).

Light is nine bands of spherical harmonics: given as such, taken from another avatar's code, or of an
environment: an equirectangular picture around the head. Its middle is what the face looks at, its upper edge
is above, and its left half is on the subject's left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facewright.appearance.texel_layout import TexelPoints, padded_texel_map
from facewright.code.avatar_code import AvatarCode
from facewright.code.code_file import read_code, split_codes
from facewright.core.arrays import Floats
from facewright.core.colour import linear_from_srgb, srgb_from_linear
from facewright.core.errors import FacewrightError
from facewright.core.spherical_harmonics import sh_basis
from facewright.head.head_model import HeadModel
from facewright.photo.photo import decode_photo
from facewright.render.light import COSINE_LOBE, Light
from facewright.render.preview_sheet import encode_png
from facewright.render.render_head import HeadRenderer, View
from facewright.texture.merge_textures import decoded_texture
from facewright_client.contract import ErrorCode
from facewright_kernels import make_vertex_triangles, vertex_normals

U8 = NDArray[np.uint8]

#: Sides at which an environment is looked at: nine bands hold no finer light.
_WIDTH, _HEIGHT = 128, 64
#: The largest coefficient of a light that is asked for.
_BRIGHTEST: Final = 1e3
#: Behind the head, linear.
_BACKGROUND: Final = (0.02, 0.02, 0.022)
#: Texels per side where the shade on a texture is found.
_SHADE_SIZE: Final = 256


@dataclass(frozen=True)
class Relit:
    """What the stage gives.

    Attributes:
        picture: PNG of the avatar in the light.
        texture: PNG of its texture times the light, sRGB: for engines that light nothing themselves.
        sh_light: f32 ``[9, 3]``, the light.
    """

    picture: bytes = field(repr=False)
    texture: bytes = field(repr=False)
    sh_light: Floats


@dataclass(frozen=True)
class AskedLight:
    """In which light an avatar is wanted: one of these, or its own photo's.

    Attributes:
        sh_light: f32 ``[9, 3]``.
        environment: an encoded picture.
    """

    sh_light: Floats | None = None
    environment: bytes | None = None

    def found(self, codes: Sequence[AvatarCode]) -> Floats:
        """The light f32 ``[9, 3]``; with a second code, that one's.

        Raises:
            FacewrightError: BAD_OPTION where there are several; as `light_of_environment`.
        """
        given = [len(codes) > 1, self.sh_light is not None, self.environment is not None]
        if sum(given) > 1 or len(codes) > 2:
            raise FacewrightError(
                ErrorCode.BAD_OPTION,
                "there are several lights",
                "send one: a second code, LIGHT or ENVIRONMENT; none is the light of the avatar's own photo",
            )
        if self.environment is not None:
            return light_of_environment(self.environment)
        if self.sh_light is not None:
            if not np.isfinite(self.sh_light).all() or np.abs(self.sh_light).max() > _BRIGHTEST:
                raise FacewrightError(
                    ErrorCode.BAD_OPTION,
                    "LIGHT holds numbers that are not finite, or too large",
                    f"send nine bands of three colours of at most {_BRIGHTEST:g}",
                )
            return self.sh_light
        return codes[-1].sh_light


class Relighter:
    """Lights avatars of one head model.

    Args:
        head: the head model.
    """

    def __init__(self, head: HeadModel) -> None:
        self._head = head
        self._points = TexelPoints(head, padded_texel_map(head, _SHADE_SIZE))
        self._around = make_vertex_triangles(head.triangles, head.vertex_count)

    def relight(self, codes: bytes, head_sha256: str, asked: AskedLight, yaw: float, size: int) -> Relit:
        """An avatar in a light.

        Args:
            codes: the avatar's, and where its light is wanted another one's: the tensor CODES.
            head_sha256: of the head model's file.
            asked: the light.
            yaw: of the head in the picture, degrees.
            size: of the picture, pixels.

        Raises:
            FacewrightError: BAD_CODE: one is none, or of another head; as `AskedLight.found`.
        """
        read = [
            read_code(part, head_sha256, self._head.vertex_count, f"code {number}")
            for number, part in enumerate(split_codes(codes), 1)
        ]
        code, sh_light = read[0], asked.found(read)
        texture = np.asarray(decoded_texture(code.texture, 1))
        vertices = code.neutral_vertices
        view = View.turned(yaw, size=size)
        drawn = HeadRenderer(self._head, texture).render(vertices, view, Light(sh_light), supersample=2)
        picture = encode_png(Image.fromarray(drawn.over(_BACKGROUND)))
        shade = self._shade(vertices, sh_light, len(texture))
        relit = srgb_from_linear(linear_from_srgb(texture) * shade)
        return Relit(picture, encode_png(Image.fromarray(relit)), sh_light)

    def _shade(self, vertices: Floats, sh_light: Floats, size: int) -> Floats:
        """The light on each texel's normal, f32 ``[S, S, 3]``; 1 beside the islands."""
        normals = vertex_normals(vertices[None], self._head.triangles, self._around)[0]
        shade = np.maximum(sh_basis(normals) @ sh_light, 0.0).astype(np.float32)
        texels = self._points.interpolate(shade)
        texels[~self._points.covered] = 1.0
        layers = texels.reshape(_SHADE_SIZE, _SHADE_SIZE, 3).transpose(2, 0, 1)
        enlarged = [
            np.asarray(Image.fromarray(layer).resize((size, size), Image.Resampling.BILINEAR))
            for layer in layers
        ]
        return np.stack(enlarged, axis=2)


def light_of_environment(encoded: bytes) -> Floats:
    """f32 ``[9, 3]``, convolved with the cosine lobe, of an encoded equirectangular picture, sRGB.

    Each direction counts by its solid angle (Ramamoorthi and Hanrahan 2001, eq. 3 and 8); a picture that is
    white everywhere is a light of 1.

    Raises:
        FacewrightError: BAD_PHOTO or PHOTO_TOO_LARGE as of a photo, or it is not twice as wide as high.
    """
    try:
        photo = decode_photo(encoded, enough_side=4 * _WIDTH)
    except FacewrightError as error:
        raise FacewrightError(
            error.code,
            error.message.replace("the photo", "the environment"),
            "give an equirectangular JPEG, PNG, WebP or AVIF of 128 x 64 to 8192 x 4096 pixels",
        ) from None
    width, height = photo.width, photo.height
    if not 1.9 < width / height < 2.1:
        raise FacewrightError(
            ErrorCode.BAD_PHOTO,
            f"the environment has {width} x {height} pixels",
            "give an equirectangular picture: twice as wide as high",
        )
    linear = [
        np.asarray(Image.fromarray(layer).resize((_WIDTH, _HEIGHT), Image.Resampling.BOX))
        for layer in linear_from_srgb(np.asarray(photo.overview(4 * _WIDTH)[0])).transpose(2, 0, 1)
    ]
    radiance = np.stack(linear, axis=2).astype(np.float64)
    polar = np.pi * (np.arange(_HEIGHT) + 0.5) / _HEIGHT
    # Left of the middle is the subject's left, +x.
    around = np.pi * (1.0 - 2.0 * (np.arange(_WIDTH) + 0.5) / _WIDTH)
    sine, up = np.sin(polar)[:, None], np.cos(polar)[:, None]
    directions = np.stack(
        np.broadcast_arrays(sine * np.sin(around), up, sine * np.cos(around)), axis=2
    ).astype(np.float32)
    solid = sine * (2.0 * np.pi / _WIDTH) * (np.pi / _HEIGHT)
    bands = np.einsum("yxk,yxc->kc", sh_basis(directions) * solid[:, :, None], radiance)
    # Radiance of a white surface: irradiance over pi.
    light: Floats = (bands * COSINE_LOBE[:, None] / np.pi).astype(np.float32)
    return light
