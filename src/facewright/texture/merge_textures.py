"""Several photos' textures of one person to one: the appearance of the stage ``merge_photos``.

Each texture comes with what its photo shows of every texel (TEXEL_CONFIDENCE). They are brought to one tone,
then blended: the coarse colours over all photos by confidence, fine structure of the photo that shows it
best, because brows and lashes that lie a millimetre apart would blur (multi-band blending: Burt and Adelson,
"A multiresolution spline with application to image mosaics", 1983). What no photo shows is the reference's.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from facewright.appearance.skin_model import smooth_step
from facewright.appearance.texel_layout import TexelPoints, padded_texel_map
from facewright.code.avatar_code import AvatarCode
from facewright.core.arrays import Floats
from facewright.core.colour import linear_from_srgb, srgb_from_linear
from facewright.core.errors import FacewrightError
from facewright.head.hairline import hair_growth
from facewright.head.head_model import HeadModel
from facewright.pipelines.tensors import TEXEL_CONFIDENCE
from facewright_client.contract import ErrorCode

#: Side of the textures in which tones are compared and weights made.
_SIDE: Final = TEXEL_CONFIDENCE.shape[-1]
#: Confidence from which a texel bears witness of its photo's tone, and the fewest such texels of two photos.
_WITNESS: Final = 0.3
_FEWEST_WITNESSES: Final = 300
#: Bounds of a gain: more is another person, or light that no gain undoes.
_GAIN: Final = (0.4, 2.5)
#: Pull of a gain to 1, of the witnesses of a pair: holds photos that share too few texels with the others.
_PULL: Final = 0.02
#: Share of a mirrored texel's confidence, and the reference's everywhere: what another photo shows at a slant
#: is no better than what is continued.
_MIRRORED: Final = 0.3
_FILLED: Final = 0.2
#: Exponents of confidence where coarse colours are blended, and where fine structure is chosen.
_COARSE_POWER: Final = 2.0
_FINE_POWER: Final = 6.0
#: How much the reference is preferred for fine structure: whole features, of one photo.
_PREFERRED: Final = 1.25
#: Distances to the hairline, metres, between which the reference alone begins to count: hair, and the ears
#: that it covers or does not, are of one photo.
_HAIRLINE: Final = (-0.012, 0.002)
#: Weights have no hard border: they are blurred by this, texels.
_SOFT: Final = 1.5
#: Structure finer than this is fine, of the texture's side.
_FINE: Final = 1 / 128
#: ln of colour by which a photo differs from the others where it counts half: hair, hands and highlights.
_UNLIKE: Final = 0.25
#: Texels: structure finer than this says whose face it is, and what is coarser is the light's as well.
_STRUCTURE: Final = 8.0
#: Correlation that counts where two photos share too few texels: the median of one person's photos.
_UNKNOWN_LIKENESS: Final = 0.64
_FLOOR: Final = 0.004


@dataclass(frozen=True)
class MergedTexture:
    """What photos show together.

    Attributes:
        texture: sRGB u8 ``[S, S, 3]``.
        seen: share of each photo in the coarse colours of what any photo shows, 0-1.
        gains: f32 ``[N, 3]``, what each photo's linear colours were multiplied with.
        likeness: of each photo, the mean correlation of its fine structure with the others', -1 to 1.
    """

    texture: NDArray[np.uint8]
    seen: list[float]
    gains: Floats
    likeness: list[float]


class TextureMerger:
    """Merges textures of one head model.

    Args:
        head: the head model.
    """

    def __init__(self, head: HeadModel) -> None:
        points = TexelPoints(head, padded_texel_map(head, _SIDE))
        growth = points.interpolate(hair_growth(head.vertices_canonical))
        face = (1.0 - smooth_step(growth, *_HAIRLINE)) * (1.0 - points.interpolate(head.region("ears")))
        self._face = (face * points.covered).reshape(_SIDE, _SIDE).astype(np.float32)

    def merge(self, codes: Sequence[AvatarCode], reference: int, size: int) -> MergedTexture:
        """One texture of several.

        Args:
            codes: of one person's photos.
            reference: the photo whose eyes, hair and whatever no photo shows are taken.
            size: texels per side.

        Raises:
            FacewrightError: BAD_CODE: a texture cannot be decoded.
        """
        files = [decoded_texture(code.texture, number) for number, code in enumerate(codes, 1)]
        pictures = [linear_from_srgb(resized(file, size)) for file in files]
        confidence = np.stack([code.confidence for code in codes]).astype(np.float32) / 255.0
        others = np.arange(len(codes)) != reference
        confidence[others] *= self._face
        coarse = np.stack([linear_from_srgb(resized(file, _SIDE)) for file in files])
        likeness = _structure_likeness(coarse, confidence[:, 0])
        gains = matched_tones(coarse, confidence[:, 0])
        coarse *= gains[:, None, None]
        weight = _weights(coarse, confidence, reference)
        share = weight / weight.sum(axis=0)
        chosen = weight ** (_FINE_POWER / _COARSE_POWER)
        chosen[reference] *= _PREFERRED**_FINE_POWER
        fine = chosen / chosen.sum(axis=0)

        # Every picture where its fine structure is chosen, less its coarse colours there, plus everybody's.
        low = ndimage.gaussian_filter(coarse, (0.0, _FINE * _SIDE, _FINE * _SIDE, 0.0), mode="nearest")
        blended = _enlarged(((share - fine)[..., None] * low).sum(axis=0), size)
        for picture, gain, own in zip(pictures, gains, fine, strict=True):
            blended += _enlarged(own[..., None], size) * (picture * gain)
        shown = confidence[:, 0].max(axis=0)
        counted = [float((own * shown).sum() / max(float(shown.sum()), 1e-6)) for own in share]
        return MergedTexture(srgb_from_linear(blended), counted, gains, likeness)


def matched_tones(colours: Floats, seen: Floats) -> Floats:
    """Gains f32 ``[N, 3]`` that bring N photos to one tone.

    Between two photos it is the median of the ratio of their colours over what both show; of all pairs
    together the least squares, with a mean of 1 over what each shows.

    Args:
        colours: linear f32 ``[N, S, S, 3]``.
        seen: confidence f32 ``[N, S, S]``.
    """
    count = len(colours)
    logarithms = np.log(np.maximum(colours, 0.0) + np.float32(_FLOOR)).reshape(count, -1, 3)
    seen = seen.reshape(count, -1)
    normal, right = np.eye(count) * _PULL, np.zeros((count, 3))
    for first, second in combinations(range(count), 2):
        both = np.flatnonzero(np.minimum(seen[first], seen[second]) > _WITNESS)
        if len(both) < _FEWEST_WITNESSES:
            continue
        ratio = np.median(logarithms[second, both] - logarithms[first, both], axis=0)
        share = len(both) / seen.shape[1]
        normal[[first, second], [first, second]] += share
        normal[[first, second], [second, first]] -= share
        right[first] += share * ratio
        right[second] -= share * ratio
    gains = np.linalg.solve(normal, right)
    shown = np.maximum(seen.sum(axis=1), 1e-6)
    gains -= (shown / shown.sum()) @ gains
    result: Floats = np.clip(np.exp(gains), *_GAIN).astype(np.float32)
    return result


def _weights(coarse: Floats, confidence: Floats, reference: int) -> Floats:
    """Weights f32 ``[N, S, S]`` of the photos' coarse colours."""
    seen, mirrored = confidence[:, 0], confidence[:, 1]
    weight = seen**_COARSE_POWER + (_MIRRORED * mirrored) ** _COARSE_POWER
    weight[reference] += _FILLED**_COARSE_POWER
    weight = ndimage.gaussian_filter(weight, (0.0, _SOFT, _SOFT), mode="nearest") + 1e-8
    logarithms = np.log(coarse + np.float32(_FLOOR))
    robust: Floats = weight
    for _ in range(2):
        mean = (robust[..., None] * logarithms).sum(axis=0) / robust.sum(axis=0)[..., None]
        apart = np.abs(logarithms - mean).mean(axis=-1)
        robust = weight / (1.0 + (apart / _UNLIKE) ** 2)
    return robust


