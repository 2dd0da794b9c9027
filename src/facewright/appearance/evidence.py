"""Which texels the photo determines: visible, facing the camera, and skin (or hair, on the scalp).

Every decision is a soft weight, so that no border of a decision shows in the texture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from facewright.appearance.photo_light import LampSky, PhotoLight, PhotoLightPrior, estimate_photo_light
from facewright.appearance.photo_view import Sighting
from facewright.appearance.skin_model import SkinModel, SkinSettings, fit_skin_model, smooth_step
from facewright.appearance.surface_diffusion import SurfaceDiffusion
from facewright.core.arrays import Floats
from facewright.core.colour import luminance
from facewright.core.settings import BY_EYE, INSENSITIVE, MEASURED, Range
from facewright.head.hairline import hair_growth
from facewright.head.head_model import HeadModel


@dataclass(frozen=True)
class ZoneSettings:
    """Where on a head what may be expected."""

    #: Brows, lids and lips are widened by this many rings of vertices, the auricle by this many.
    feature_rings: Annotated[int, "rings", BY_EYE] = 4
    pinna_rings: Annotated[int, "rings", BY_EYE] = 2
    #: Mean edge lengths between which an ear's mesh is fine (what stands off the head) and is not.
    pinna_edge: Annotated[Range, "metres", "the open head's mesh"] = (0.0055, 0.0085)
    #: Signed distances to the hairline between which the scalp begins.
    scalp: Annotated[Range, "metres", BY_EYE] = (-0.006, 0.006)


@dataclass(frozen=True)
class EvidenceSettings:
    """What of a photo is taken into the texture.

    Deviations are in sigmas of the skin model, cosines between the normal and the ray to the camera.
    """

    #: Cosines between which a texel of the face, of nose, lids and lips, or of the scalp passes from "too
    #: oblique" to "taken from the photo".
    face_facing: Annotated[Range, "cosine", MEASURED] = (0.14, 0.34)
    inner_facing: Annotated[Range, "cosine", INSENSITIVE] = (0.04, 0.16)
    scalp_facing: Annotated[Range, "cosine", MEASURED] = (0.26, 0.48)
    #: The same for a mirror point that bears witness.
    partner_facing: Annotated[Range, "cosine", BY_EYE] = (0.2, 0.4)
    #: Cosines below and above which a fit's outline does and does not matter, and the deviations between
    #: which something there is no skin.
    oblique: Annotated[Range, "cosine", BY_EYE] = (0.25, 0.45)
    oblique_unlike: Annotated[Range, "sigmas", BY_EYE] = (3.4, 5.0)
    #: Irradiance below and above which a point lies in deep shade or does not.
    deep_shade: Annotated[Range, "of the face's mean irradiance", INSENSITIVE] = (0.35, 0.65)
    #: Deviations between which something on an ear is no skin; below the first nothing is taken for an
    #: occluder, wherever it lies.
    unlike: Annotated[Range, "sigmas", INSENSITIVE] = (2.2, 3.6)
    #: Above this share of the face's core contradicting its mirror side, it is light, not an occluder.
    largest_occluder: Annotated[float, "share", INSENSITIVE] = 0.35
    #: Weights of scalp, core and neck between which their own rules begin.
    scalp: Annotated[Range, "weight", BY_EYE] = (0.2, 0.6)
    core: Annotated[Range, "weight", BY_EYE] = (0.1, 0.5)
    neck: Annotated[Range, "weight", BY_EYE] = (0.2, 0.8)


@dataclass(frozen=True)
class ZoneWeights:
    """Weights 0–1 at N points.

    Attributes:
        core: cheeks, nose and forehead without brows, lids and lips: where skin can be learned.
        beard: chin, jaw and around the mouth, where hair is part of the person.
        features: brows, lids and lips with a margin: never skin-coloured, always kept.
        inner_face: nose, lids and lips: far from the head's outline, so what is oblique there is still the
            face.
        scalp: where hair grows.
        neck: below the jaw.
        pinna: the part of the ear that stands off the head.
        skin_part: 1 on the skin outside the mouth, 0 on eyeballs, teeth, tongue and lining.
    """

    core: Floats
    beard: Floats
    features: Floats
    inner_face: Floats
    scalp: Floats
    neck: Floats
    pinna: Floats
    skin_part: Floats


def vertex_zones(head: HeadModel, surface: SurfaceDiffusion, settings: ZoneSettings) -> ZoneWeights:
    """The zones at the vertices of a head model; ``surface`` is of its skin."""
    everywhere = np.ones(head.vertex_count, np.float32)

    def widened(weight: Floats, rounds: int) -> Floats:
        result: Floats = np.maximum(
            weight, np.clip(2.0 * surface.smooth(weight[:, None], everywhere, rounds)[:, 0], 0, 1)
        )
        return result

    features = np.clip(sum(head.region(n) for n in ("brow_left", "brow_right", "eyelids", "lips")), 0.0, 1.0)
    features = widened(features.astype(np.float32), settings.feature_rings)
    core = np.clip(head.region("cheeks") + head.region("nose") + head.region("forehead"), 0.0, 1.0)
    skin_part = np.zeros(head.vertex_count, np.float32)
    skin_part[np.unique(head.triangles[head.part_triangles("skin")])] = 1.0
    skin_part *= 1.0 - head.region("mouth_inside")
    # The auricle is meshed several times finer than the side of the head it stands on.
    fine = 1.0 - smooth_step(surface.edge_length, *settings.pinna_edge)
    stands_off = fine * head.region("ears")
    pinna = widened(stands_off.astype(np.float32), settings.pinna_rings)
    scalp = smooth_step(hair_growth(head.vertices_canonical), *settings.scalp) * (1.0 - pinna) * skin_part
    inner_face = np.clip(sum(head.region(n) for n in ("nose", "eyelids", "lips")), 0.0, 1.0)
    beard = np.clip(head.region("chin") + head.region("jaw"), 0.0, 1.0) * (1.0 - features)
    core = core * (1.0 - features) * (1.0 - scalp)
    return ZoneWeights(
        *(
            np.ascontiguousarray(zone, np.float32)
            for zone in (core, beard, features, inner_face, scalp, head.region("neck"), pinna, skin_part)
        )
    )


def estimate_light_and_skin(
    sky: LampSky,
    seen: Sighting,
    normals: Floats,
    zones: ZoneWeights,
    prior: PhotoLightPrior,
    settings: SkinSettings,
) -> tuple[PhotoLight, SkinModel | None]:
    """Light and skin colour from the vertices, each helping the other.

    Args:
        sky: lamps around the head.
        seen: the vertices in the photo.
        normals: f32 ``[V, 3]``, head space.
        zones: at the vertices.
        prior: of the light.
        settings: how skin is learned.
    """
    base = zones.core * seen.visible * np.clip(seen.facing, 0.0, 1.0)
    learn = (base * (seen.facing > settings.learn_facing)).astype(np.float32)
    skin = fit_skin_model(seen.colour, learn, settings)
    wide = (
        np.clip(zones.core + settings.beard_share * zones.beard, 0.0, 1.0)
        * seen.visible
        * np.clip(seen.facing, 0.0, 1.0)
    )
    likely = _likely_skin(wide, skin, seen.colour, settings.loose_at_first)
    light = estimate_photo_light(sky, normals, seen.colour, likely, prior)
    for _ in range(settings.rounds):
        albedo = seen.colour / light.shade
        skin = fit_skin_model(albedo, learn, settings)
        likely = _likely_skin(wide, skin, albedo, settings.loose)
        light = estimate_photo_light(sky, normals, seen.colour, likely, prior)
    return light, fit_skin_model(seen.colour / light.shade, learn, settings)


def _likely_skin(weights: Floats, skin: SkinModel | None, albedo: Floats, loose: float) -> Floats:
    if skin is None:
        return weights
    deviation = skin.deviation(albedo)
    # Half of a face in shadow is no outlier: left out, the light would seem even and the shadow an occluder.
    unlike = deviation.skin * (1.0 - deviation.dark * skin.warmth(albedo))
    result: Floats = (weights / (1.0 + (unlike / (2.0 * loose)) ** 4)).astype(np.float32)
    return result


@dataclass(frozen=True)
class Evidence:
    """What to take from the photo at N points.

    Attributes:
        weight: f32 ``[N]``, 0–1, of the photo itself.
        occluded: f32 ``[N]``, 0–1, something lies on the skin.
        deviation: f32 ``[N]``, from the skin model.
    """

    weight: Floats
    occluded: Floats
    deviation: Floats


@dataclass(frozen=True)
class PhotoJudge:
    """Judges what of a photo may be taken.

    Attributes:
        settings: how strictly.
        skin: the skin model; None takes everything visible as it is.
    """

    settings: EvidenceSettings
    skin: SkinModel | None

    def judge(
        self, seen: Sighting, shade: Floats, mirrored: Sighting, mirrored_shade: Floats, zones: ZoneWeights
    ) -> Evidence:
        """Weights of the photo at N points whose mirror points are seen as ``mirrored``.

        Args:
            seen, mirrored: the points and their mirror points in the photo.
            shade, mirrored_shade: irradiance f32 ``[N, 3]`` at both.
            zones: at the points.
        """
        settings, skin = self.settings, self.skin
        on_scalp = smooth_step(zones.scalp, *settings.scalp)
        facing = (1.0 - on_scalp) * smooth_step(seen.facing, *settings.face_facing) + on_scalp * smooth_step(
            seen.facing, *settings.scalp_facing
        )
        facing = np.maximum(facing, zones.inner_face * smooth_step(seen.facing, *settings.inner_facing))
        visible = seen.visible * facing * zones.skin_part
        if skin is None:
            nothing = np.zeros_like(visible)
            return Evidence(visible.astype(np.float32), nothing, nothing)
        albedo = seen.colour / shade
        deviation = skin.deviation(albedo)
        partner = skin.deviation(mirrored.colour / mirrored_shade).skin
        partner_seen = mirrored.visible * smooth_step(mirrored.facing, *settings.partner_facing)
        on_face = (1.0 - zones.features) * (1.0 - on_scalp)
        one_sided = skin.occlusion(deviation.skin, partner, partner_seen)
        one_sided = one_sided * smooth_step(zones.core, *settings.core)
        # In a hard shadow nine bands of light are wrong by factors, and what they leave is dark and red, or
        # red.
        warm = np.zeros_like(deviation.strict)
        unlike = np.flatnonzero(deviation.strict > settings.unlike[0])
        warm[unlike] = skin.warmth(albedo[unlike])
        in_shade = warm * (1.0 - smooth_step(luminance(shade), *settings.deep_shade))
        shadow = np.maximum(warm * deviation.dark, in_shade)
        # A nostril in shade on one side is as dark and red as nothing else on a face, and belongs to it.
        occluded = (
            np.maximum(one_sided, deviation.foreign * on_face) * (1.0 - shadow) * (1.0 - zones.inner_face)
        )
        core = zones.core * visible
        covered = float((core * occluded).sum() / max(float(core.sum()), 1e-6))
        if covered > settings.largest_occluder:
            occluded = occluded * np.float32(settings.largest_occluder / covered) ** 2
        # Where the face turns away, a fit that is a few millimetres too wide shows hair or background beside
        # it.
        oblique = (1.0 - smooth_step(seen.facing, *settings.oblique)) * on_face * (1.0 - zones.inner_face)
        beside = smooth_step(deviation.strict, *settings.oblique_unlike) * oblique * (1.0 - in_shade)
        occluded = np.maximum(occluded, beside)
        # Nothing but skin and its shadows belongs on the ears; and collars, scarves and straps make the neck
        # not worth the risk.
        not_ear = smooth_step(deviation.strict, *settings.unlike) * (1.0 - shadow)
        occluded = np.maximum(occluded, not_ear * zones.pinna)
        visible = visible * (1.0 - smooth_step(zones.neck, *settings.neck))
        weight = visible * (1.0 - occluded)
        return Evidence(weight.astype(np.float32), occluded.astype(np.float32), deviation.skin)
