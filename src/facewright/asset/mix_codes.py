"""Stage ``mix_codes``: people between several people, by the latents in their codes.

Luo et al. 2021 (normalized), fig. 17: latents of two people are mixed, and the generator says what lies
between. What each avatar has beside the generator's maps (the fit's share of its form, fine structure of its
texture) is mixed by the same shares, so that with one share of 1 it is that avatar.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facewright.code.avatar_code import AvatarCode
from facewright.code.code_file import read_code, split_codes
from facewright.core.arrays import Floats
from facewright.core.clock import LapClock
from facewright.core.colour import linear_from_srgb, srgb_from_linear
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.pipelines.section import Section
from facewright.pipelines.tensors import CODE_TEXTURE_SIZES
from facewright.pipelines.twin import HEAD
from facewright.refine.maps import MapReader
from facewright.texture.encoding import encode_texture
from facewright.texture.merge_textures import decoded_texture, enlarged, resized
from facewright_client.contract import EXPRESSION_SIZE, ErrorCode

#: Shares as they are written: Python's float() also takes "1_0" and Arabic digits.
_NUMBERS: Final = re.compile(r"[-+0-9.eE,]{1,500}")
#: Added to colours before logarithms, linear.
_FLOOR = np.float32(0.004)


@dataclass(frozen=True)
class MixedAvatar:
    """What the stage gives.

    Attributes:
        w_plus: f32 ``[L, 512]``.
        neutral: f32 ``[V, 3]``, metres, head space.
        identity: f32 ``[160]``.
        expression: f32 ``[52]``, eye_rotation: f32 ``[2, 2]``: all 0.
        sh_light: f32 ``[9, 3]``.
        landmarks: f32 ``[478, 2]``, photo pixels, of the first code.
        texture: encoded.
        first: the first code, of whose photo the camera is.
        section: its part of the report.
    """

    w_plus: Floats
    neutral: Floats
    identity: Floats
    expression: Floats
    eye_rotation: Floats
    sh_light: Floats
    landmarks: Floats
    texture: bytes = field(repr=False)
    first: AvatarCode = field(repr=False)
    section: Section = field(repr=False)


def shares_of(text: str, count: int) -> list[float]:
    """The option ``shares``: one for each of ``count`` codes, brought to a sum of 1; "" is alike for all.

    Raises:
        FacewrightError: BAD_OPTION for other than so many numbers of 0 or more with a sum above 0.
    """
    if not text:
        return [1.0 / count] * count
    try:
        shares = [float(part) for part in text.split(",")] if _NUMBERS.fullmatch(text) else []
    except ValueError:
        shares = []
    total = sum(shares)
    if len(shares) != count or not 0.0 < total < math.inf or min(shares) < 0.0:
        raise FacewrightError(
            ErrorCode.BAD_OPTION,
            f"shares is {text[:64]!r}, and there {'is one code' if count == 1 else f'are {count} codes'}",
            "give a number of 0 or more for each, with commas between, such as "
            + ",".join(["1", *["0.5"] * (count - 1)]),
        )
    return [share / total for share in shares]


class CodeMixer:
    """Mixes codes of one head model and one generator.

    Args:
        head: the head model.
        maps: reads the generator.
    """

    def __init__(self, head: HeadModel, maps: MapReader) -> None:
        self._vertices, self._maps = head.vertex_count, maps

    def mix(
        self,
        codes: bytes,
        models: Mapping[str, str],
        shares: str,
        texture_size: int,
        texture_format: str,
        between_steps: Callable[[], None] = lambda: None,
    ) -> MixedAvatar:
        """One avatar between several.

        Args:
            codes: one after the other, the tensor CODES.
            models: names and sha256 of the files that run: the head model's and the generator's.
            shares: of each, see `shares_of`.
            texture_size: texels per side.
            texture_format: of the texture.
            between_steps: called after each step; ends the work by raising.

        Raises:
            FacewrightError: BAD_CODE: one is none, of another head, or has no latents; ENGINE_MISMATCH: one
                is of other weights; BAD_OPTION for the shares.
        """
        clock = LapClock(between_steps)
        read = [
            read_code(part, models[HEAD.file], self._vertices, f"code {number}")
            for number, part in enumerate(split_codes(codes), 1)
        ]
        share = np.array(shares_of(shares, len(read)), np.float32)
        for number, code in enumerate(read, 1):
            _require_latents(code, number, models)
        clock.lap("read")
        w_plus = _mixed([code.w_plus for code in read], share)
        vertices, albedo = self._maps.read(w_plus)
        own = [self._maps.read(code.w_plus) for code in read]
        neutral = vertices + _mixed(
            [code.neutral_vertices - form for code, (form, _) in zip(read, own, strict=True)], share
        )
        clock.lap("generate")
        side = min(texture_size, CODE_TEXTURE_SIZES[-1])
        texture = _texture([code.texture for code in read], [map for _, map in own], albedo, share, side)
        encoded = encode_texture(enlarged(texture, texture_size), texture_format)
        clock.lap("texture")
        members = {
            "mix": {"shares": [round(float(one), 4) for one in share]},
            "texture": {"size": texture_size, "format": texture_format, "bytes": len(encoded)},
        }
        identity = _mixed([code.identity for code in read], share)
        still = np.zeros(EXPRESSION_SIZE, np.float32)
        section = Section(members, (), clock.milliseconds)
        light = _mixed([code.sh_light for code in read], share)
        ahead = np.zeros((2, 2), np.float32)
        return MixedAvatar(
            w_plus, neutral, identity, still, ahead, light, _landmarks(read[0]), encoded, read[0], section
        )


def _require_latents(code: AvatarCode, number: int, models: Mapping[str, str]) -> None:
    if not code.w_plus.any():
        raise FacewrightError(
            ErrorCode.BAD_CODE,
            f"code {number} has no latents: {code.origin.pipeline} has no generator",
            "make it with avatar_normalized",
        )
    other = [name for name, sha in models.items() if code.origin.models.get(name) != sha]
    if other:
        raise FacewrightError(
            ErrorCode.ENGINE_MISMATCH,
            f"code {number} is of another generator than this server's ({', '.join(other)})",
            "make it anew from the photo, or ask a server that has those weights",
        )


def _landmarks(code: AvatarCode) -> Floats:
    """f32 ``[478, 2]``, photo pixels."""
    to_photo = code.crop_to_photo @ code.landmark_to_crop
    found: Floats = code.network_landmarks[:, :2] @ to_photo[:2, :2].T + to_photo[:2, 2]
    return found.astype(np.float32)


def _mixed(arrays: Sequence[Floats], shares: Floats) -> Floats:
    mixed: Floats = np.tensordot(shares, np.stack(arrays), 1).astype(np.float32)
    return mixed


def _texture(
    textures: Sequence[bytes], own: Sequence[Floats], albedo: Floats, shares: Floats, side: int
) -> NDArray[np.uint8]:
    """sRGB u8 ``[S, S, 3]``: in logarithms, the mixed textures with what the generator changes beside mixing
    albedos f32 ``[3, R, R]``."""
    pictures = [
        np.log(linear_from_srgb(resized(decoded_texture(texture, number), side)) + _FLOOR)
        for number, texture in enumerate(textures, 1)
    ]
    mixed = _mixed(pictures, shares)
    change = np.log(albedo + _FLOOR) - _mixed([np.log(map + _FLOOR) for map in own], shares)
    layers = [
        np.asarray(Image.fromarray(layer.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR))
        for layer in change
    ]
    return srgb_from_linear(np.exp(mixed + np.stack(layers, axis=2)) - _FLOOR)
