"""What light a person's surface sends to the camera: skin, eyes, teeth, hair, cloth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from facewright.head.head_model import HeadModel
from facewright_export.people import scene
from facewright_export.people.complexion import BLOOD_ABSORPTION, MELANIN_ABSORPTION, BARE_SKIN, Complexion
from facewright_export.people.face_chart import BLOOD, PIGMENT, RELIEF, SHINE, STROKES
from facewright_export.people.scene import Material
from facewright_export.people.truth import Light
from facewright_kernels import sh_shading, texture_sample

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

#: How far round a lamp's light reaches past the horizon of skin, by colour: blood scatters red the farthest.
_SCATTER: Final = np.array([0.28, 0.14, 0.09], np.float32)
_MOUTH: Final = np.array([0.10, 0.025, 0.022], np.float32)
_TONGUE: Final = np.array([0.26, 0.10, 0.085], np.float32)
#: Half width of the neighbourhood in which the lids shade an eye, metres.
_CAVITY_REACH: Final = 0.0045


@dataclass(frozen=True)
class SeenSurface:
    """What ``N`` pixels see.

    Attributes:
        values: float32 [N, 16], interpolated attributes (``scene``).
        material: uint8 [N].
        seen: bool [H, W], the pixels.
        normal: float32 [N, 3], unit, towards the camera.
        to_camera: float32 [N, 3], unit.
        pixel_size: metres at the face.
    """

    values: Floats
    material: Bytes
    seen: BoolArray
    normal: Floats
    to_camera: Floats
    pixel_size: float


@dataclass(frozen=True)
class Scalp:
    """How hair covers the scalp: opacity of its colour and metres that the hairline has gone back."""

    paint: float
    recession: float


class PersonShader:
    """Shades the people of one head model."""

    def __init__(self, head: HeadModel) -> None:
        self._iris_centre, self._iris_radius = head.iris_centre, head.iris_radius

    def shade(
        self,
        surface: SeenSurface,
        skin: Complexion,
        chart: Bytes,
        scalp: Scalp,
        light: Light,
        visibility: list[Floats],
    ) -> Floats:
        """Linear radiance [N, 3].

        Args:
            surface: what the pixels see.
            skin: the person's colours.
            chart: uint8 [H, W, 5] of ``FaceChart.draw``.
            scalp: what is painted under hair.
            light: of the photo.
            visibility: of each lamp, [N] each (``lamp_visibility``).
        """
        material, values = surface.material, surface.values
        on_skin = material == Material.SKIN
        on_hair = material == Material.HAIR
        on_eye = (material == Material.EYE_LEFT) | (material == Material.EYE_RIGHT)
        albedo = values[:, scene.COLOUR].copy()
        gloss = np.full(len(values), 0.2, np.float32)
        drawn = texture_sample(chart[None], np.ascontiguousarray(values[None, on_skin, scene.CHART]))[0]
        albedo[on_skin] = self._skin(values[on_skin], drawn, skin, scalp)
        gloss[on_skin] = drawn[:, SHINE] * (1.4 * skin.shine) * (1 - 0.8 * drawn[:, STROKES])
        albedo[on_hair] = skin.hair * values[on_hair, scene.SHADE, None]
        albedo[on_eye] = self._eyes(values[on_eye], material[on_eye], skin)
        albedo[(material == Material.TEETH_UPPER) | (material == Material.TEETH_LOWER)] = skin.teeth
        albedo[material == Material.TONGUE] = _TONGUE
        ambient = np.where(on_skin, values[:, scene.AMBIENT], 1.0).astype(np.float32)
        cavity = on_eye | ((material >= Material.TEETH_UPPER) & (material <= Material.TONGUE))
        ambient[cavity] = self._cavity(surface, cavity)
        wet = on_eye | (on_skin & (values[:, scene.INSIDE] > 0.5))
        return self._lit(surface, albedo, gloss, ambient, wet, on_hair, on_skin, light, visibility)

    def _skin(self, values: Floats, drawn: Floats, skin: Complexion, scalp: Scalp) -> Floats:
        """Albedo [N, 3] of skin with the chart's ``drawn`` [N, 5] (0-1)."""
        melanin = skin.melanin + drawn[:, PIGMENT] * (0.25 + 0.5 * skin.melanin)
        blood = skin.blood + (drawn[:, BLOOD] - 0.5) * 1.0
        lips = values[:, scene.LIPS]
        inside = values[:, scene.INSIDE, None]
        up = values[:, scene.MEAN][:, 1]
        albedo = np.empty((len(values), 3), np.float32)
        for channel in range(3):
            absorbed = melanin * np.float32(MELANIN_ABSORPTION[channel])
            absorbed += blood * np.float32(BLOOD_ABSORPTION[channel])
            albedo[:, channel] = np.float32(BARE_SKIN[channel]) * np.exp(-absorbed)
        albedo += (skin.lips - albedo) * lips[:, None]
        albedo *= 1 + (drawn[:, RELIEF, None] - 0.5) * 0.9
        if skin.eyeshadow:
            lid = np.clip(1.2 - values[:, scene.LID_EDGE] / 0.008, 0, 1) * (up > -0.002) * skin.eyeshadow
            albedo += (skin.shadow - albedo) * lid[:, None]
        line = np.where(up > -0.003, skin.lash, 0.45 * skin.lash)
        lashes = np.clip(1.5 - values[:, scene.LID_EDGE] / 0.0011, 0, 1) * line
        albedo += (0.35 * skin.hair - albedo) * lashes[:, None]
        strokes = (drawn[:, STROKES] * (1 - 0.95 * lips) * (1 - values[:, scene.INSIDE]))[:, None]
        colour = np.where((up > -0.012)[:, None], 0.8 * skin.hair, skin.beard)
        albedo += (colour - albedo) * strokes
        edge = values[:, scene.SCALP] - 25 * scalp.recession * np.clip(up - 0.03, 0, 0.05) / 0.05
        edge += (drawn[:, RELIEF] - 0.5) * 0.8
        covered = (np.clip((edge - 0.35) / 0.4, 0, 1) * scalp.paint)[:, None]
        albedo += (0.7 * skin.hair - albedo) * covered
        albedo += (_MOUTH - albedo) * inside
        return albedo

    def _eyes(self, values: Floats, material: Bytes, skin: Complexion) -> Floats:
        """Albedo [N, 3] of the eyeballs: sclera with its red corners, iris with spokes, pupil."""
        side = (material == Material.EYE_RIGHT).astype(np.int64)
        apart = values[:, scene.MEAN] - self._iris_centre[side]
        distance = np.hypot(apart[:, 0], apart[:, 1]) / self._iris_radius[side]
        turn = np.arctan2(apart[:, 1], apart[:, 0])
        spokes = 1 + 0.22 * np.sin(17 * turn + 3 * np.sin(5 * turn)) * np.sin(9 * turn + 1) 
        ring = np.clip((distance - 0.62) / 0.4, 0, 1)
        iris = skin.iris * (spokes * (1.25 - 0.95 * ring**2))[:, None]
        red = np.clip(np.abs(distance - 1) * 0.12, 0, 0.35)[:, None]
        albedo: Floats = skin.sclera * (1 - red * np.array([0.25, 0.8, 0.9], np.float32))
        albedo += (iris - albedo) * np.clip((1.06 - distance) / 0.12, 0, 1)[:, None]
        albedo += (0.006 - albedo) * np.clip((skin.pupil - distance) / 0.08 + 0.5, 0, 1)[:, None]
        return albedo

    def _cavity(self, surface: SeenSurface, cavity: BoolArray) -> Floats:
        """Ambient visibility of eyes and teeth: the nearer what lies before them, above all, the darker."""
        half = max(1.0, _CAVITY_REACH / surface.pixel_size)
        open_ = np.zeros(surface.seen.shape, np.float32)
        open_[surface.seen] = cavity
        size = 2 * round(half) + 1
        around = uniform_filter(open_, size=size, mode="constant")
        lower = np.roll(around, round(half * 0.5), axis=0)  # what is above shades more than what is below
        share = (0.5 * around + 0.5 * lower)[surface.seen][cavity]
        return np.clip(0.28 + 1.15 * share, 0, 1)

    def _lit(
        self,
        surface: SeenSurface,
        albedo: Floats,
        gloss: Floats,
        ambient: Floats,
        wet: BoolArray,
        on_hair: BoolArray,
        on_skin: BoolArray,
        light: Light,
        visibility: list[Floats],
    ) -> Floats:
        normal, to_camera = surface.normal, surface.to_camera
        indirect = np.maximum(sh_shading(normal[None], light.environment[None])[0], 0.01) * ambient[:, None]
        radiance = albedo * indirect
        facing = np.clip((normal * to_camera).sum(axis=1), 0, 1)
        grazing = (1 - facing) ** 5
        radiance += indirect * ((0.02 + 0.25 * grazing) * np.clip(gloss, 0, 1.5))[:, None]
        scatter = np.where(on_skin[:, None], _SCATTER, np.float32(0.05))
        tangent = surface.values[on_hair, scene.TANGENT]
        for lamp, visible in zip(light.lamps, visibility, strict=True):
            cosine = normal @ lamp.direction
            # a large lamp past a nearby edge: what sees little of the surroundings sees little of the lamp
            reached = visible * np.clip(1.6 * ambient, 0, 1)
            wrapped = np.clip((cosine[:, None] + scatter) / (1 + scatter) ** 2, 0, 1) * reached[:, None]
            radiance += albedo * wrapped * lamp.irradiance
            half = to_camera + lamp.direction
            half /= np.linalg.norm(half, axis=1, keepdims=True)
            along = np.clip((normal * half).sum(axis=1), 0, 1)
            lobe = np.where(wet, 1.1 * along**180, 0.11 * along**14 + 0.10 * along**50)
            lobe *= np.where(wet, 1.0, gloss) * reached * np.clip(4 * cosine, 0, 1)
            if on_hair.any():
                across = 1 - np.minimum((tangent * half[on_hair]).sum(axis=1) ** 2, 1)
                lobe[on_hair] = 0.06 * across**16 * reached[on_hair] * np.clip(cosine[on_hair] + 0.3, 0, 1)
            radiance += lobe[:, None] * lamp.irradiance
        return radiance


