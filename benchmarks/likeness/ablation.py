"""What single settings do to the likeness: avatars with one changed, judged beside those of the baseline.

For each change every photo becomes an avatar again, and the judge's distances are compared photo by photo:
pipeline and judge give the same photo the same number, so all of a difference is the change's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.likeness.judged_face import Judge, JudgedFace
from benchmarks.likeness.make_avatar import AvatarMaker, MadeAvatar
from benchmarks.likeness.measures import judged_neutral, judged_photo, light_of
from benchmarks.likeness.settings import AvatarSettings, Change, settings_by_name, with_change
from facewright.core.options import OptionValue

#: Renders that are judged; None is the photo's own pose.
POSES: Final[dict[str, tuple[int | None, ...]]] = {"photo pose": (None,), "0": (0,), "±30": (-30, 30)}
#: A mean difference counts from here, and from so many of its standard errors: two values at three poses are
#: six chances for each setting, of which one in three would count by luck at two standard errors.
LEAST_DIFFERENCE: Final = 0.001
SURE_ERRORS: Final = 3.0


@dataclass(frozen=True)
class Baseline:
    """The avatars that changed ones are compared with.

    Attributes:
        avatars: of each photo.
        photo_faces: what the judge sees in the photos themselves.
        distances: by pose, f64 ``[N]``, each photo's mean over the renders of that pose.
    """

    avatars: tuple[MadeAvatar, ...]
    photo_faces: tuple[JudgedFace, ...]
    distances: dict[str, npt.NDArray[np.float64]]


class Ablation:
    """Judges changed settings on some photos.

    Args:
        photos: encoded photos, each of which becomes an avatar.
        options: of the avatars.
        judge: compares them with the photos.
        light: of the judged renders, as the benchmark's ``--light``.
    """

    def __init__(
        self,
        photos: Sequence[bytes],
        options: Mapping[str, OptionValue],
        judge: Judge,
        light: str,
    ) -> None:
        self._photos = photos
        self._options = options
        self._judge = judge
        self._light = light
        maker = AvatarMaker(options)
        avatars = tuple(maker.make(photo) for photo in photos)
        faces = tuple(judged_photo(judge, avatar) for avatar in avatars)
        each = [self._distances(maker, avatar, face) for avatar, face in zip(avatars, faces, strict=True)]
        self.baseline = Baseline(
            avatars, faces, {pose: np.array([own[pose] for own in each]) for pose in POSES}
        )

    def row(self, change: Change) -> dict[str, Any]:
        """One row of the result: what the change does.

        Raises:
            FacewrightError: a photo becomes no avatar any more.
        """
        settings = with_change(AvatarSettings(), change)
        maker = AvatarMaker(self._options, settings)
        distances = {pose: own.copy() for pose, own in self.baseline.distances.items()}
        changed = 0
        for index, before in enumerate(self.baseline.avatars):
            avatar = maker.make(self._photos[index])
            if _looks_like(avatar, before):
                continue
            changed += 1
            face = self.baseline.photo_faces[index]
            for pose, distance in self._distances(maker, avatar, face).items():
                distances[pose][index] = distance
        difference = {pose: distances[pose] - self.baseline.distances[pose] for pose in POSES}
        return {
            "setting": change.name,
            "default": settings_by_name(AvatarSettings())[change.name].value,
            "value": change.value,
            "photos_changed": changed,
            "distance": {pose: round(float(own.mean()), 4) for pose, own in distances.items()},
            "difference": {pose: _mean_and_error(own) for pose, own in difference.items()},
        }

    def baseline_row(self) -> dict[str, float]:
        """Mean distance by pose, of the settings as they are."""
        return {pose: round(float(own.mean()), 4) for pose, own in self.baseline.distances.items()}

    def _distances(self, maker: AvatarMaker, avatar: MadeAvatar, photo: JudgedFace) -> dict[str, float]:
        light = light_of(self._light, avatar)
        found = {}
        for pose, yaws in POSES.items():
            faces = [judged_neutral(maker.head, self._judge, avatar, light, yaw) for yaw in yaws]
            found[pose] = float(np.mean([photo.distance(face) for face in faces]))
        return found


def judges_luck(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """By pose, the median of all rows' mean differences: what some change or other does to the baseline.

    The judge answers to changes that nobody sees, such as finer pores, and the baseline is one draw of that:
    where it was a lucky or an unlucky one, all rows that change much differ from it the same way.
    """
    return {pose: float(np.median([row["difference"][pose][0] for row in rows])) for pose in POSES}


def counts(difference: Sequence[float], luck: float) -> bool:
    """Whether a mean difference and its standard error say that something changed: whether it lies far
    enough, and surely, outside of what is between no change and the judge's luck."""
    mean, error = difference
    outside = max(mean - max(0.0, luck), min(0.0, luck) - mean)
    return outside >= LEAST_DIFFERENCE and outside > SURE_ERRORS * error


def table(baseline: dict[str, float], rows: Iterable[dict[str, Any]]) -> str:
    """The rows as text, the baseline first."""
    lines = [
        f"{'setting':<52}{'photos changed':>16}" + "".join(f"{pose:>24}" for pose in POSES),
        f"{'baseline':<68}" + "".join(f"{baseline[pose]:>24.4f}" for pose in POSES),
    ]
    for row in rows:
        cells = ""
        for pose in POSES:
            mean, error = row["difference"][pose]
            cells += f"{row['distance'][pose]:>9.4f} ({mean:+.4f} ± {error:.4f})"
        change = Change(row["setting"], row["value"])
        lines.append(f"{change!s:<52}{row['photos_changed']:>16}{cells}")
    return "\n".join(lines)


def _looks_like(avatar: MadeAvatar, other: MadeAvatar) -> bool:
    return np.array_equal(avatar.texture, other.texture) and np.array_equal(
        avatar.fit.neutral_vertices, other.fit.neutral_vertices
    )


def _mean_and_error(difference: npt.NDArray[np.float64]) -> list[float]:
    error = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return [round(float(difference.mean()), 4), round(float(error), 4)]
