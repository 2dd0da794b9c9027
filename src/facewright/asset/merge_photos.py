"""Stage ``merge_photos``: several photos of one person, by their codes, to one head and one texture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypedDict

import numpy as np

from facewright.code.avatar_code import AvatarCode
from facewright.code.code_file import read_code, split_codes
from facewright.core.arrays import Floats
from facewright.core.clock import LapClock
from facewright.fit.fit_info import PoseReport, ShapeConfidence
from facewright.fit.merge_heads import HeadMerger, MergedHead
from facewright.head.head_model import HeadModel
from facewright.pipelines.section import Section
from facewright.pipelines.tensors import CODE_TEXTURE_SIZES
from facewright.texture.encoding import encode_texture
from facewright.texture.merge_textures import MergedTexture, TextureMerger, enlarged

#: Likeness below which a photo is told as perhaps another person's; docs/avatar_code.md says how often.
ANOTHER_PERSON: Final = 0.2


class MergedPhotoReport(TypedDict):
    pose: PoseReport
    error: float
    shape_distance_mm: float
    texture_share: float
    texture_gain: list[float]
    likeness: float


class MergeReport(TypedDict):
    reference: int
    photos: list[MergedPhotoReport]


class MergedTextureReport(TypedDict):
    size: int
    format: str
    bytes: int


class MergeSection(TypedDict, total=False):
    """Members of ``merge_photos``' section; docs/avatar_code.md explains each."""

    merge: MergeReport
    fit: dict[str, list[float]]
    confidence: dict[str, ShapeConfidence]
    texture: MergedTextureReport


@dataclass(frozen=True)
class MergedPhotos:
    """What the stage gives.

    Attributes:
        head: one person's.
        texture: encoded.
        sh_light: f32 ``[9, 3]``, in which the texture shows the reference photo.
        section: its part of the report.
    """

    head: MergedHead
    texture: bytes = field(repr=False)
    sh_light: Floats = field(repr=False)
    section: Section = field(repr=False)


class PhotoMerger:
    """Merges photos of one head model.

    Args:
        head: the head model.
    """

    def __init__(self, head: HeadModel) -> None:
        self._vertices = head.vertex_count
        self._heads, self._textures = HeadMerger(head), TextureMerger(head)

    def merge(
        self,
        codes: bytes,
        head_sha256: str,
        texture_size: int,
        texture_format: str,
        between_steps: Callable[[], None] = lambda: None,
    ) -> MergedPhotos:
        """One person of one or several codes.

        Args:
            codes: one after the other, the tensor CODES.
            head_sha256: of the head model's file.
            texture_size: texels per side.
            texture_format: of the texture.
            between_steps: called after each step; ends the work by raising.

        Raises:
            FacewrightError: BAD_CODE: one is none, or of another head; the message has its number, from 1.
        """
        clock = LapClock(between_steps)
        read = [
            read_code(part, head_sha256, self._vertices, f"code {number}")
            for number, part in enumerate(split_codes(codes), 1)
        ]
        clock.lap("read")
        head = self._heads.merge(read)
        clock.lap("fit")
        texture = self._textures.merge(read, head.reference, min(texture_size, CODE_TEXTURE_SIZES[-1]))
        clock.lap("blend")
        encoded = encode_texture(enlarged(texture.texture, texture_size), texture_format)
        clock.lap("encode")
        members = _members(head, texture)
        members["texture"] = {"size": texture_size, "format": texture_format, "bytes": len(encoded)}
        warnings = [*_warnings(read), *another_person(members["merge"]["photos"])]
        if texture_size > CODE_TEXTURE_SIZES[-1]:
            side = CODE_TEXTURE_SIZES[-1]
            warnings.append(
                f"codes have textures of {side} x {side} texels at most: enlarged to {texture_size}"
            )
        section = Section(members, warnings, clock.milliseconds)
        # The texture took on the photos' common tone: what it gained, the light loses.
        light = read[head.reference].sh_light / texture.gains[head.reference]
        return MergedPhotos(head, encoded, light, section)


def another_person(photos: Sequence[MergedPhotoReport]) -> list[str]:
    """A warning where photos seem to be of several people. A stranger pulls the common form away from the
    others, too, so the one that differs most is named alone."""
    likeness = [one["likeness"] for one in photos]
    if len(photos) < 2 or min(likeness) >= ANOTHER_PERSON:
        return []
    if len(photos) == 2:
        return ["photos 1 and 2 may show different people, or one whom light or a face pulled changes much"]
    which = int(np.argmin(likeness)) + 1
    return [f"photo {which} may show another person than the others, or this one much changed: leave it out"]


def _warnings(codes: Sequence[AvatarCode]) -> list[str]:
    """What was told of each photo, by its number where there are several."""
    if len(codes) == 1:
        return list(codes[0].origin.warnings)
    return [
        f"photo {number}: {warning}"
        for number, code in enumerate(codes, 1)
        for warning in code.origin.warnings
    ]


def _members(head: MergedHead, texture: MergedTexture) -> MergeSection:
    photos: list[MergedPhotoReport] = [
        {
            **fitted,
            "texture_share": round(share, 3),
            "texture_gain": [round(float(part), 3) for part in gain],
            "likeness": round((by_form + by_texture) / 2, 3),
        }
        for fitted, share, gain, by_form, by_texture in zip(
            head.photos, texture.seen, texture.gains, head.likeness, texture.likeness, strict=True
        )
    ]
    return {
        "merge": {"reference": head.reference + 1, "photos": photos},
        "fit": {"identity": [round(float(weight), 4) + 0.0 for weight in head.identity]},
        "confidence": {
            region: {"shape_sigma_mm": round(sigma, 3)} for region, sigma in head.region_sigma_mm.items()
        },
    }
