"""Closed lips for the neutral: what is left of an opening after the expression is taken away is sealed.

The mean head's lips touch. A person's identity and corrective field move the upper and the lower lip each by
itself and can leave a slit of about a millimetre, through which the teeth shine. The slit is measured between
the points that touch on the mean head and closed from both sides, fading over the lips.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from facewright.core.arrays import Floats
from facewright.head.head_model import HeadModel
from facewright_kernels import vertex_normals

#: Points of the two lips nearer than this on the mean head touch, metres.
_CONTACT: Final = 0.0015
#: Distance over which the correction fades, up and down from the line where the lips meet, metres.
_FADE: Final = 0.006
#: The lips are pressed together by this, metres: a render's pixel is wider than a perfect contact.
_PRESSURE: Final = 0.0003
_COLUMNS: Final = 24


class LipSeal:
    """Closes the lips of one head model's neutrals.

    Args:
        head: the head model; one whose lips do not touch on the mean head is left as it is.
    """

    def __init__(self, head: HeadModel) -> None:
        mean = head.vertices_mean
        lips = np.flatnonzero(head.region("lips") + head.region("mouth_inside") > 0.3)
        skin = np.unique(head.triangles[head.part_triangles("skin")])
        self._near = np.intersect1d(lips, skin)
        points = mean[self._near]
        normal_y = vertex_normals(mean[None], head.triangles)[0, self._near, 1]
        upper, lower = np.flatnonzero(normal_y < -0.2), np.flatnonzero(normal_y > 0.2)
        distance = np.linalg.norm(points[upper, None] - points[lower], axis=2)
        nearest, below = np.nonzero(distance == distance.min(axis=1, keepdims=True, initial=_CONTACT))
        #: Vertices that touch on the mean head, in pairs.
        self.upper, self.lower = self._near[upper[nearest]], self._near[lower[below]]
        if not len(self.upper):
            return
        self._rest = mean[self.upper, 1] - mean[self.lower, 1]
        self._x = mean[self.upper, 0]
        line = 0.5 * (mean[self.upper, 1] + mean[self.lower, 1])
        order = np.argsort(self._x)
        height = points[:, 1] - np.interp(points[:, 0], self._x[order], line[order])
        fade = np.clip(1 - np.abs(height) / _FADE, 0, 1)
        beyond = np.clip(np.abs(points[:, 0]) - np.abs(self._x).max(), 0, None)
        fade = fade * np.clip(1 - beyond / _FADE, 0, 1)
        # Which lip a point belongs to: at the line its normal tells, farther off its height.
        at_line = (np.abs(height) < 0.002) & (np.abs(normal_y) > 0.2)
        side = np.where(at_line, -np.sign(normal_y), np.tanh(height / 0.0004))
        self._share = (fade * side).astype(np.float32)

    def close(self, vertices: Floats) -> None:
        """Moves the lips of neutral ``vertices`` [V, 3] (head space, metres) together, in place."""
        if not len(self.upper):
            return
        opening = vertices[self.upper, 1] - vertices[self.lower, 1] - self._rest + _PRESSURE
        columns = np.linspace(self._x.min(), self._x.max(), _COLUMNS)
        near = np.exp(-0.5 * ((self._x[None] - columns[:, None]) / 0.003) ** 2)
        profile = np.clip(near @ opening / near.sum(axis=1), 0.0, None)
        amount = np.interp(vertices[self._near, 0], columns, profile)
        vertices[self._near, 1] -= (0.5 * amount * self._share).astype(np.float32)
