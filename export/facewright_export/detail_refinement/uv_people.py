"""Synthetic people's photos unwrapped onto the head, beside the albedo and the light that are true there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from facewright.appearance.photo_view import FacePhoto
from facewright.core.colour import LUMINANCE, linear_from_srgb, srgb_from_linear
from facewright.head.head_model import HeadModel
from facewright.photo.face_crop import CROP_SCALE
from facewright.pipelines.tensors import MESH_COUNT, UV_MAP_SIZE
from facewright.texture.unwrap_texture import TextureUnwrapper
from facewright_client.contract import IDENTITY_SIZE
from facewright_export.people import scene
from facewright_export.people.cameras import Framing
from facewright_export.people.people_generator import PeopleGenerator, PersonPhoto

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

#: Side of the photos, pixels: that of the image in which a real photo's colours are looked up.
PHOTO_SIDE: Final = 256
#: As FACE_CROP frames a face, and heads turned as far as portraits turn them.
FRAMING: Final = Framing(scale=CROP_SCALE, scale_sigma=0.06, shift_sigma=0.015, yaw_sigma=24.0)
#: Where truths are compared: each of its texels has 2 x 2 of the map.
TRUTH_SIDE: Final = UV_MAP_SIZE // 2
#: ln of light is kept in bytes: from here, in these steps.
LN_LIGHT_LOW: Final = -4.0
LN_LIGHT_STEP: Final = 1 / 40
#: ln of the tone that a photo seems to have over the true one, on average over synthetic people, and the
#: share of what their photos differ from that, in luminance and in hue, that they keep: ln of the tone of one
#: person's real photos (151 of 38 people) has a standard deviation of .22 and .15, of synthetic people's .38
#: and .15. Were they left so, a network would take nobody's tone for his own.
_TONE_USUALLY_WRONG: Final = (-0.137, -0.112, -0.079)
_TONE_KEPT: Final = (0.65, 0.9)
#: ln that pale skin's colours are brought nearer to those of real photos by, and how far that varies: of
#: pale synthetic people ln R/G and ln B/G are .48 and -.18, in 151 real photos .64 and -.35 on average.
_WARMER: Final = (0.08, 0.0, -0.13)
_WARMTH_SIGMA: Final = (0.03, 0.0, 0.06)
#: What a fit is wrong by: of the form, standard deviations; of landmarks, metres; share of the landmarks'
#: displacement in the image that the fit takes back, and the reach of one, metres.
_FORM_ERROR: Final = 0.8
_LANDMARK_ERROR: Final = 0.001
_TAKEN_BACK: Final = 0.9
_LANDMARK_REACH: Final = 0.012


@dataclass(frozen=True)
class UvSample:
    """One photo, unwrapped, and what is true of it; colours are sRGB.

    Attributes:
        texture: uint8 [3, 256, 256], noise where nothing is seen.
        prior_albedo: uint8 [3, 128, 128], of a generic head of the tone that the photo seems to show.
        sh_light: float32 [9, 3], as estimated from the photo.
        albedo: uint8 [3, 128, 128], true, darker in folds and sockets by what they hide of an even sky.
        light: uint8 [3, 128, 128], irradiance so that albedo x light is the radiance without sheen;
            (ln - LN_LIGHT_LOW) / LN_LIGHT_STEP.
        tone: float32 [3], linear albedo of plain skin.
    """

    texture: Bytes
    prior_albedo: Bytes
    sh_light: Floats
    albedo: Bytes
    light: Bytes
    tone: Floats


class UvPeople:
    """Draws samples; person ``i`` of a seed is the same whatever else was drawn.

    Args:
        head: whose people.
        seed: of everything.
    """

    def __init__(self, head: HeadModel, seed: int) -> None:
        self._head, self._seed = head, seed
        self._people = PeopleGenerator(head, seed)
        self._unwrapper = TextureUnwrapper(head)
        self._points = self._unwrapper.points
        self._to_vertices = _landmark_spread(head)

    def samples(self, first: int, count: int) -> Iterator[UvSample]:
        """People ``first`` to ``first + count - 1``."""
        for number, photo in enumerate(self._people.photos(count, PHOTO_SIDE, FRAMING, first), first):
            random = np.random.Generator(np.random.PCG64([self._seed, number, 3]))
            yield self._sample(photo, self._as_fitted(photo.truth.vertices, random), random)

    def _sample(self, photo: PersonPhoto, fitted: Floats, random: np.random.Generator) -> UvSample:
        truth = photo.truth
        mask = np.where(photo.portrait.person, np.uint8(255), np.uint8(0))
        seen = FacePhoto(photo.image, (0, 0, PHOTO_SIDE, PHOTO_SIDE), mask)
        unwrapped = self._unwrapper.unwrap(seen, truth.intrinsics, truth.head_to_camera, fitted)
        albedo, light = self._truth(photo)
        warmth = _warmth(truth.albedo, random)
        gain = _usual_tone(unwrapped.prior_albedo, truth.albedo) * warmth
        texture = np.where(unwrapped.seen, _brighter(unwrapped.texture, gain), unwrapped.texture)
        return UvSample(
            _bytes(texture),
            _bytes(_brighter(_halved(unwrapped.prior_albedo), gain)),
            unwrapped.sh_light,
            srgb_from_linear(_halved(albedo) * warmth[:, None, None]),
            _light_bytes(_halved(light)),
            truth.albedo * warmth,
        )

    def _truth(self, photo: PersonPhoto) -> tuple[Floats, Floats]:
        """Linear albedo and irradiance [3, 256, 256]."""
        surface = photo.portrait.skin
        values = np.ascontiguousarray(self._points.interpolate(surface.attributes).T)
        ambient = values[scene.AMBIENT]
        usual = np.float32(np.median(ambient[self._points.interpolate(self._head.region("face")) > 0.5]))
        fold = np.clip(ambient / usual, 0.05, 1.0)
        albedo, light = surface.albedo(values) * fold, surface.diffuse_light(values) / fold
        shape = (3, UV_MAP_SIZE, UV_MAP_SIZE)
        return albedo.reshape(shape), light.reshape(shape)

    def _as_fitted(self, vertices: Floats, random: np.random.Generator) -> Floats:
        """The vertices as a fit would have them: of another form, whose landmarks lie about right in a
        photo from the front, and by a little wrong."""
        other = (_FORM_ERROR * random.standard_normal(IDENTITY_SIZE)).astype(np.float32)
        fitted = vertices + np.tensordot(other, self._head.identity_basis, 1)
        apart = (self._head.landmarks(fitted) - self._head.landmarks(vertices))[:MESH_COUNT]
        apart *= np.array([_TAKEN_BACK, _TAKEN_BACK, 0.0], np.float32)
        apart += random.normal(0, _LANDMARK_ERROR, apart.shape).astype(np.float32)
        moved: Floats = (fitted - self._to_vertices @ apart).astype(np.float32)
        return moved


def _usual_tone(prior: Floats, tone: Floats) -> Floats:
    """[3], what to multiply a photo with so that its tone, of which ``prior`` [3, H, W] has an estimate, is
    wrong by no more than real photos' tones are."""
    ridge = prior[:, prior.shape[1] // 2, prior.shape[2] // 2]  # of the nose, where a prior is plain skin
    shown = linear_from_srgb((ridge * 255 + 0.5).astype(np.uint8))
    wrong = np.log(shown + np.float32(0.004)) - np.log(tone) - np.array(_TONE_USUALLY_WRONG, np.float32)
    bright = wrong.mean()
    gain: Floats = np.exp((_TONE_KEPT[0] - 1) * bright + (_TONE_KEPT[1] - 1) * (wrong - bright))
    return gain


def _warmth(tone: Floats, random: np.random.Generator) -> Floats:
    """[3], what to multiply a person's colours with, all of them: pale skin is yellower than it is drawn."""
    pale = np.clip((tone @ LUMINANCE - 0.08) / 0.25, 0.0, 1.0)
    drawn = pale * np.array(_WARMER) + random.normal(0, _WARMTH_SIGMA)
    gain: Floats = np.exp(drawn).astype(np.float32)
    return gain


def _brighter(encoded: Floats, gain: Floats) -> Floats:
    """sRGB [3, H, W], 0-1, of light times ``gain`` [3]."""
    light = linear_from_srgb((encoded * 255 + 0.5).astype(np.uint8)) * gain[:, None, None]
    return srgb_from_linear(light).astype(np.float32) / np.float32(255)


def _landmark_spread(head: HeadModel) -> Floats:
    """[V, 468]: displacements of landmarks to those of vertices, by a kernel of ``_LANDMARK_REACH``."""
    landmarks = head.landmarks(head.vertices_mean)[:MESH_COUNT].astype(np.float64)

    def kernel(places: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        apart = ((places[:, None] - landmarks[None]) ** 2).sum(axis=2)
        near: npt.NDArray[np.float64] = np.exp(-0.5 * apart / _LANDMARK_REACH**2)
        return near

    among = kernel(landmarks) + 0.3 * np.eye(MESH_COUNT)
    spread: Floats = np.linalg.solve(among, kernel(head.vertices_mean).T).T.astype(np.float32)
    return spread


def _halved(planes: Floats) -> Floats:
    side = planes.shape[1] // 2
    smaller: Floats = planes.reshape(3, side, 2, side, 2).mean(axis=(2, 4))
    return smaller


def _bytes(encoded: Floats) -> Bytes:
    return (np.clip(encoded, 0, 1) * 255 + 0.5).astype(np.uint8)


def _light_bytes(light: Floats) -> Bytes:
    steps = (np.log(np.maximum(light, 1e-4)) - LN_LIGHT_LOW) / LN_LIGHT_STEP
    return np.clip(steps + 0.5, 0, 255).astype(np.uint8)


def write_samples(samples: list[UvSample], path: Path) -> None:
    """A file of them."""
    columns: dict[str, Any] = {
        f.name: np.stack([getattr(s, f.name) for s in samples]) for f in fields(UvSample)
    }
    np.savez(path, **columns)
