"""Long hair that falls over the ears and down the neck.

A head model's hair ends at a hairline around the ears. Where the photo shows hair in place of an ear lobe,
what it does not show beside that ear is hair as well: left as skin, strands on the cheek would hang in front
of a shaved temple. Where it shows hair on both sides of the neck, hair hangs down behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np

from facewright.appearance.evidence import Evidence, ZoneWeights
from facewright.appearance.photo_view import PhotoView, Sighting
from facewright.appearance.skin_model import SkinModel, colour_features, smooth_step
from facewright.appearance.surface_diffusion import SurfaceDiffusion
from facewright.core.arrays import Floats
from facewright.core.settings import BY_EYE, Range, Triple
from facewright.head.head_model import HeadModel

#: How far forward hair may fall, drawn by eye: (height y, depth z) in metres on the canonical head; cheeks
#: and throat stay bare.
_FRONT: Final = np.array(
    [(-0.15, -0.085), (-0.12, -0.07), (-0.09, -0.055), (-0.06, -0.035), (-0.02, -0.02), (0.03, -0.004)]
)


@dataclass(frozen=True)
class FallingHairSettings:
    """How long hair is told, and where it then lies."""

    #: How far hair varies around its mean in (ln luminance, ln R/G, ln B/G): sheen, roots, and what lies
    #: below.
    hair_sigma: Annotated[Triple, "ln", BY_EYE] = (0.8, 0.25, 0.45)
    #: Distances from hair between which a colour is hair and is not.
    like_hair: Annotated[Range, "hair_sigma", BY_EYE] = (1.5, 2.5)
    #: Deviations from skin between which a colour may be skin and is not; and beside the head, where no model
    #: of skin applies, distances from its mean.
    unlike_skin: Annotated[Range, "sigmas", BY_EYE] = (2.0, 3.5)
    skin_sigma: Annotated[Triple, "ln", BY_EYE] = (0.45, 0.15, 0.2)
    unlike_tone: Annotated[Range, "skin_sigma", BY_EYE] = (1.0, 2.0)
    #: Depths below the canonical head's origin between which an ear begins to be its lower half: curls that
    #: cover the upper half end there.
    lower_ear: Annotated[Range, "metres", BY_EYE] = (0.012, 0.024)
    #: Share of it that is hair from which hair falls over the ear, and from which it surely does; and what
    #: hair below and beside the ear adds to that share. Close together: half a decision would be streaks of
    #: skin.
    covered: Annotated[Range, "share", BY_EYE] = (0.88, 0.93)
    beside_adds: Annotated[float, "share", BY_EYE] = 0.25
    #: Places beside an ear lobe: outward, and down from it.
    outward: Annotated[Triple, "metres", BY_EYE] = (-0.004, 0.004, 0.012)
    down: Annotated[Triple, "metres", BY_EYE] = (0.0, 0.008, 0.016)
    #: Share of these that is hair on the side with less of it, and on the side with more, from which hair
    #: hangs behind the neck, and surely does. A dark collar seldom reaches so high on both sides.
    less_side: Annotated[Range, "share", BY_EYE] = (0.55, 0.65)
    more_side: Annotated[Range, "share", BY_EYE] = (0.7, 0.8)
    #: How many vertices of it must be seen; else the other ear tells.
    least_seen: Annotated[float, "vertices", BY_EYE] = 12.0
    #: Depths behind the canonical head's origin between which the back begins: hair that falls over one ear
    #: only was pushed behind the other.
    back: Annotated[Range, "metres", BY_EYE] = (0.075, 0.095)
    #: Half-width of the passage at the front of the hair, and of the one between the sides at the back.
    edge: Annotated[float, "metres", BY_EYE] = 0.004
    middle: Annotated[float, "metres", BY_EYE] = 0.02
    #: Likelihoods of hair between which hair begins to hide the skin.
    hides: Annotated[Range, "probability", BY_EYE] = (0.4, 0.6)
    #: How strongly what is seen is pinned, and the pull to hair of what is not.
    pin: Annotated[float, "of a mesh edge", BY_EYE] = 4.0
    screening: Annotated[float, "of a mesh edge", BY_EYE] = 0.03


@dataclass(frozen=True)
class FallingHair:
    """Hair beside a face, at the vertices.

    Attributes:
        likely: f32 ``[V]``, 0–1, how likely hair lies there, seen or not.
        seen: f32 ``[V]``, 0–1, where the photo shows it.
    """

    likely: Floats
    seen: Floats


@dataclass(frozen=True)
class BesideEars:
    """What the photo shows beside the left and the right ear lobe, at K places each.

    Attributes:
        colours: f32 ``[2, K, 3]``, linear.
        person: f32 ``[2, K]``, 0–1, whether it is the person and not the background.
    """

    colours: Floats
    person: Floats


@dataclass(frozen=True)
class SeenHead:
    """A head in the photo, judged.

    Attributes:
        vertices: what is seen of them.
        beside: what is seen beside the ears.
        colours: f32 ``[V, 3]``, linear, of the vertices with the light divided out as asked.
        evidence: at the vertices.
        skin: the skin model; None where no skin was seen.
        skin_tone: mean skin, linear f32 ``[3]``, in the same light as ``colours``.
    """

    vertices: Sighting
    beside: BesideEars
    colours: Floats
    evidence: Evidence
    skin: SkinModel | None
    skin_tone: Floats


class HairOverEars:
    """Tells, on one head model, whether hair falls over the ears, and where it then lies.

    Args:
        head: the head model.
        zones: at its vertices.
        diffusion: over the skin's surface.
        settings: how long hair is told.
    """

    def __init__(
        self,
        head: HeadModel,
        zones: ZoneWeights,
        diffusion: SurfaceDiffusion,
        settings: FallingHairSettings,
    ) -> None:
        self._settings = settings
        place = head.vertices_canonical
        ears = head.region("ears") > 0.5
        self._ears = (np.flatnonzero(ears & (place[:, 0] > 0)), np.flatnonzero(ears & (place[:, 0] < 0)))
        self._scalp = zones.scalp
        self._diffusion = diffusion
        left = smooth_step(place[:, 0], -settings.middle, settings.middle)
        self._back = smooth_step(-place[:, 2], *settings.back)
        #: f32 ``[V]`` of the left and of the right half of the head, and of the lower ear on it.
        self._sides = (left, 1.0 - left)
        lower = zones.pinna * smooth_step(-place[:, 1], *settings.lower_ear)
        self._lower_ears = tuple((side * lower).astype(np.float32) for side in self._sides)

    def look_beside(self, view: PhotoView, vertices: Floats) -> BesideEars:
        """What ``view`` shows beside the ear lobes of the fitted head f32 ``[V, 3]``, head space, metres."""
        lobes = []
        for side, ear in zip((1.0, -1.0), self._ears, strict=True):
            own = vertices[ear]
            outermost = side * (side * own[:, 0]).max()
            lobe = (outermost, own[:, 1].min(), own[:, 2].mean())
            outward, down = self._settings.outward, self._settings.down
            lobes.append([np.add(lobe, (side * out, -below, 0.0)) for out in outward for below in down])
        points = np.array(lobes, np.float32)
        colours, person = view.person_at(points.reshape(-1, 3))
        return BesideEars(colours.reshape(points.shape), person.reshape(points.shape[:2]))

    def find(self, head: SeenHead, hair_tone: Floats) -> FallingHair | None:
        """The hair beside the face; None where the photo shows the ears and no hair below them.

        Args:
            head: in the photo.
            hair_tone: typical hair, linear f32 ``[3]``, in the same light.
        """
        settings = self._settings
        from_hair = _distance(head.colours, hair_tone, settings.hair_sigma)
        like_hair = 1.0 - smooth_step(from_hair, *settings.like_hair)
        not_skin = smooth_step(head.evidence.deviation, *settings.unlike_skin)
        visible = head.vertices.visible
        hair = visible * like_hair * not_skin
        shown = np.array([ear @ visible for ear in self._lower_ears])
        covered = np.array([ear @ hair for ear in self._lower_ears]) / np.maximum(shown, 1e-6)
        covered = np.where(shown < settings.least_seen, covered[::-1], covered)
        hangs = self._share_of_hair(head.beside, hair_tone, head.skin_tone)
        falls = smooth_step(covered + settings.beside_adds * hangs, *settings.covered)
        falls = falls * (shown.max() >= settings.least_seen)
        both_sides = smooth_step(hangs.min(), *settings.less_side)
        both_sides = both_sides * smooth_step(hangs.max(), *settings.more_side)
        behind = np.maximum(both_sides, falls.max())
        if not behind > 0.0:
            return None
        # What is neither like skin nor like hair says nothing. Solved for what is bare: far from anything
        # seen the solution goes to 0, and there is hair.
        bare = visible * (1.0 - not_skin)
        pinned = settings.pin * (hair + bare) * (1.0 - self._scalp)
        known = (bare / np.maximum(hair + bare, 1e-6))[:, None]
        share = self._diffusion.complete(known, pinned, settings.screening)
        here = falls[0] * self._sides[0] + falls[1] * self._sides[1]
        here = np.maximum(here, self._back * behind)
        likely = np.clip(1.0 - share[:, 0], 0.0, 1.0) * here
        return FallingHair(likely.astype(np.float32), (hair * here).astype(np.float32))

    def _share_of_hair(self, beside: BesideEars, hair_tone: Floats, skin_tone: Floats) -> Floats:
        """How much of what the photo shows beside each ear is hair, 0–1 f32 ``[2]``."""
        settings = self._settings
        colours = beside.colours.reshape(-1, 3)
        from_hair = _distance(colours, hair_tone, settings.hair_sigma)
        like_hair = 1.0 - smooth_step(from_hair, *settings.like_hair)
        not_skin = smooth_step(_distance(colours, skin_tone, settings.skin_sigma), *settings.unlike_tone)
        result: Floats = (beside.person * (like_hair * not_skin).reshape(2, -1)).mean(axis=1)
        return result


def _distance(colours: Floats, tone: Floats, sigma: Triple) -> Floats:
    """f32 ``[N]``, of linear colours ``[N, 3]`` from a tone ``[3]``, in sigmas of their features."""
    offset = colour_features(colours) - colour_features(tone[None])
    result: Floats = np.linalg.norm(offset / np.array(sigma, np.float32), axis=1)
    return result


def room_for_hair(position: Floats, zones: ZoneWeights, settings: FallingHairSettings) -> Floats:
    """Where falling hair may hide the skin, 0–1 f32 ``[N]``: not on the face and the throat.

    Args:
        position: f32 ``[N, 3]``, points on the canonical head, metres.
        zones: at the points.
        settings: how softly it ends.
    """
    behind = np.interp(position[:, 1], _FRONT[:, 0], _FRONT[:, 1]) - position[:, 2]
    free = (1.0 - zones.inner_face) * (1.0 - zones.features) * zones.skin_part
    result: Floats = (smooth_step(behind, -settings.edge, settings.edge) * free).astype(np.float32)
    return result


def hides_skin(likely: Floats, room: Floats, settings: FallingHairSettings) -> Floats:
    """How far hair hides the skin, 0–1 f32 ``[N]``: how likely it lies, within :func:`room_for_hair`."""
    result: Floats = smooth_step(likely, *settings.hides) * room
    return result
