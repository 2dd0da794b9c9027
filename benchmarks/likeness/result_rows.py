"""What the result file has of the measured photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.likeness.consistency import AvatarComparison, tone_name
from benchmarks.likeness.groups import group_rows
from benchmarks.likeness.measures import Likeness, PhotoMeasures, judged_photos, table
from benchmarks.likeness.verification import verification


def tables(measured: Sequence[PhotoMeasures]) -> dict[str, Any]:
    """`table` of photos that face the camera, and of those that do not."""
    turned = [m for m in measured if not m.frontal]
    rows = {"|yaw| < 40°": table([m for m in measured if m.frontal])}
    if turned:
        rows["|yaw| ≥ 40°"] = table(turned)
    return rows


def comparisons(
    measured: Sequence[PhotoMeasures], failed: Sequence[str], likeness: Likeness
) -> dict[str, Any]:
    """What compares people: by judge, of avatars' shape and skin, and by group for the judge that counts."""
    if not measured:
        return {"verification": {}, "agreement": {}, "groups": {}}
    return {
        "verification": {
            judge.name: _rounded(verification(judged_photos(measured, judge.name, failed)))
            for judge in likeness.judges
        },
        "agreement": likeness.comparison.agreement(
            [m.shape for m in measured], [m.skin for m in measured], [m.person for m in measured]
        ),
        "groups": _rounded(group_rows(measured, failed, likeness.comparison, likeness.judges[0].name)),
    }


def _rounded(rows: Any) -> Any:
    """Nested rows, their numbers with four digits."""
    if isinstance(rows, dict):
        return {name: _rounded(value) for name, value in rows.items()}
    return round(rows, 4) if isinstance(rows, float) else rows


def photo_row(photo: PhotoMeasures, comparison: AvatarComparison) -> dict[str, Any]:
    """One photo's numbers; nothing that tells who it is."""

    def median(errors: Any) -> float | None:
        return None if errors is None else round(float(np.median(errors)), 2)

    return {
        "photo": photo.number,
        "yaw": round(photo.yaw, 1),
        "pitch": round(photo.pitch, 1),
        "reprojection_median": median(photo.reprojection),
        "reprojection_p95": round(float(np.percentile(photo.reprojection, 95)), 2),
        "refound_median": {str(yaw): median(errors) for yaw, errors in photo.refound.items()},
        "skin_tone": tone_name(comparison.tone(photo.skin)),
        "distance": {
            judge: {name: round(sight.distance(name), 3) for name in sight.renders}
            for judge, sight in photo.sights.items()
        },
        "judge_found_face": {
            judge: {
                "photo": sight.photo.detected,
                **{name: face.detected for name, face in sight.renders.items()},
            }
            for judge, sight in photo.sights.items()
        },
        "jaw_open": round(photo.jaw_open, 3),
        "jaw_open_left": round(photo.jaw_open_left, 3),
        "smile": round(photo.smile, 3),
        "smile_left": round(photo.smile_left, 3),
        "milliseconds": {stage: round(ms, 1) for stage, ms in photo.milliseconds.items()},
        "warnings": len(photo.warnings),
    }