def _structure_likeness(coarse: Floats, seen: Floats) -> list[float]:
    """How alike each photo's fine structure is to the others': brows, lids, lips, folds, moles, in whatever
    light. The mean of the correlations with each other photo, over the face where both show it.

    Args:
        coarse: linear f32 ``[N, S, S, 3]``.
        seen: confidence f32 ``[N, S, S]``.
    """
    logarithms = np.log(coarse + np.float32(_FLOOR)).mean(axis=-1)
    fine = logarithms - ndimage.gaussian_filter(logarithms, (0.0, _STRUCTURE, _STRUCTURE))
    # Less of the camera's noise.
    fine = fine.reshape(len(fine), _SIDE // 2, 2, _SIDE // 2, 2).mean(axis=(2, 4))
    seen = seen.reshape(len(fine), _SIDE // 2, 2, _SIDE // 2, 2).mean(axis=(2, 4))
    alike = np.full((len(fine), len(fine)), np.nan)
    for first, second in combinations(range(len(fine)), 2):
        both = np.minimum(seen[first], seen[second])
        if 4 * np.count_nonzero(both > _WITNESS) < _FEWEST_WITNESSES:
            alike[first, second] = alike[second, first] = _UNKNOWN_LIKENESS
            continue
        weight = both / both.sum()
        one, other = (picture - (weight * picture).sum() for picture in (fine[first], fine[second]))
        scale = np.sqrt((weight * one**2).sum() * (weight * other**2).sum())
        alike[first, second] = alike[second, first] = (weight * one * other).sum() / max(float(scale), 1e-9)
    return [1.0] if len(fine) == 1 else np.nanmean(alike, axis=1).tolist()


def enlarged(texture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A texture u8 ``[S, S, 3]`` at ``size`` texels per side, which may be what it has."""
    return texture if len(texture) == size else resized(Image.fromarray(texture), size)


def decoded_texture(texture: bytes, number: int) -> Image.Image:
    """A code's texture, sRGB."""
    try:
        with Image.open(io.BytesIO(texture), formats=("JPEG",)) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise FacewrightError(
            ErrorCode.BAD_CODE,
            f"code {number} has a texture that cannot be decoded: {error}",
            "send it as it came out of a pipeline",
        ) from None


def resized(picture: Image.Image, size: int) -> NDArray[np.uint8]:
    """A square picture in another size, u8 ``[S, S, 3]``; sides are powers of two."""
    if picture.width > size:
        return np.asarray(picture.reduce(picture.width // size))
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))


def _enlarged(maps: Floats, size: int) -> Floats:
    """Maps f32 ``[S, S, C]`` of those of 256 x 256."""
    layers = [
        np.asarray(Image.fromarray(layer).resize((size, size), Image.Resampling.BILINEAR))
        for layer in np.ascontiguousarray(np.moveaxis(maps, -1, 0), np.float32)
    ]
    return np.stack(layers, axis=-1)
