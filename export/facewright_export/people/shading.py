"""What light a person's surface sends to the camera: skin, eyes, teeth, hair, cloth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from facewright.head.head_model import HeadModel
from facewright_export.people import scene
from facewright_export.people.complexion import BARE_SKIN, BLOOD_ABSORPTION, MELANIN_ABSORPTION, Complexion
from facewright_export.people.face_chart import BLOOD, PIGMENT, RELIEF, SHINE
from facewright_export.people.hair import HairStyle
from facewright_export.people.scene import Material
from facewright_export.people.truth import Light
from facewright_kernels import sh_shading, texture_sample

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

#: How far a lamp's light reaches past the horizon, by colour: blood scatters red the farthest.
_SCATTER: Final = (0.28, 0.14, 0.09)
_MOUTH: Final = np.array([0.10, 0.025, 0.022], np.float32)
_TONGUE: Final = np.array([0.26, 0.10, 0.085], np.float32)
_TINY: Final = np.float32(1e-9)
#: Half width of the neighbourhood in which lids shade an eye and lips teeth, metres.
_CAVITY_REACH: Final = 0.0045


@dataclass(frozen=True)
class SeenSurface:
    """What ``N`` pixels see; planes, so that every step runs through memory in order.

    Attributes:
        values: float32 [C, N], interpolated attributes (``scene``), a lamp's visibility each after them.
        material: uint8 [N].
        seen: bool [H, W], the pixels.
        normal: float32 [3, N], unit, towards the camera.
        to_camera: float32 [3, N], unit.
        pixel_size: metres at the face.
    """

    values: Floats
    material: Bytes
    seen: BoolArray
    normal: Floats
    to_camera: Floats
    pixel_size: float


@dataclass(frozen=True)
class SkinSurface:
    """The skin of a person in a light, point by point.

    Attributes:
        attributes: float32 [V, C], of the head's vertices (``scene``), a lamp's visibility each after them.
        chart: of ``FaceChart.draw``.
        skin, hair: the person's.
        light: on it.
    """

    attributes: Floats
    chart: tuple[Bytes, Bytes]
    skin: Complexion
    hair: HairStyle
    light: Light

    def albedo(self, values: Floats) -> Floats:
        """Linear albedo [3, N] where the attributes are ``values`` [C, N]."""
        strokes, drawn = _drawn(self.chart, values)
        return _skin(values, strokes, drawn, self.skin, self.hair)

    def diffuse_light(self, values: Floats) -> Floats:
        """What of the light the skin there scatters, [3, N]: radiance without sheen is albedo x this."""
        normal = values[scene.NORMAL].copy()
        normal /= np.sqrt(dot(normal, normal)) + _TINY
        ambient = values[scene.AMBIENT]
        diffuse: Floats = _indirect(normal, self.light) * ambient
        for lamp, visible in zip(self.light.lamps, values[scene.COLUMNS :], strict=True):
            cosine, reached = dot(normal, lamp.direction[:, None]), visible * _open(ambient)
            for channel, scatter in enumerate(_SCATTER):
                diffuse[channel] += _wrapped(cosine, scatter) * reached * lamp.irradiance[channel]
        return diffuse


class PersonShader:
    """Shades the people of one head model."""

    def __init__(self, head: HeadModel) -> None:
        self._iris_centre, self._iris_radius = head.iris_centre, head.iris_radius

    def shade(
        self,
        surface: SeenSurface,
        skin: Complexion,
        hair: HairStyle,
        chart: tuple[Bytes, Bytes],
        light: Light,
    ) -> Floats:
        """Linear radiance [N, 3] of what is seen of a person; ``chart`` is of ``FaceChart.draw``."""
        material, values = surface.material, surface.values
        albedo, gloss = self.paint(values, material, skin, hair, chart)
        on_skin = np.flatnonzero(material == Material.SKIN)
        on_hair = np.flatnonzero(material == Material.HAIR)
        eyes = np.flatnonzero((material == Material.EYE_LEFT) | (material == Material.EYE_RIGHT))
        mouth = np.flatnonzero((material >= Material.TEETH_UPPER) & (material <= Material.TONGUE))
        ambient = values[scene.AMBIENT].copy()
        ambient[on_hair] = 1.0
        for cavity in (eyes, mouth):
            ambient[cavity] = _cavity(surface, cavity)
        ambient[mouth] *= np.float32(0.8)
        wet = np.concatenate([eyes, on_skin[values[scene.INSIDE, on_skin] > 0.5]])
        return _lit(surface, albedo, gloss, ambient, wet, on_hair, light)

    def paint(
        self,
        values: Floats,
        material: Bytes,
        skin: Complexion,
        hair: HairStyle,
        chart: tuple[Bytes, Bytes],
    ) -> tuple[Floats, Floats]:
        """Albedo [3, N] and gloss [N] of points with attributes ``values`` [C, N] and ``material`` [N]."""
        on_skin = np.flatnonzero(material == Material.SKIN)
        on_hair = np.flatnonzero(material == Material.HAIR)
        eyes = np.flatnonzero((material == Material.EYE_LEFT) | (material == Material.EYE_RIGHT))
        mouth = np.flatnonzero((material >= Material.TEETH_UPPER) & (material <= Material.TONGUE))
        albedo = values[scene.COLOUR].copy()
        gloss = np.full(len(material), 0.15, np.float32)
        own = values[:, on_skin]
        strokes, drawn = _drawn(chart, own)
        albedo[:, on_skin] = _skin(own, strokes, drawn, skin, hair)
        gloss[on_skin] = drawn[SHINE] * np.float32(0.9 * skin.shine) * (1 - 0.8 * strokes)
        strands = 1 + np.float32(0.3) * np.sin(values[scene.ACROSS, on_hair])
        albedo[:, on_hair] = skin.hair[:, None] * (values[scene.SHADE, on_hair] * strands)
        bare = np.flatnonzero((material == Material.THING) & (values[scene.BARE] > 0))
        albedo[:, bare] = skin.skin[:, None]
        albedo[:, eyes] = self._eyes(values[:, eyes], material[eyes], skin)
        albedo[:, mouth] = np.where(material[mouth] == Material.TONGUE, _TONGUE[:, None], skin.teeth[:, None])
        return albedo, gloss

    def _eyes(self, values: Floats, material: Bytes, skin: Complexion) -> Floats:
        """Albedo [3, N] of the eyeballs: sclera with its red corners, iris with spokes, pupil."""
        side = (material == Material.EYE_RIGHT).astype(np.int64)
        apart = values[scene.MEAN] - self._iris_centre[side].T
        distance = np.hypot(apart[0], apart[1]) / self._iris_radius[side]
        turn = np.arctan2(apart[1], apart[0])
        spokes = 1 + 0.22 * np.sin(17 * turn + 3 * np.sin(5 * turn)) * np.sin(9 * turn + 1)
        ring = np.clip((distance - 0.62) / 0.4, 0, 1)
        iris = skin.iris[:, None] * (spokes * (1.25 - 0.95 * ring**2))
        red = np.clip(np.abs(distance - 1) * 0.12, 0, 0.35)
        albedo: Floats = skin.sclera[:, None] * (1 - red * np.array([[0.25], [0.8], [0.9]], np.float32))
        albedo += (iris - albedo) * np.clip((1.06 - distance) / 0.12, 0, 1)
        albedo += (0.006 - albedo) * np.clip((skin.pupil - distance) / 0.08 + 0.5, 0, 1)
        return albedo


def _drawn(chart: tuple[Bytes, Bytes], values: Floats) -> tuple[Floats, Floats]:
    """Hair strokes [N] and the skin's channels [4, N] of the chart, 0-1, where attributes are ``values``."""
    places = np.ascontiguousarray(values[scene.CHART].T)[None]
    strokes: Floats = texture_sample(chart[0][None], places)[0, :, 0]
    return strokes, np.ascontiguousarray(texture_sample(chart[1][None], places)[0].T)


