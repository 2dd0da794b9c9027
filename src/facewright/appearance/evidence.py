"""Which texels the photo determines: visible, facing the camera, and skin (or hair, on the scalp).

Every decision is a soft weight, so that no border of a decision shows in the texture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facewright.appearance.photo_view import Sighting
from facewright.appearance.sh_light import ShLight, estimate_sh_light
from facewright.appearance.skin_model import SkinModel, fit_skin_model, occlusion, smooth_step
from facewright.appearance.surface_diffusion import SurfaceDiffusion
from facewright.core.arrays import Floats
from facewright.core.colour import luminance
from facewright.head.hairline import hair_growth
from facewright.head.head_model import HeadModel

#: Cosines between which a texel of face or scalp passes from "too oblique" to "taken from the photo".
FACE_FACING = (0.14, 0.34)
INNER_FACING = (0.04, 0.16)
SCALP_FACING = (0.26, 0.48)
#: Cosines below and above which a fit's outline does and does not matter.
OBLIQUE = (0.25, 0.45)
#: Irradiance relative to the face's mean below and above which a point lies in deep shade or does not.
DEEP_SHADE = (0.35, 0.65)
#: Deviation from skin below which nothing is taken for an occluder, wherever it lies.
LEAST_UNLIKE = 2.2
#: Above this share of the face's core contradicting its mirror side, it is light, not an occluder.
LARGEST_OCCLUDER = 0.35


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


def vertex_zones(head: HeadModel, surface: SurfaceDiffusion) -> ZoneWeights:
    """The zones at the vertices of a head model; ``surface`` is of its skin."""
    everywhere = np.ones(head.vertex_count, np.float32)

    def widened(weight: Floats, rounds: int) -> Floats:
        result: Floats = np.maximum(
            weight, np.clip(2.0 * surface.smooth(weight[:, None], everywhere, rounds)[:, 0], 0, 1)
        )
        return result

    features = np.clip(sum(head.region(n) for n in ("brow_left", "brow_right", "eyelids", "lips")), 0.0, 1.0)
    features = widened(features.astype(np.float32), 4)
    core = np.clip(head.region("cheeks") + head.region("nose") + head.region("forehead"), 0.0, 1.0)
    skin_part = np.zeros(head.vertex_count, np.float32)
    skin_part[np.unique(head.triangles[head.part_triangles("skin")])] = 1.0
    skin_part *= 1.0 - head.region("mouth_inside")
    mean = head.vertices_mean
    # The auricle is meshed several times finer than the side of the head it stands on.
    fine = 1.0 - smooth_step(surface.edge_length, 0.0055, 0.0085)
    stands_off = fine * head.region("ears")
    pinna = widened(stands_off.astype(np.float32), 2)
    scalp = smooth_step(hair_growth(mean), -0.006, 0.006) * (1.0 - pinna) * skin_part
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
    seen: Sighting, normals: Floats, zones: ZoneWeights
) -> tuple[ShLight, SkinModel | None]:
    """Light and skin colour from the vertices, each helping the other: two rounds.

    Args:
        seen: the vertices in the photo.
        normals: f32 ``[V, 3]``, head space.
        zones: at the vertices.
    """
    base = zones.core * seen.visible * np.clip(seen.facing, 0.0, 1.0)
    learn = (base * (seen.facing > 0.3)).astype(np.float32)
    skin = fit_skin_model(seen.colour, learn)
    wide = np.clip(zones.core + 0.7 * zones.beard, 0.0, 1.0) * seen.visible * np.clip(seen.facing, 0.0, 1.0)
    light = estimate_sh_light(normals, seen.colour, _likely_skin(wide, skin, seen.colour, loose=2.0))
    for _ in range(2):
        albedo = seen.colour / light.irradiance(normals)
        skin = fit_skin_model(albedo, learn)
        light = estimate_sh_light(normals, seen.colour, _likely_skin(wide, skin, albedo, loose=1.3))
    return light, fit_skin_model(seen.colour / light.irradiance(normals), learn)


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


def judge(
    seen: Sighting,
    shade: Floats,
    mirrored: Sighting,
    mirrored_shade: Floats,
    zones: ZoneWeights,
    skin: SkinModel | None,
) -> Evidence:
    """Weights of the photo at N points whose mirror points are seen as ``mirrored``.

    Args:
        seen, mirrored: the points and their mirror points in the photo.
        shade, mirrored_shade: irradiance f32 ``[N, 3]`` at both.
        zones: at the points.
        skin: the skin model; None takes everything visible as it is.
    """
    on_scalp = smooth_step(zones.scalp, 0.2, 0.6)
    facing = (1.0 - on_scalp) * smooth_step(seen.facing, *FACE_FACING) + on_scalp * smooth_step(
        seen.facing, *SCALP_FACING
    )
    facing = np.maximum(facing, zones.inner_face * smooth_step(seen.facing, *INNER_FACING))
    visible = seen.visible * facing * zones.skin_part
    if skin is None:
        nothing = np.zeros_like(visible)
        return Evidence(visible.astype(np.float32), nothing, nothing)
    albedo = seen.colour / shade
    deviation = skin.deviation(albedo)
    partner = skin.deviation(mirrored.colour / mirrored_shade).skin
    partner_seen = mirrored.visible * smooth_step(mirrored.facing, 0.2, 0.4)
    on_face = (1.0 - zones.features) * (1.0 - on_scalp)
    one_sided = occlusion(deviation.skin, partner, partner_seen) * smooth_step(zones.core, 0.1, 0.5)
    # In a hard shadow nine bands of light are wrong by factors, and what they leave is dark and red, or red.
    warm = np.zeros_like(deviation.strict)
    unlike = np.flatnonzero(deviation.strict > LEAST_UNLIKE)
    warm[unlike] = skin.warmth(albedo[unlike])
    in_shade = warm * (1.0 - smooth_step(luminance(shade), *DEEP_SHADE))
    shadow = np.maximum(warm * deviation.dark, in_shade)
    # A nostril in shade on one side is as dark and red as nothing else on a face, and belongs to it.
    occluded = np.maximum(one_sided, deviation.foreign * on_face) * (1.0 - shadow) * (1.0 - zones.inner_face)
    core = zones.core * visible
    covered = float((core * occluded).sum() / max(float(core.sum()), 1e-6))
    if covered > LARGEST_OCCLUDER:
        occluded = occluded * np.float32(LARGEST_OCCLUDER / covered) ** 2
    # Where the face turns away, a fit that is a few millimetres too wide shows hair or background beside it.
    oblique = (1.0 - smooth_step(seen.facing, *OBLIQUE)) * on_face * (1.0 - zones.inner_face)
    occluded = np.maximum(occluded, smooth_step(deviation.strict, 3.4, 5.0) * oblique * (1.0 - in_shade))
    # Nothing but skin and its shadows belongs on the ears; and collars, scarves and straps make the neck not
    # worth the risk.
    not_ear = smooth_step(deviation.strict, LEAST_UNLIKE, 3.6) * (1.0 - shadow)
    occluded = np.maximum(occluded, not_ear * zones.pinna)
    visible = visible * (1.0 - smooth_step(zones.neck, 0.2, 0.8))
    weight = visible * (1.0 - occluded)
    return Evidence(weight.astype(np.float32), occluded.astype(np.float32), deviation.skin)
