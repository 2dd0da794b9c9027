"""Stage ``bake_texture``: a photo and its fitted head become a complete UV texture and the light in
which it shows the photo.

Paper "twin" (Wang et al. 2019), sec. 3.5: project the selfie into UV with the fitted camera and shape, and
blend it into a default texture by Poisson editing. Added here: what is skin and what lies on it, light
divided out, the other side of the face for what one side hides.

All judging happens on a 256 × 256 texture (about 1 mm of skin per texel) and per vertex; only the final
composition runs at full size, in one kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facewright.appearance.evidence import (
    Evidence,
    PhotoJudge,
    ZoneWeights,
)
from facewright.appearance.head_template import head_template
from facewright.appearance.photo_light import PhotoLight
from facewright.appearance.photo_view import FacePhoto, PhotoView, Sighting
from facewright.appearance.seen_face import FaceSeer
from facewright.appearance.texel_layout import TexelPoints, padded_texel_map
from facewright.core.arrays import Floats
from facewright.core.clock import LapClock
from facewright.core.colour import luminance, srgb_from_linear
from facewright.core.errors import FacewrightError
from facewright.core.spherical_harmonics import fit_sh
from facewright.fit.fit_info import EyeFit
from facewright.hair.colour import HairColouring
from facewright.hair.cover import HairTexels
from facewright.hair.falling import SeenHead
from facewright.head.head_model import HeadModel
from facewright.pipelines.tensors import ALBEDO_MAP, PERSON_MASK
from facewright.texture.bake_settings import BakeSettings
from facewright.texture.completion import Completion, HeadSurface, complete_colours
from facewright.texture.dressing import Dressing, NetworkAlbedo, dressed
from facewright.texture.encoding import encode_texture
from facewright.texture.eyes import EyeEvidence, EyePainter, EyeTexels, eye_texels
from facewright.texture.fine_detail import fine_detail
from facewright.texture.layers import (
    LayerBuilder,
    LayerStack,
    TexelEvidence,
    interpolated_zones,
    light_gain,
    region_confidence,
    region_shares,
)
from facewright.texture.texture_info import TextureInfo
from facewright_client.contract import CROP_SIZE, ErrorCode
from facewright_kernels import TexelMap, uv_gather
from facewright_kernels.texture_composite import CompositeSurface, texture_composite

#: Side of the texture in which the photo is judged and masks and fills are made.
LAYER_SIZE = 256
#: Of larger textures only the tables last used are kept: at 4096² they hold 270 MB.
LARGEST_KEPT_SIZE = 2048


@dataclass(frozen=True)
class TextureOptions:
    """What a caller may say of the texture.

    Attributes:
        size: texels per side.
        format: ``jpeg``, ``webp`` or ``png``.
        delight: share of the estimated lighting that is divided out, 0-1; the light that is given has what
            was divided out, so with 0 it is even and with 1 all of the photo's.
        detail: with an albedo, share 0-1 of the photo's own fine structure on the skin.
    """

    size: int = 1024
    format: str = "jpeg"
    delight: float = 0.5
    detail: float = 1.0


@dataclass(frozen=True)
class BakedTexture:
    """What the stage ``bake_texture`` gives, before encoding.

    Attributes:
        texture: sRGB u8 ``[S, S, 3]``.
        confidence: u8 ``[2, 256, 256]``, the tensor TEXEL_CONFIDENCE.
        sh_light: f32 ``[9, 3]``, head space: texture x this light is the photo. Of the photo's light it is
            the share that was divided out; what stayed in the texture is not shone on it again.
        info: shares, confidence, warnings.
    """

    texture: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    sh_light: Floats
    info: TextureInfo

    def encode(self) -> bytes:
        """The texture in ``info.format``, as it is embedded in the GLB."""
        return encode_texture(self.texture, self.info.format)


@dataclass(frozen=True)
class _SizeTables:
    """What depends on the head and the texture size only."""

    texels: TexelMap
    detail: NDArray[np.uint8]
    eyes: tuple[EyeTexels, EyeTexels]


class TextureBaker:
    """Bakes textures for one head model.

    Tables of a texture size are made at its first use (1024²: 0.5 s, 15 MB) and kept; of the sizes above 2048
    only the last.

    Args:
        head: the head model that the fits are of.
        settings: the stage's numbers; the defaults serve.
    """

    def __init__(self, head: HeadModel, settings: BakeSettings | None = None) -> None:
        self.head = head
        self.settings = settings = settings or BakeSettings()
        self._points = TexelPoints(head, padded_texel_map(head, LAYER_SIZE))
        self._seer = FaceSeer(head, settings)
        zones, diffusion = self._seer.zones, self._seer.diffusion
        self._texel_zones = interpolated_zones(zones, self._points)
        self._face = self._points.interpolate(head.region("face")) * self._texel_zones.skin_part
        template = head_template(head, settings.template)
        position = self._points.interpolate(head.vertices_canonical)
        hair = settings.hair
        hair_texels = HairTexels.of(position, self._texel_zones, hair.cover, hair.falling)
        self._layers = LayerBuilder(self._points, template, hair_texels, settings.layers)
        self._eyes = EyePainter(settings.eyes)
        self._surface = HeadSurface(
            zones,
            template,
            head.region("eyelids"),
            diffusion,
            HairColouring(head, zones, diffusion, hair.colour, hair.falling),
            settings.completion,
        )
        self._region_shares = region_shares(head, self._points)
        self._vertex_uv = head.vertex_uv
        self._sizes: dict[int, _SizeTables] = {}

    def bake(
        self,
        face_crop: NDArray[np.uint8],
        intrinsics: Floats,
        head_to_camera: Floats,
        fitted_vertices: Floats,
        neutral_vertices: Floats,
        eyes: tuple[EyeFit, EyeFit],
        options: TextureOptions | None = None,
        person_mask: NDArray[np.uint8] | None = None,
        valid_box: tuple[int, int, int, int] = (0, 0, CROP_SIZE, CROP_SIZE),
        between_steps: Callable[[], None] = lambda: None,
        albedo: NetworkAlbedo | None = None,
    ) -> BakedTexture:
        """The texture of one person; equal inputs give equal bytes.

        Args:
            face_crop: sRGB u8 ``[1024, 1024, 3]``.
            intrinsics: f32 ``[3, 3]``, crop pixels.
            head_to_camera: f32 ``[3, 4]``, metres.
            fitted_vertices: f32 ``[V, 3]``, head space, as in the photo.
            neutral_vertices: f32 ``[V, 3]``, head space, without expression.
            eyes: left and right, as fitted.
            options: size, encoding and light of the texture; defaults where None.
            person_mask: u8 ``[M, M]``, probability of a person x 255 over the crop: keeps the background
                out of hair, ears and cheeks. None: all of the crop is the person.
            valid_box: x0, y0, x1, y1 of the part of the crop that shows the photo, crop pixels.
            between_steps: called after each step; ends the work by raising.
            albedo: what the skin's colours are at large (`dressing`); None: they are the photo's.

        Raises:
            FacewrightError: INTERNAL for wrong shapes or numbers that are not finite; BAD_PHOTO when the
                photo shows next to nothing of the face.
        """
        self._check(face_crop, intrinsics, head_to_camera, fitted_vertices, neutral_vertices)
        if person_mask is not None and (
            person_mask.dtype != np.uint8 or person_mask.shape != PERSON_MASK.shape
        ):
            raise _bad_input(f"person_mask is {person_mask.dtype} {list(person_mask.shape)}")
        clock = LapClock(between_steps)
        options = options or TextureOptions()
        delight = options.delight
        fitted_vertices = np.ascontiguousarray(fitted_vertices, np.float32)
        photo = FacePhoto(face_crop, valid_box, person_mask)
        seen = self._seer.see(photo, intrinsics, head_to_camera, fitted_vertices, clock)
        view, vertices, normals, evidence = seen.view, seen.vertices, seen.normals, seen.evidence
        light, skin, shade = seen.light, seen.skin, seen.light.shade
        partner, settings = self.head.mirror_vertex, self.settings
        judge = PhotoJudge(settings.evidence, skin)
        texels = self._judge_texels(view, fitted_vertices, normals, shade, judge)
        clock.lap("evidence")

        gain = light_gain(shade, shade[partner], delight, settings.layers.delight)
        colours = vertices.colour * gain
        beside = self._surface.hair.over_ears.look_beside(view, fitted_vertices)
        shown = SeenHead(vertices, beside, colours, evidence, skin, light.tone)
        completion = complete_colours(self._surface, shown)
        stack = self._layers.build(texels, completion, delight)
        tone = light.tone
        if albedo is not None:
            dressing = self._dressed(stack, texels, albedo, options.detail)
            stack = dressing.stack
            gain = gain * np.exp(uv_gather(self._square(dressing.change), self._vertex_uv)[0])
            tone = tone * np.exp(dressing.tone)
        clock.lap("complete")
        visible = float((self._face * stack.photo_weight).sum()) / max(float(self._face.sum()), 1e-6)
        self._require_visible(visible)

        tables = self._tables(options.size)
        texture = self._compose(view, face_crop, stack, tables)
        clock.lap("compose")
        lids = self.head.region("eyelids")
        exposure = max(float(lids.sum()), 1e-6) / max(float((luminance(gain) * lids).sum()), 1e-6)
        for eye, fit in zip(tables.eyes, eyes, strict=True):
            self._eyes.paint(texture, eye, EyeEvidence(face_crop, view, fit, skin, tone, exposure))
        clock.lap("eyes")
        light = replace(light, tone=tone)
        info = self._info(stack, visible, texels, completion, light, options, clock.milliseconds)
        # Known wherever a normal points, and truest where the photo shows skin.
        divided = fit_sh(normals, 1.0 / gain, evidence.weight + settings.layers.delight.unseen)
        return BakedTexture(texture, _confidence(stack, texels), divided, info)

    def _dressed(
        self, stack: LayerStack, texels: TexelEvidence, albedo: NetworkAlbedo, detail: float
    ) -> Dressing:
        if albedo.map.shape != ALBEDO_MAP.shape or not np.isfinite(albedo.map).all():
            raise _bad_input(f"albedo has shape {list(albedo.map.shape)}, or numbers that are not finite")
        return dressed(stack, texels, self._points, albedo, detail, self.settings.dressing)

    def _square(self, values: Floats) -> Floats:
        """Values ``[N, C]`` of the layer texture's texels as a map ``[1, L, L, C]``."""
        return np.ascontiguousarray(values.reshape(1, LAYER_SIZE, LAYER_SIZE, -1))

    def _judge_texels(
        self, view: PhotoView, vertices: Floats, normals: Floats, shade: Floats, judge: PhotoJudge
    ) -> TexelEvidence:
        points, partner = self._points, self.head.mirror_vertex
        seen = view.look(points.texels, vertices, normals)
        mirrored = view.look(points.texels, vertices[partner], normals[partner])
        # Texels without a surface are lit by 1, so that dividing by it is harmless.
        empty = (~points.covered).astype(np.float32)[:, None]
        here, there = points.interpolate(shade) + empty, points.interpolate(shade[partner]) + empty
        zones = self._texel_zones
        return TexelEvidence(
            seen,
            mirrored,
            _judge_visible(judge, seen, here, mirrored, there, zones),
            _judge_visible(judge, mirrored, there, seen, here, zones),
            here,
            there,
            zones,
        )

    def _compose(
        self, view: PhotoView, face_crop: NDArray[np.uint8], stack: LayerStack, tables: _SizeTables
    ) -> NDArray[np.uint8]:
        photo, points = face_crop, view.points
        if tables.texels.size < len(face_crop):
            # One texel then covers several pixels: average them first.
            factor = len(face_crop) // tables.texels.size
            photo = np.asarray(Image.fromarray(face_crop).reduce(factor))
            points = points * np.array([1.0 / factor, 1.0 / factor, 1.0], np.float32)
        surface = CompositeSurface(
            tables.texels.triangle_id,
            tables.texels.barycentric,
            self.head.triangles,
            points[None],
            points[None, self.head.mirror_vertex],
        )
        textures = texture_composite(surface, photo[None], stack.layers[None], tables.detail)
        texture: NDArray[np.uint8] = textures[0]
        return texture

    def _detail(self, texels: TexelMap) -> NDArray[np.uint8]:
        return fine_detail(self.head, texels, self.settings.detail, self.settings.hair.strands)

    def _tables(self, size: int) -> _SizeTables:
        tables = self._sizes.get(size)
        if tables is None:
            texels = padded_texel_map(self.head, size)
            eyes = (eye_texels(self.head, texels, 0), eye_texels(self.head, texels, 1))
            tables = _SizeTables(texels, self._detail(texels), eyes)
            kept = self._sizes
            if size > LARGEST_KEPT_SIZE:
                kept = {old: made for old, made in kept.items() if old <= LARGEST_KEPT_SIZE}
            self._sizes = {**kept, size: tables}
        return tables

    def _require_visible(self, visible: float) -> None:
        least = self.settings.warnings.least_usable
        if visible < least:
            raise FacewrightError(
                ErrorCode.BAD_PHOTO,
                f"the photo shows {100 * visible:.0f} % of the face's skin, less than {100 * least:.0f} %",
                "send a photo with the whole face inside it, seen from the front or the side",
            )

    def _info(
        self,
        stack: LayerStack,
        visible: float,
        texels: TexelEvidence,
        completion: Completion,
        light: PhotoLight,
        options: TextureOptions,
        milliseconds: dict[str, float],
    ) -> TextureInfo:
        face = self._face
        total = max(float(face.sum()), 1e-6)
        lost = float((face * texels.seen.visible * texels.evidence.occluded).sum())
        excluded = lost / max(float((face * texels.seen.visible).sum()), 1e-6)
        limits = self.settings.warnings
        warnings = []
        if visible < limits.least_visible:
            warnings.append(
                f"the photo shows {100 * visible:.0f} % of the face; the rest is mirrored or filled in"
            )
        if excluded > limits.most_covered:
            warnings.append(
                f"{100 * excluded:.0f} % of the visible face is covered by something that is not skin"
            )
        if light.contrast > limits.hard_light:
            warnings.append(
                f"hard light: {light.contrast:.1f} times brighter on one side; shadows stay in the texture"
            )
        return TextureInfo(
            size=options.size,
            format=options.format,
            skin_tone=_srgb(light.tone),
            hair_tone=_srgb(completion.hair.tone),
            hair_seen=round(completion.hair.seen, 3),
            visible_share=round(visible, 3),
            mirrored_share=round(float((face * stack.mirror_weight).sum()) / total, 3),
            excluded_share=round(excluded, 3),
            light_contrast=round(light.contrast, 3),
            light_residual=round(light.residual, 4),
            region_confidence=region_confidence(self.head, self._region_shares, stack),
            warnings=warnings,
            milliseconds=milliseconds,
        )

    def _check(
        self,
        face_crop: NDArray[np.uint8],
        intrinsics: Floats,
        head_to_camera: Floats,
        fitted_vertices: Floats,
        neutral_vertices: Floats,
    ) -> None:
        if face_crop.dtype != np.uint8 or face_crop.shape != (CROP_SIZE, CROP_SIZE, 3):
            raise _bad_input(f"face_crop is {face_crop.dtype} {list(face_crop.shape)}")
        for name, value, shape in (
            ("intrinsics", intrinsics, (3, 3)),
            ("head_to_camera", head_to_camera, (3, 4)),
            ("fitted_vertices", fitted_vertices, self.head.vertices_mean.shape),
            ("neutral_vertices", neutral_vertices, self.head.vertices_mean.shape),
        ):
            if value.shape != shape:
                raise _bad_input(f"{name} has shape {list(value.shape)}, expected {list(shape)}")
            if not np.isfinite(value).all():
                raise _bad_input(
                    f"{name} holds {int((~np.isfinite(value)).sum())} numbers that are not finite"
                )