def _indirect(normal: Floats, light: Light) -> Floats:
    """Irradiance [3, N] of the environment on unit normals [3, N]."""
    upright = np.ascontiguousarray(normal.T)[None]
    irradiance: Floats = np.maximum(sh_shading(upright, light.environment[None])[0].T, 0.01)
    return irradiance


def _open(ambient: Floats) -> Floats:
    """Share of a lamp's light: a large lamp past a nearby edge; what sees little of the surroundings sees
    little of the lamp."""
    share: Floats = np.minimum(np.float32(1.6) * ambient, 1)
    return share


def _wrapped(cosine: Floats, scatter: float) -> Floats:
    """Irradiance of a lamp at this cosine, with what the skin scatters past the horizon."""
    lit: Floats = np.clip((cosine + np.float32(scatter)) / np.float32((1 + scatter) ** 2), 0, 1)
    return lit


def _skin(values: Floats, strokes: Floats, drawn: Floats, skin: Complexion, hair: HairStyle) -> Floats:
    """Albedo [3, N] of skin with hair ``strokes`` [N] and the chart's channels ``drawn`` [4, N]; 0-1 each."""
    melanin = drawn[PIGMENT] * np.float32(0.25 + 0.5 * skin.melanin) + np.float32(skin.melanin)
    blood = drawn[BLOOD] + np.float32(skin.blood - 0.5)
    lips, inside, edge = values[scene.LIPS], values[scene.INSIDE], values[scene.LID_EDGE]
    across, up, depth = values[scene.MEAN]
    height = drawn[RELIEF] - np.float32(0.5)
    lid = np.clip(1.2 - edge / np.float32(0.008), 0, 1) * (up > -0.002) * np.float32(skin.eyeshadow)
    line = np.where(up > -0.003, np.float32(skin.lash), np.float32(0.45 * skin.lash))
    lashes = np.clip(1.5 - edge / np.float32(0.0011), 0, 1) * line
    strokes = strokes * (1 - np.float32(0.95) * lips) * (1 - inside)
    on_brow = up > -0.012
    # hairs are told apart by where they are: the fractions of large numbers, -0.5 to 0.5
    hairs = np.sin(
        across * np.float32(1.3e4) + up * np.float32(7.1e3) + depth * np.float32(9.7e3)
    ) * np.float32(4e2)
    hairs -= np.round(hairs)
    hairline = values[scene.SCALP]
    # hair that is longer than stubble hides the skin between hairs but at its edge
    sparse = np.minimum(5 * hairline, 1) * (1 - hairline if hair.grows else np.float32(1))
    hairline = hairline + (height + np.float32(0.8) * hairs) * sparse
    hairline -= np.float32(25 * hair.recession / 0.05) * np.clip(up - np.float32(0.03), 0, 0.05)
    covered = np.clip((hairline - np.float32(0.2)) / np.float32(0.7), 0, 1) * np.float32(hair.paint)
    albedo = np.empty((3, len(up)), np.float32)
    for channel, plane in enumerate(albedo):
        absorbed = melanin * np.float32(-MELANIN_ABSORPTION[channel])
        absorbed -= blood * np.float32(BLOOD_ABSORPTION[channel])
        np.exp(absorbed, out=plane)
        plane *= np.float32(BARE_SKIN[channel])
        plane += (skin.lips[channel] - plane) * lips
        plane *= 1 + height * np.float32(0.9)
        if skin.eyeshadow:
            plane += (skin.shadow[channel] - plane) * lid
        tone = skin.hair[channel]
        plane += (np.float32(0.35) * tone - plane) * lashes
        plane += (np.where(on_brow, skin.brow[channel], skin.beard[channel]) - plane) * strokes
        plane += (np.float32(0.7) * tone - plane) * covered
        plane += (_MOUTH[channel] - plane) * inside
    return albedo


