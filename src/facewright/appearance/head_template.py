"""What is painted where no photo says anything: tints of a generic face relative to its skin, scalp, mouth,
teeth.

There is no library of scanned textures to take a background from (as paper "twin", sec. 3.5, has), so the
background is a few tints per region, and its tone, membrane and fine structure come from the photo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from facewright.core.arrays import Floats
from facewright.core.settings import BY_EYE, Range, Triple
from facewright.head.ambient_occlusion import ambient_occlusion
from facewright.head.head_model import HeadModel


@dataclass(frozen=True)
class TemplateSettings:
    """Tints of a generic head. The likeness benchmark cannot see into mouths: its avatars' are shut."""

    #: Albedo relative to mean skin.
    lip_tint: Annotated[Triple, "of skin", BY_EYE] = (0.92, 0.66, 0.66)
    eyelid_tint: Annotated[Triple, "of skin", BY_EYE] = (0.86, 0.80, 0.80)
    ear_tint: Annotated[Triple, "of skin", BY_EYE] = (1.0, 0.92, 0.90)
    #: Exponent on ambient occlusion, on ears, and the least that it leaves: under the jaw and behind the ears
    #: photos are darker than a uniform sky alone would make them.
    crease_power: Annotated[float, "exponent", BY_EYE] = 3.0
    ear_crease_power: Annotated[float, "exponent", BY_EYE] = 1.0
    crease_floor: Annotated[float, "share of light", BY_EYE] = 0.15
    #: Albedo of what is not skin.
    mouth: Annotated[Triple, "linear albedo", BY_EYE] = (0.16, 0.045, 0.04)
    teeth: Annotated[Triple, "linear albedo", BY_EYE] = (0.60, 0.55, 0.46)
    tongue: Annotated[Triple, "linear albedo", BY_EYE] = (0.36, 0.13, 0.12)
    #: Molars and the root of the tongue lie in the dark, and the lining darkens towards the throat: what is
    #: left of albedo at the back, and the exponent on the way to the front.
    molars: Annotated[float, "share of albedo", BY_EYE] = 0.35
    molars_power: Annotated[float, "exponent", BY_EYE] = 0.7
    throat: Annotated[float, "share of albedo", BY_EYE] = 0.15
    throat_power: Annotated[float, "exponent", BY_EYE] = 2.0
    #: Growth of a triangle's area from an open to a closed eye between which it counts as folded away.
    fold_stretch: Annotated[Range, "times its area", BY_EYE] = (1.5, 3.0)


@dataclass(frozen=True)
class HeadTemplate:
    """Per-vertex template of one head model.

    Attributes:
        tint: f32 ``[V, 3]``, albedo relative to mean skin, > 0.
        inner_colour: f32 ``[V, 3]``, linear albedo of mouth, teeth and tongue.
        inner: f32 ``[V]``, 1 where ``inner_colour`` applies.
        teeth: f32 ``[V]``, 1 on teeth.
        folded: f32 ``[V]``, 0–1, the part of the upper lids that an open eye folds away.
    """

    tint: Floats
    inner_colour: Floats
    inner: Floats
    teeth: Floats
    folded: Floats


def head_template(head: HeadModel, settings: TemplateSettings) -> HeadTemplate:
    """The template of a head model."""
    mouth, teeth_colour, tongue = (
        np.array(colour, np.float32) for colour in (settings.mouth, settings.teeth, settings.tongue)
    )
    count = head.vertex_count
    tint = np.ones((count, 3), np.float32)
    for name, relative in (
        ("ears", settings.ear_tint),
        ("eyelids", settings.eyelid_tint),
        ("lips", settings.lip_tint),
    ):
        weight = head.region(name)[:, None]
        tint *= 1.0 - weight + weight * np.array(relative, np.float32)
    tint *= _creases(head, settings)[:, None]
    inner_colour = np.broadcast_to(mouth, (count, 3)).astype(np.float32)
    inner = head.region("mouth_inside").astype(np.float32).copy()
    mean = head.vertices_mean
    for part, colour in (("teeth_upper", teeth_colour), ("teeth_lower", teeth_colour), ("tongue", tongue)):
        if part not in head.part_names:
            continue
        vertices = np.unique(head.triangles[head.part_triangles(part)])
        depth = mean[vertices, 2]
        forward = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-6)
        share = settings.molars + (1.0 - settings.molars) * forward[:, None] ** settings.molars_power
        inner_colour[vertices] = colour * share
        inner[vertices] = 1.0
    lining = np.flatnonzero((head.region("mouth_inside") > 0) & (inner < 1.0 + 1e-6))
    lining = np.setdiff1d(lining, _part_vertices(head, ("teeth_upper", "teeth_lower", "tongue")))
    if len(lining):
        depth = mean[lining, 2]
        forward = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-6)
        share = settings.throat + (1.0 - settings.throat) * forward[:, None] ** settings.throat_power
        inner_colour[lining] = mouth * share
    teeth = np.zeros(count, np.float32)
    teeth[_part_vertices(head, ("teeth_upper", "teeth_lower"))] = 1.0
    return HeadTemplate(tint, inner_colour, inner, teeth, _folded_lids(head, settings.fold_stretch))


def _folded_lids(head: HeadModel, fold_stretch: Range) -> Floats:
    """Where the skin of the lids is stretched when the eyes close, f32 ``[V]`` in 0-1: triangles that grow to
    ``fold_stretch`` times their area."""
    blinks = np.isin(head.expression_names, ("eyeBlinkLeft", "eyeBlinkRight"))
    mean = head.vertices_mean
    closed = mean + head.expression_basis[blinks].sum(axis=0)
    skin = head.triangles[head.part_triangles("skin")]
    stretch = _areas(closed[skin]) / np.maximum(_areas(mean[skin]), 1e-12)
    low, high = fold_stretch
    on_lids = head.region("eyelids")[skin].mean(axis=1) > 0.3
    folds = on_lids * np.clip((stretch - low) / (high - low), 0.0, 1.0)
    total = np.bincount(skin.ravel(), np.repeat(folds, 3), len(mean))
    around = np.maximum(np.bincount(skin.ravel(), minlength=len(mean)), 1)
    # At the rim of the lid only half of the triangles fold: the lashes themselves stay.
    result: Floats = np.minimum(1.5 * total / around, 1.0).astype(np.float32)
    return result


def _areas(corners: Floats) -> Floats:
    """Twice the areas f32 ``[F]`` of triangles ``[F, 3, 3]``."""
    sides = corners[:, 1:] - corners[:, :1]
    result: Floats = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    return result


def _creases(head: HeadModel, settings: TemplateSettings) -> Floats:
    """How much darker each vertex is for lying in a crease, f32 ``[V]`` in 0-1.

    Not on lids, nose and lips: photos show them, and what an open eye or a closed mouth folds away comes out
    well lit.
    """
    on_ears = settings.ear_crease_power - settings.crease_power
    power = settings.crease_power + on_ears * head.region("ears")
    in_photo = np.clip(sum(head.region(name) for name in ("eyelids", "nose", "lips")), 0.0, 1.0)
    power = power * (1.0 - in_photo)
    light = np.clip(ambient_occlusion(head.vertices_mean, head.triangles), 1e-3, 1.0)
    result: Floats = np.maximum(light**power, settings.crease_floor).astype(np.float32)
    return result


def _part_vertices(head: HeadModel, parts: tuple[str, ...]) -> NDArray[np.int32]:
    present = [part for part in parts if part in head.part_names]
    if not present:
        return np.zeros(0, np.int32)
    return np.unique(np.concatenate([head.triangles[head.part_triangles(part)].ravel() for part in present]))
