"""Where hair grows on a head: behind a line from the nape around the ears to the forehead."""

from __future__ import annotations

import numpy as np

from facewright.core.arrays import Floats

#: The hairline in side view, drawn by eye on the open head: (height y, depth z) in metres on the canonical
#: head; hair grows behind it. From the nape around the ear, down to the sideburn, up the temple to the
#: forehead.
HAIR_LINE = np.array(
    [
        (-0.080, -0.116),
        (-0.060, -0.112),
        (-0.045, -0.106),
        (-0.034, -0.100),
        (-0.027, -0.057),
        (-0.010, -0.046),
        (0.010, -0.036),
        (0.030, -0.024),
        (0.048, -0.004),
        (0.060, 0.012),
        (0.070, 0.034),
        (0.080, 0.080),
    ]
)
#: Heights between which hair thins out at the nape, metres.
NAPE = (-0.078, -0.060)


def hair_growth(position: Floats) -> Floats:
    """Signed distance to the hairline, metres f32 ``[N]``, of points on the canonical head; > 0 where hair
    grows."""
    start, along = HAIR_LINE[:-1], np.diff(HAIR_LINE, axis=0)
    offset = position[:, None, 1:] - start
    share = np.clip((offset * along).sum(axis=2) / (along**2).sum(axis=1), 0.0, 1.0)
    distance = np.linalg.norm(offset - share[..., None] * along, axis=2).min(axis=1)
    line = np.interp(position[:, 1], HAIR_LINE[:, 0], HAIR_LINE[:, 1])
    behind = np.copysign(distance, line - position[:, 2])
    above_nape = position[:, 1] - 0.5 * (NAPE[0] + NAPE[1])
    result: Floats = np.minimum(behind, above_nape).astype(np.float32)
    return result
