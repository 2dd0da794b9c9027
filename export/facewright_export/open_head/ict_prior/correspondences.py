"""Landmarks that are known to correspond between the open head and ICT-FaceKit's mean."""

from __future__ import annotations

from typing import Final

#: Multi-PIE landmarks: (vertex of ICT-FaceKit by its README, vertex of MakeHuman's base mesh hm08). Where the
#: 478-point network sees them on MakeHuman's mean, to the nearest vertex; they only lead the first rounds.
#: Brows, nose, eyes, lips, chin.
LANDMARKS: Final = (
    *((268, 5261), (493, 232), (1914, 231), (2044, 223), (1401, 233)),
    *((3615, 7006), (4240, 6997), (4114, 7004), (2734, 7005), (2509, 11869)),
    *((978, 136), (4527, 134), (4942, 5063), (4857, 5134)),
    *((1140, 286), (2075, 308), (1147, 312), (4269, 7072), (3360, 7055)),
    *((1507, 22), (1542, 6762), (1537, 6763), (1528, 66), (1518, 1070), (1511, 1068)),
    *((3742, 6850), (3751, 13359), (3756, 13358), (3721, 6806), (3725, 7759), (3732, 7762)),
    *((5708, 3737), (5695, 5354), (2081, 456), (0, 455), (4275, 7215), (6200, 11956), (6213, 10405)),
    *((6346, 7239), (6461, 7241), (5518, 492), (5957, 486), (5841, 484), (966, 5296)),
)
#: How many of them are brows, nose and eyes, which hardly move with an expression.
RIGID_LANDMARKS: Final = 31
#: Corners of the mouth, subject's right and left, as (ICT-FaceKit, hm08) vertices.
MOUTH_CORNERS: Final = ((5708, 3737), (6213, 10405))
