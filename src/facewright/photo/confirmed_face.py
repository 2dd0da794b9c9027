"""Faces that the landmark network confirms where the detector saw one, and which way up they are.

The landmark network sees a face in whatever the detector takes for one, and is as sure of an upright face
that is cut off at its nose as of the same face upside down, with its mouth in the hair. Its score does not
tell them apart, nor does the detector's. But the landmarks of a face that is there stay where they are when
the view is tilted; those of one that is not tilt with it. How far they move, their sway, was measured on 289
faces that both networks found upright as well as upside down (100 portraits, and crops that cut them):

| of the face in the photo | faces | sway, upright | sway, upside down |
|---|---|---|---|
| 0.9 and more | 198 | 0.02 to 0.07 | 0.08 to 0.29 |
| 0.6 to 0.9 | 62 | 0.04 to 0.15 | 0.10 to 0.25 |
| less | 29 | 0.09 to 0.16, three to 0.25 | 0.11 to 0.25 |

Of the same face the upright one sways more 7 times in 289; the detector is surer of the wrong one 23 times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.photo.face_detection import FaceDetection
from facewright.photo.face_networks import FaceNetworks
from facewright.photo.face_proportions import too_flat
from facewright.photo.landmark_crop import (
    FaceView,
    sample_view,
    view_from_box,
    view_from_landmarks,
)
from facewright.photo.photo import Photo
from facewright.pipelines.tensors import MESH_COUNT

F64 = npt.NDArray[np.float64]

#: The landmark network's probability below which a detection is not a face (animals, toys, patterns).
MIN_FACE_SCORE: Final = 0.5
_IRISES: Final = (468, 473)
# Below this a detection is looked at again.
_DOUBTFUL_SCORE: Final = 0.9
_MORE_LOOKS: Final = 3
# Median movement of a doubtful face's landmarks between the last two looks, of its height. Measured after
# three looks: 0.01-0.015 on dark and masked profiles, 0.035 and growing on a colour wheel.
_MOST_WANDERING: Final = 0.025
# Above this detection score a face is not seen upside down (0.86 at most).
_SURELY_UPRIGHT: Final = 0.9
_TILT: Final = 0.6  # radians
#: Sway of whole faces that are the right way up; above it the other way is tried, too.
_STEADY: Final = 0.075
# Above this too little of a face is there, where an edge of the photo cuts it off.
_MOST_SWAY: Final = 0.16
# The same where the photo would have to lie on its side or head.
_MOST_SWAY_TURNED: Final = 0.12
# By how much one way up has to sway less than the other, where neither is as steady as `_RATHER_STEADY`.
_CLEARLY_LESS: Final = 0.8
_RATHER_STEADY: Final = 0.1


@dataclass(frozen=True, eq=False)
class ConfirmedFace:
    """Its landmarks and their score are of one look, the last, in photo pixels: they stay what they are when
    the photo is decoded again.

    Attributes:
        landmarks: ``[478, 2]``.
        score: the landmark network's probability of a face.
        detection_score: the detector's.
        prominence: larger and nearer to the middle of the photo is more.
    """

    landmarks: F64
    score: float
    detection_score: float
    prominence: float

    @property
    def box(self) -> F64:
        """Corners [2, 2] of the box around the landmarks of the skin."""
        mesh = self.landmarks[:MESH_COUNT]
        return np.stack([mesh.min(axis=0), mesh.max(axis=0)])


@dataclass(frozen=True, eq=False)
class _Look:
    """Landmarks ``[478, 2]`` in pixels of the image, their score, and how far they still wander and sway."""

    landmarks: F64
    score: float
    wandered: float = 0.0
    sway: float = 0.0

    @property
    def view(self) -> FaceView:
        return view_from_landmarks(self.landmarks)


def confirm_face(
    photo: Photo, detection: FaceDetection, prominence: float, networks: FaceNetworks
) -> ConfirmedFace | None:
    """Run the landmark network on a detection in pixels of ``photo.image``; None when this is no face, or it
    cannot be told which way up it is.
    """
    look = _settle(photo, view_from_box(detection.box, detection.eyes), networks)
    if look is None:
        return None
    if detection.score < _SURELY_UPRIGHT:
        look = _right_way_up(photo, look, networks)
        if look is None:
            return None
    return ConfirmedFace(photo.to_photo(look.landmarks), look.score, detection.score, prominence)


def face_height(landmarks: F64) -> float:
    """From the hairline to the chin; unlike the width it does not shrink when the head turns."""
    return float(np.linalg.norm(landmarks[10] - landmarks[152]))


def _settle(photo: Photo, view: FaceView, networks: FaceNetworks) -> _Look | None:
    look = _look(photo, view, networks)
    if look.score < MIN_FACE_SCORE:
        return None
    doubtful = look.score < _DOUBTFUL_SCORE
    for count in range(_MORE_LOOKS):
        # Profiles, half-hidden and tilted faces need another look. So does what only resembles a face: there
        # the landmarks keep wandering from look to look.
        if not _differ(view, look.view) and not (doubtful and count < 2):
            break
        before, view = look, look.view
        look = _look(photo, view, networks)
        look = replace(look, wandered=_moved(before, look))
    if look.score < MIN_FACE_SCORE or (doubtful and look.wandered > _MOST_WANDERING):
        return None
    return look


def _right_way_up(photo: Photo, look: _Look, networks: FaceNetworks) -> _Look | None:
    """A face, or the same the other way up where that is steadier; None where this cannot be told."""
    look = _tilted(photo, look, networks)
    if look.sway <= _STEADY or too_flat(look.landmarks, (photo.width, photo.height)):
        return look
    view = look.view
    # What is seen upside down has its eyes where the face has them.
    x, y = 2 * look.landmarks[list(_IRISES)].mean(axis=0) - view.centre
    other = _settle(photo, FaceView((float(x), float(y)), view.side, view.angle + math.pi), networks)
    if other is not None and math.cos(other.view.angle - view.angle) < 0:
        other = _tilted(photo, other, networks)
        # A photo is rather upright than not.
        upper, lower = sorted((look, other), key=lambda one: -math.cos(one.view.angle))
        if lower.sway < _CLEARLY_LESS * upper.sway:
            look = lower
        elif upper.sway < max(_CLEARLY_LESS * lower.sway, _RATHER_STEADY) or _within(look, photo):
            look = upper
        else:
            return None
    if math.cos(look.view.angle) < math.cos(math.pi / 4):
        return look if look.sway <= _MOST_SWAY_TURNED else None
    # Within the photo something else is wrong with it, of which `check_face` says more.
    return look if look.sway <= _MOST_SWAY or _within(look, photo) else None


def _within(look: _Look, photo: Photo) -> bool:
    """Whether no edge of the photo cuts the face off."""
    low, high = look.landmarks.min(axis=0), look.landmarks.max(axis=0)
    return bool((low >= 0).all() and (high <= photo.image.size).all())


def _tilted(photo: Photo, look: _Look, networks: FaceNetworks) -> _Look:
    """With its sway: the median movement of the landmarks when the view is tilted to either side, of the
    face's height.
    """
    view = look.view
    moved = [
        _moved(look, _look(photo, replace(view, angle=view.angle + tilt), networks))
        for tilt in (-_TILT, _TILT)
    ]
    return replace(look, sway=sum(moved) / len(moved))


def _look(photo: Photo, view: FaceView, networks: FaceNetworks) -> _Look:
    to_image = view.to_image()
    landmarks, score = networks.landmarks_fast(sample_view(photo.image, to_image, colours=photo.colours))
    return _Look(landmarks[:, :2] @ to_image[:2, :2].T + to_image[:2, 2], score)


def _moved(before: _Look, after: _Look) -> float:
    """Median movement of the landmarks, of the face's height."""
    distances = np.linalg.norm(after.landmarks - before.landmarks, axis=1)
    return float(np.median(distances)) / max(face_height(before.landmarks), 1e-6)


def _differ(a: FaceView, b: FaceView) -> bool:
    """Whether the network sees a face in two views so differently that it is worth another look."""
    moved = math.dist(a.centre, b.centre) / a.side
    return moved > 0.06 or abs(math.log(b.side / a.side)) > 0.125 or abs(a.angle - b.angle) > math.radians(5)
