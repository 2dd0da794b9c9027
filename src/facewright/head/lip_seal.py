"""Closed lips for the neutral: what is left of an opening after the expression is taken away is sealed.

The mean head's lips touch. A person's identity and corrective field move the upper and the lower lip each by
itself and can leave a slit of about a millimetre, through which the teeth shine. The slit is measured between
the points that touch on the mean head and closed from both sides, fading over the lips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from facewright.core.arrays import Floats
from facewright.core.settings import BY_EYE, NUMERICAL
from facewright.head.head_model import HeadModel
from facewright_kernels import vertex_normals


@dataclass(frozen=True)
class LipSealSettings:
    """How lips are closed."""

    #: Points of the two lips nearer than this on the mean head touch.
    contact: Annotated[float, "metres", BY_EYE] = 0.0015
    #: Distance over which the correction fades, up and down from the line where the lips meet.
    fade: Annotated[float, "metres", BY_EYE] = 0.006
    #: The lips are pressed together by this: a render's pixel is wider than a perfect contact.
    pressure: Annotated[float, "metres", BY_EYE] = 0.0003
    #: The opening is measured in this many places along the mouth, each by a Gaussian of this width.
    columns: Annotated[int, "places", NUMERICAL] = 24
    column_sigma: Annotated[float, "metres", BY_EYE] = 0.003
    #: Least vertical part of a normal that faces the other lip.
    facing: Annotated[float, "cosine", BY_EYE] = 0.2
    #: Height from which a point's lip is told by its height and not its normal, and over which one lip
    #: passes into the other.
    line: Annotated[float, "metres", BY_EYE] = 0.002
    line_width: Annotated[float, "metres", BY_EYE] = 0.0004


class LipSeal:
    """Closes the lips of one head model's neutrals.

    Args:
        head: the head model; one whose lips do not touch on the mean head is left as it is.
        settings: how lips are closed.
    """

    def __init__(self, head: HeadModel, settings: LipSealSettings) -> None:
        self._settings = settings
        mean = head.vertices_mean
        lips = np.flatnonzero(head.region("lips") + head.region("mouth_inside") > 0.3)
        skin = np.unique(head.triangles[head.part_triangles("skin")])
        self._near = np.intersect1d(lips, skin)
        points = mean[self._near]
        normal_y = vertex_normals(mean[None], head.triangles)[0, self._near, 1]
        upper, lower = np.flatnonzero(normal_y < -settings.facing), np.flatnonzero(normal_y > settings.facing)
        distance = np.linalg.norm(points[upper, None] - points[lower], axis=2)
        touching = distance.min(axis=1, keepdims=True, initial=settings.contact)
        nearest, below = np.nonzero(distance == touching)
        #: Vertices that touch on the mean head, in pairs.
        self.upper, self.lower = self._near[upper[nearest]], self._near[lower[below]]
        if not len(self.upper):
            return
        self._rest = mean[self.upper, 1] - mean[self.lower, 1]
        self._x = mean[self.upper, 0]
        line = 0.5 * (mean[self.upper, 1] + mean[self.lower, 1])
        order = np.argsort(self._x)
        height = points[:, 1] - np.interp(points[:, 0], self._x[order], line[order])
        fade = np.clip(1 - np.abs(height) / settings.fade, 0, 1)
        beyond = np.clip(np.abs(points[:, 0]) - np.abs(self._x).max(), 0, None)
        fade = fade * np.clip(1 - beyond / settings.fade, 0, 1)
        # Which lip a point belongs to: at the line its normal tells, farther off its height.
        at_line = (np.abs(height) < settings.line) & (np.abs(normal_y) > settings.facing)
        side = np.where(at_line, -np.sign(normal_y), np.tanh(height / settings.line_width))
        self._share = (fade * side).astype(np.float32)

    def close(self, vertices: Floats) -> None:
        """Moves the lips of neutral ``vertices`` [V, 3] (head space, metres) together, in place."""
        if not len(self.upper):
            return
        settings = self._settings
        opening = vertices[self.upper, 1] - vertices[self.lower, 1] - self._rest + settings.pressure
        columns = np.linspace(self._x.min(), self._x.max(), settings.columns)
        near = np.exp(-0.5 * ((self._x[None] - columns[:, None]) / settings.column_sigma) ** 2)
        profile = np.clip(near @ opening / near.sum(axis=1), 0.0, None)
        amount = np.interp(vertices[self._near, 0], columns, profile)
        vertices[self._near, 1] -= (0.5 * amount * self._share).astype(np.float32)