def _bad_input(message: str) -> FacewrightError:
    hint = "pass the outputs of find_face and fit_head unchanged"
    return FacewrightError(ErrorCode.INTERNAL, message, hint, stage="bake_texture")


def _judge_visible(
    judge: PhotoJudge,
    seen: Sighting,
    shade: Floats,
    mirrored: Sighting,
    mirrored_shade: Floats,
    zones: ZoneWeights,
) -> Evidence:
    """What is judged where something is visible; elsewhere nothing is known, and judging would be in vain."""
    at = np.flatnonzero(seen.visible).astype(np.int32)
    own = ZoneWeights(**{name: value[at] for name, value in vars(zones).items()})
    judged = judge.judge(seen.at(at), shade[at], mirrored.at(at), mirrored_shade[at], own)
    everywhere = []
    for value in (judged.weight, judged.occluded, judged.deviation):
        everywhere.append(np.zeros(len(seen.visible), np.float32))
        everywhere[-1][at] = value
    return Evidence(*everywhere)


def _confidence(stack: LayerStack, texels: TexelEvidence) -> NDArray[np.uint8]:
    """What a texel is worth beside other photos' of the same person: what is taken of it, by how squarely it
    is seen."""
    shares = [
        weight * np.clip(sighting.facing, 0.0, 1.0)
        for weight, sighting in (
            (stack.photo_weight, texels.seen),
            (stack.mirror_weight, texels.mirrored),
        )
    ]
    confidence: NDArray[np.uint8] = (np.stack(shares) * 255.0 + 0.5).astype(np.uint8)
    return confidence.reshape(2, LAYER_SIZE, LAYER_SIZE)


def _srgb(colour: Floats) -> tuple[int, int, int]:
    red, green, blue = srgb_from_linear(colour)
    return int(red), int(green), int(blue)
