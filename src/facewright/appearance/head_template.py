"""What is painted where no photo says anything: tints of a generic face relative to its skin, scalp, mouth,
teeth.

There is no library of scanned textures to take a background from (as paper "twin", sec. 3.5, has), so the
background is a few tints per region, and its tone, membrane and fine structure come from the photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facewright.core.arrays import Floats
from facewright.head.ambient_occlusion import ambient_occlusion
from facewright.head.head_model import HeadModel

#: Albedo relative to mean skin.
LIP_TINT = np.array([0.92, 0.66, 0.66], np.float32)
EYELID_TINT = np.array([0.86, 0.80, 0.80], np.float32)
EAR_TINT = np.array([1.0, 0.92, 0.90], np.float32)
#: Exponent on ambient occlusion, and the least that it leaves: under the jaw and behind the ears photos are
#: darker than a uniform sky alone would make them.
CREASE_POWER = 3.0
EAR_CREASE_POWER = 1.0
CREASE_FLOOR = 0.15
#: Linear albedo of what is not skin.
MOUTH = np.array([0.16, 0.045, 0.04], np.float32)
TEETH = np.array([0.60, 0.55, 0.46], np.float32)
TONGUE = np.array([0.36, 0.13, 0.12], np.float32)
#: Growth of a triangle's area from an open to a closed eye between which it counts as folded away.
FOLD_STRETCH = (1.5, 3.0)


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


def head_template(head: HeadModel) -> HeadTemplate:
    """The template of a head model."""
    count = head.vertex_count
    tint = np.ones((count, 3), np.float32)
    for name, colour in (
        ("ears", EAR_TINT),
        ("eyelids", EYELID_TINT),
        ("lips", LIP_TINT),
    ):
        weight = head.region(name)[:, None]
        tint *= 1.0 - weight + weight * colour
    tint *= _creases(head)[:, None]
    inner_colour = np.broadcast_to(MOUTH, (count, 3)).astype(np.float32)
    inner = head.region("mouth_inside").astype(np.float32).copy()
    mean = head.vertices_mean
    for part, colour in (("teeth_upper", TEETH), ("teeth_lower", TEETH), ("tongue", TONGUE)):
        if part not in head.part_names:
            continue
        vertices = np.unique(head.triangles[head.part_triangles(part)])
        depth = mean[vertices, 2]
        forward = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-6)
        # Molars and the root of the tongue lie in the dark.
        inner_colour[vertices] = colour * (0.35 + 0.65 * forward[:, None] ** 0.7)
        inner[vertices] = 1.0
    # The mouth's lining darkens towards the throat.
    lining = np.flatnonzero((head.region("mouth_inside") > 0) & (inner < 1.0 + 1e-6))
    lining = np.setdiff1d(lining, _part_vertices(head, ("teeth_upper", "teeth_lower", "tongue")))
    if len(lining):
        depth = mean[lining, 2]
        forward = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-6)
        inner_colour[lining] = MOUTH * (0.15 + 0.85 * forward[:, None] ** 2)
    teeth = np.zeros(count, np.float32)
    teeth[_part_vertices(head, ("teeth_upper", "teeth_lower"))] = 1.0
    return HeadTemplate(tint, inner_colour, inner, teeth, _folded_lids(head))


def _folded_lids(head: HeadModel) -> Floats:
    """Where the skin of the lids is stretched when the eyes close, f32 ``[V]`` in 0-1: triangles that grow to
    `FOLD_STRETCH` times their area."""
    blinks = np.isin(head.expression_names, ("eyeBlinkLeft", "eyeBlinkRight"))
    mean = head.vertices_mean
    closed = mean + head.expression_basis[blinks].sum(axis=0)
    skin = head.triangles[head.part_triangles("skin")]
    stretch = _areas(closed[skin]) / np.maximum(_areas(mean[skin]), 1e-12)
    low, high = FOLD_STRETCH
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


def _creases(head: HeadModel) -> Floats:
    """How much darker each vertex is for lying in a crease, f32 ``[V]`` in 0-1.

    Not on lids, nose and lips: photos show them, and what an open eye or a closed mouth folds away comes out
    well lit.
    """
    power = CREASE_POWER + (EAR_CREASE_POWER - CREASE_POWER) * head.region("ears")
    in_photo = np.clip(sum(head.region(name) for name in ("eyelids", "nose", "lips")), 0.0, 1.0)
    power = power * (1.0 - in_photo)
    light = np.clip(ambient_occlusion(head.vertices_mean, head.triangles), 1e-3, 1.0)
    result: Floats = np.maximum(light**power, CREASE_FLOOR).astype(np.float32)
    return result


def _part_vertices(head: HeadModel, parts: tuple[str, ...]) -> NDArray[np.int32]:
    present = [part for part in parts if part in head.part_names]
    if not present:
        return np.zeros(0, np.int32)
    return np.unique(np.concatenate([head.triangles[head.part_triangles(part)].ravel() for part in present]))
