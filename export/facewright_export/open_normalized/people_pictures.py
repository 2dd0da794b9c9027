"""Pictures of people whose look is known by its factors, as ``face_embedding`` is shown faces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import ndtri

from facewright.head.head_model import HeadModel
from facewright.photo.aligned_face import RECIPES, resampled
from facewright.photo.face_points import FacePoints
from facewright_export.open_normalized.looks import FARTHEST, LOOK_FACTORS, look_of
from facewright_export.people import PeopleGenerator, Person

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

#: Pixels of the photo that the face is cut from: as large as the network's picture of it, or a little larger.
_PHOTO_SIZE: Final = 256
#: Standard deviation of landmarks' common shift and of their box's sides, shares of the box.
_LANDMARK_ERROR: Final = 0.015


class LookPeople(PeopleGenerator):
    """People of `PeopleGenerator` with looks that were drawn as factors."""

    def factors(self, index: int) -> F32:
        """The look [32] of person ``index``; what is not the scalp's is ~ N(0, 1)."""
        random = np.random.Generator(np.random.PCG64([self._seed, index, 3]))
        drawn = random.standard_normal(len(LOOK_FACTORS)).clip(-FARTHEST, FARTHEST)
        hair = super().draw(index).hair
        drawn[LOOK_FACTORS.index("scalp_bare")] = _seldom_factor((1 - hair.paint) / 0.9)
        drawn[LOOK_FACTORS.index("hairline_high")] = _seldom_factor(hair.recession / 0.05)
        return drawn.astype(np.float32)

    def draw(self, index: int) -> Person:
        """Person ``index``: form, expression, hair and what is worn as elsewhere, with that look."""
        person = super().draw(index)
        own = look_of(self.factors(index)).skin
        skin = replace(own, moles=person.skin.moles, shine=person.skin.shine, pupil=person.skin.pupil)
        return replace(person, skin=skin)


def _seldom_factor(share: float) -> float:
    """The factor that stands for so much of what most people have little of (`looks.look_of`)."""
    return float(np.clip(ndtri(np.clip(share, 1e-6, 1 - 1e-6)) / 2 + 1, -FARTHEST, FARTHEST))


@dataclass(frozen=True)
class PeoplePictures:
    """Pictures u8 [N, 160, 160, 3], aligned as FaceNet's, and looks f32 [N, 32]."""

    pictures: U8
    looks: F32

    @classmethod
    def take(cls, head: HeadModel, count: int, seed: int) -> PeoplePictures:
        """The first people of a seed, each photographed once."""
        people, recipe = LookPeople(head, seed), RECIPES["facenet"]
        pictures = np.empty((count, recipe.size, recipe.size, 3), np.uint8)
        for first in range(0, count, _GROUP):
            size = min(_GROUP, count - first)
            batch = people.photograph(size, _PHOTO_SIZE, first=first)
            for number, (image, truth) in enumerate(zip(batch.images, batch.truths, strict=True), first):
                random = np.random.default_rng([seed, number, 4])
                landmarks = truth.pixels(head.landmarks(truth.vertices))
                middle, extent = landmarks.mean(axis=0), np.ptp(landmarks, axis=0)
                apart = (landmarks - middle) * (1 + random.normal(0, _LANDMARK_ERROR, 2))
                shifted = middle + apart + random.normal(0, _LANDMARK_ERROR, 2) * extent
                photo = Image.fromarray((image.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8))
                to_photo = recipe.to_crop(FacePoints(shifted), recipe.size)
                pictures[number] = np.asarray(resampled(photo, to_photo, recipe.size))
        return cls(pictures, np.stack([people.factors(index) for index in range(count)]))


_GROUP: Final = 64  # photos in memory at once
