"""The figures for whom: photos by the persons' skin tone, apparent age and sex, and by how they turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from benchmarks.likeness.consistency import AvatarComparison, tone_name
from benchmarks.likeness.measures import PhotoMeasures, judged_photos
from benchmarks.likeness.verification import verification

#: Of persons of whom no photo became an avatar.
_UNKNOWN: Final = "not known"


def group_rows(
    photos: Sequence[PhotoMeasures], failed: Sequence[str], comparison: AvatarComparison, judge: str
) -> dict[str, dict[str, Any]]:
    """`verification` by kind of group and group, with how many ``failed`` to become avatars.

    Skin tone is the median over a person's textures, age the median and sex the majority over what the judge
    takes their photos for. A failed photo is counted with the person's other photos.
    """
    tone = _by_person(photos, lambda own: tone_name(_median([comparison.tone(p.skin) for p in own])))
    kinds: dict[str, Mapping[str, str]] = {"skin tone": tone}
    if all(photo.apparent is not None for photo in photos):
        people = {photo.number: photo.apparent for photo in photos if photo.apparent is not None}
        kinds["apparent age"] = _by_person(
            photos, lambda own: _age(_median([people[p.number].age for p in own]))
        )
        kinds["apparent sex"] = _by_person(
            photos, lambda own: Counter(people[p.number].sex for p in own).most_common(1)[0][0]
        )
    judged = judged_photos(photos, judge, failed)
    rows: dict[str, dict[str, Any]] = {}
    for kind, group_of in kinds.items():
        groups = np.array([group_of[photo.person] for photo in photos])
        lost = np.array([group_of.get(person, _UNKNOWN) for person in failed], dtype=str)
        rows[kind] = {
            group: {
                "people": len({p.person for p, own in zip(photos, groups, strict=True) if own == group}),
                "failed": int((lost == group).sum()),
                **verification(judged, groups == group, lost == group),
            }
            for group in sorted({*groups.tolist(), *lost.tolist()})
        }
    turned = np.array([not photo.frontal for photo in photos])
    nobody = np.zeros(len(failed), bool)
    rows["photo"] = {
        name: {
            "people": len({p.person for p, own in zip(photos, mask, strict=True) if own}),
            "failed": 0,
            **verification(judged, mask, nobody),
        }
        for name, mask in (("turned less than 40°", ~turned), ("turned 40° or more", turned))
        if mask.any()
    }
    return rows


def _by_person(
    photos: Sequence[PhotoMeasures], group: Callable[[list[PhotoMeasures]], str]
) -> dict[str, str]:
    persons = dict.fromkeys(photo.person for photo in photos)
    return {person: group([photo for photo in photos if photo.person == person]) for person in persons}


def _age(years: float) -> str:
    return "under 30" if years < 30 else "30 to 49" if years < 50 else "50 and older"


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