def _cavity(surface: SeenSurface, cavity: IntArray) -> Floats:
    """Ambient visibility [N] of eyes or teeth: the nearer what lies before them, above all, the darker."""
    if not len(cavity):
        return np.zeros(0, np.float32)
    half = max(1, round(_CAVITY_REACH / surface.pixel_size))
    width = surface.seen.shape[1]
    pixels = np.flatnonzero(surface.seen)[cavity]
    rows, columns = pixels // width, pixels % width
    top, left = rows.min() - half, columns.min() - half
    open_ = np.zeros((np.ptp(rows) + 2 * half + 1, np.ptp(columns) + 2 * half + 1), np.float32)
    open_[rows - top, columns - left] = 1
    around = uniform_filter(open_, size=2 * half + 1, mode="constant")
    lower = np.roll(around, round(half * 0.5), axis=0)  # what is above shades more than what is below
    share = (around + lower)[rows - top, columns - left]
    visible: Floats = np.clip(np.float32(0.28) + np.float32(0.575) * share, 0, 1)
    return visible


def _lit(
    surface: SeenSurface,
    albedo: Floats,
    gloss: Floats,
    ambient: Floats,
    wet: IntArray,
    on_hair: IntArray,
    light: Light,
) -> Floats:
    """Radiance [N, 3] of surfaces with ``albedo`` [3, N], ``gloss`` and ``ambient`` visibility [N]."""
    normal, to_camera = surface.normal, surface.to_camera
    indirect = _indirect(normal, light) * ambient
    facing = np.clip(dot(normal, to_camera), 0, 1)
    mirrored = (np.float32(0.02) + np.float32(0.12) * _power(1 - facing, 2)) * np.minimum(gloss, 1)
    radiance = indirect * (albedo + mirrored)
    open_ = _open(ambient)
    tangent = surface.values[scene.TANGENT][:, on_hair]
    for lamp, visible in zip(light.lamps, surface.values[scene.COLUMNS :], strict=True):
        direction = lamp.direction[:, None]
        cosine = dot(normal, direction)
        reached = visible * open_
        half = to_camera + direction
        half /= np.sqrt(dot(half, half))
        along = np.clip(dot(normal, half), 0, 1)
        broad = _power(along, 4)
        lobe = (np.float32(0.11) * broad + np.float32(0.09) * _power(broad, 2)) * gloss
        lobe[wet] = _power(along[wet], 8)
        lobe *= np.clip(4 * cosine, 0, 1) * reached
        if len(on_hair):
            across = 1 - np.minimum(dot(tangent, half[:, on_hair]) ** 2, 1)
            lobe[on_hair] = 0.05 * _power(across, 4) * (reached * np.clip(cosine + 0.3, 0, 1))[on_hair]
        for channel, scatter in enumerate(_SCATTER):
            wrapped = _wrapped(cosine, scatter) * reached
            radiance[channel] += (albedo[channel] * wrapped + lobe) * lamp.irradiance[channel]
    return np.ascontiguousarray(radiance.T, np.float32)


def dot(first: Floats, second: Floats) -> Floats:
    """Scalar products [N] of [3, N] and [3, N] or [3, 1]."""
    product: Floats = first[0] * second[0]
    product += first[1] * second[1]
    product += first[2] * second[2]
    return product


def _power(base: Floats, doublings: int) -> Floats:
    """``base`` to the power of 2 ** ``doublings``, by squaring."""
    result = base * base
    for _ in range(doublings - 1):
        result *= result
    return result
