"""How well a judge tells people apart: in real photos, and in renders of avatars beside the others' photos.

A figure that counts the photo an avatar was made from says little: there every avatar is the nearest. Here a
render is compared with *other* photos of the person alone.

The *share of the gap* of a render is ``(d - same) / (strangers - same)``: 0 % where renders are as near to a
person's other photos as these are to each other, 100 % where they are as far as strangers' are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Shares of strangers that are taken for the person: false accept rates.
FALSE_ACCEPTS: Final = {"1 %": 0.01, ".1 %": 0.001}


@dataclass(frozen=True)
class JudgedPhotos:
    """Photos and renders of the avatars made from them, as one judge describes them.

    Attributes:
        persons: [N], who photos show.
        photos: [N, D].
        renders: by pose, [N, K, D].
        failed: [F], whom the photos show of which no avatar came. They count as never recognised.
    """

    persons: Sequence[str]
    photos: F64
    renders: Mapping[str, F64]
    failed: Sequence[str] = ()


def verification(judged: JudgedPhotos, of: Mask | None = None, failed: Mask | None = None) -> dict[str, Any]:
    """What the judge says of the photos and renders ``of`` some: all by default.

    Args:
        judged: all photos; those left out still are whom the others are compared with.
        of: [N], whose rows are wanted.
        failed: [F], which of the failed photos are among them.

    Returns:
        ``pairs`` of a photo and another of the same person, ``same`` and ``strangers`` (mean distances of
        real photos), ``auc``, ``tar`` by false accept rate, and ``poses``: by pose ``cross_photo`` (mean
        distance to other photos), ``share``, ``tar``, ``rank`` (how often the nearest of all other photos is
        one of the person) and how many strangers among them are ``taken for each other`` where .1 % of all
        are.
        Values are None where there is nobody to compare.
    """
    persons = np.asarray(judged.persons)
    of = np.ones(len(persons), bool) if of is None else of
    lost = np.asarray(judged.failed)[np.ones(len(judged.failed), bool) if failed is None else failed]
    same = (persons[:, None] == persons[None]) & ~np.eye(len(persons), dtype=bool)
    strangers = persons[:, None] != persons[None]
    missed = int(sum((persons == person).sum() for person in lost))
    between = np.linalg.norm(judged.photos[:, None] - judged.photos[None], axis=2)
    near, far = between[of][same[of]], between[of][strangers[of]]
    result: dict[str, Any] = {
        "photos": int(of.sum()),
        "pairs": len(near),
        "pairs lost": missed,
        "same": _mean(near),
        "strangers": _mean(far),
        "auc": auc(near, far),
        "tar": _accepted(near, between[strangers], 0),
        "poses": {},
    }
    for pose, renders in judged.renders.items():
        distance = np.linalg.norm(renders[:, :, None] - judged.photos[None, None], axis=3)
        # [N, K, N] and the same pairs for each of the K renders of a pose
        wanted = distance.transpose(1, 0, 2)
        own = wanted[:, of][:, same[of]].ravel()
        others = wanted[:, strangers].ravel()
        within = wanted[:, of][:, strangers[of] & of].ravel()
        result["poses"][pose] = {
            "cross_photo": _mean(own),
            "share": _share(_mean(own), result["same"], result["strangers"]),
            "tar": _accepted(own, others, missed * renders.shape[1]),
            "rank": _rank(wanted[:, of], same[of], strangers[of], len(lost)),
            "taken for each other": _mean(within <= np.quantile(others, 0.001, method="lower"))
            if len(others)
            else None,
        }
    return result


def auc(same: F64, strangers: F64) -> float | None:
    """The chance that a pair of one person is nearer than a pair of strangers."""
    if not len(same) or not len(strangers):
        return None
    order = np.sort(strangers)
    below, upto = np.searchsorted(order, same, "left"), np.searchsorted(order, same, "right")
    return float(1 - ((below + upto) / 2).mean() / len(order))


def _accepted(same: F64, strangers: F64, missed: int) -> dict[str, float | None]:
    """True accept rates at thresholds that let in so many strangers; missed pairs are not accepted."""
    total = len(same) + missed
    if not total or not len(strangers):
        return dict.fromkeys(FALSE_ACCEPTS)
    return {
        name: float((same <= np.quantile(strangers, rate, method="lower")).sum() / total)
        for name, rate in FALSE_ACCEPTS.items()
    }


def _rank(distance: F64, same: Mask, strangers: Mask, lost: int) -> float | None:
    """Share of renders [K, M, N] whose nearest photo, its own left out, shows the person."""
    has_others = same.any(axis=1)
    total = distance.shape[0] * (int(has_others.sum()) + lost)
    if not total:
        return None
    own = np.where(same, distance, np.inf).min(axis=2, initial=np.inf)
    other = np.where(strangers, distance, np.inf).min(axis=2, initial=np.inf)
    return float(((own < other) & has_others).sum() / total)


def _share(value: float | None, same: float | None, strangers: float | None) -> float | None:
    if value is None or same is None or strangers is None:
        return None
    return (value - same) / (strangers - same)


def _mean(values: npt.NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None
