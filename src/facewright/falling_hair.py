"""Long hair that falls over the ears and down the neck.

A head model's hair ends at a hairline around the ears. Where the photo shows hair in place of an ear lobe,
what it does not show beside that ear is hair as well: left as skin, strands on the cheek would hang in front
of a shaved temple.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facewright.photo_view import Sighting
from facewright.skin_model import colour_features, smooth_step
from facewright.surface_diffusion import SurfaceDiffusion
from facewright.texture_evidence import Evidence, ZoneWeights

Floats = NDArray[np.float32]

#: How far hair varies around its mean in (ln luminance, ln R/G, ln B/G): sheen, roots, and what lies below.
_HAIR_SIGMA: Final = np.array([0.8, 0.2, 0.3], np.float32)
#: Distances from hair, in these sigmas, between which a colour is hair and is not.
_LIKE_HAIR: Final = (1.5, 2.5)
#: Deviations from skin between which a colour may be skin and is not.
_UNLIKE_SKIN: Final = (2.0, 3.5)
#: Heights on the mean head between which an ear begins to be its lower half, metres: curls that cover the
#: upper half end there.
_LOWER_EAR: Final = (-0.012, -0.024)
#: Share of it that is hair from which hair falls over the ear, and from which it surely does.
_COVERED: Final = (0.5, 0.75)
#: How many vertices of it must be seen; else the other ear tells.
_LEAST_SEEN: Final = 12.0
#: How far forward hair may fall, (height y, depth z) in metres on the mean head: cheeks and throat stay bare.
_FRONT: Final = np.array(
    [(-0.15, -0.085), (-0.12, -0.07), (-0.09, -0.055), (-0.06, -0.035), (-0.02, -0.02), (0.03, -0.004)]
)
#: Depths on the mean head between which the back begins, metres: hair that falls over one ear only was pushed
#: behind the other.
_BACK: Final = (-0.075, -0.095)
#: Half-width of the passage at that front, and of the one between the sides at the back, metres.
_EDGE: Final = 0.004
_MIDDLE: Final = 0.02
#: Likelihoods of hair between which hair begins to hide the skin.
_HIDES: Final = (0.4, 0.6)
#: How strongly what is seen is pinned, relative to one mesh edge, and the pull to hair of what is not.
_PIN: Final = 4.0
_SCREENING: Final = 0.03


@dataclass(frozen=True)
class FallingHair:
    """Hair beside a face, at the vertices.

    Attributes:
        likely: f32 ``[V]``, 0–1, how likely hair lies there, seen or not.
        seen: f32 ``[V]``, 0–1, where the photo shows it.
    """

    likely: Floats
    seen: Floats


class HairOverEars:
    """Tells, on one head model, whether hair falls over the ears, and where it then lies.

    Args:
        mean: f32 ``[V, 3]``, the mean head, metres.
        zones: at its vertices.
        diffusion: over the skin's surface.
    """

    def __init__(self, mean: Floats, zones: ZoneWeights, diffusion: SurfaceDiffusion) -> None:
        self._scalp = zones.scalp
        self._diffusion = diffusion
        left = smooth_step(mean[:, 0], -_MIDDLE, _MIDDLE)
        self._back = smooth_step(-mean[:, 2], -_BACK[0], -_BACK[1])
        #: f32 ``[V]`` of the left and of the right half of the head, and of the lower ear on it.
        self._sides = (left, 1.0 - left)
        lower = zones.pinna * smooth_step(-mean[:, 1], -_LOWER_EAR[0], -_LOWER_EAR[1])
        self._lower_ears = tuple((side * lower).astype(np.float32) for side in self._sides)

    def find(
        self, seen: Sighting, colours: Floats, evidence: Evidence, hair_tone: Floats
    ) -> FallingHair | None:
        """The hair beside the face; None where the photo shows the ears.

        Args:
            seen: the vertices in the photo.
            colours: f32 ``[V, 3]``, linear, of the vertices with the light divided out as asked.
            evidence: at the vertices.
            hair_tone: typical hair colour, linear f32 ``[3]``, in the same light.
        """
        offset = (colour_features(colours) - colour_features(hair_tone[None])) / _HAIR_SIGMA
        like_hair = 1.0 - smooth_step(np.linalg.norm(offset, axis=1), *_LIKE_HAIR)
        not_skin = smooth_step(evidence.deviation, *_UNLIKE_SKIN)
        hair = seen.visible * like_hair * not_skin
        shown = np.array([ear @ seen.visible for ear in self._lower_ears])
        covered = np.array([ear @ hair for ear in self._lower_ears]) / np.maximum(shown, 1e-6)
        covered = np.where(shown < _LEAST_SEEN, covered[::-1], covered)
        falls = smooth_step(covered, *_COVERED) * (shown.max() >= _LEAST_SEEN)
        if not falls.any():
            return None
        # What is neither like skin nor like hair says nothing. Solved for what is bare: far from anything
        # seen the solution goes to 0, and there is hair.
        bare = seen.visible * (1.0 - not_skin)
        pinned = _PIN * (hair + bare) * (1.0 - self._scalp)
        share = self._diffusion.complete((bare / np.maximum(hair + bare, 1e-6))[:, None], pinned, _SCREENING)
        here = falls[0] * self._sides[0] + falls[1] * self._sides[1]
        here = np.maximum(here, self._back * falls.max())
        likely = np.clip(1.0 - share[:, 0], 0.0, 1.0) * here
        return FallingHair(likely.astype(np.float32), (hair * here).astype(np.float32))


def room_for_hair(position: Floats, zones: ZoneWeights) -> Floats:
    """Where falling hair may hide the skin, 0–1 f32 ``[N]``: not on the face and the throat.

    Args:
        position: f32 ``[N, 3]``, points on the mean head, metres.
        zones: at the points.
    """
    behind = np.interp(position[:, 1], _FRONT[:, 0], _FRONT[:, 1]) - position[:, 2]
    free = (1.0 - zones.inner_face) * (1.0 - zones.features) * zones.skin_part
    result: Floats = (smooth_step(behind, -_EDGE, _EDGE) * free).astype(np.float32)
    return result


def hides_skin(likely: Floats, room: Floats) -> Floats:
    """How far hair hides the skin, 0–1 f32 ``[N]``: how likely it lies, within :func:`room_for_hair`."""
    result: Floats = smooth_step(likely, *_HIDES) * room
    return result
