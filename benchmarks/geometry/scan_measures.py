"""How near an avatar is to a scan: two meshes that share no topology, so surfaces are compared alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.geometry.measures import LEAST_COSINE, NEAR_NOSE, NOSE_TIP
from benchmarks.geometry.scans import Scan, seen_from_outside, vertex_picture
from facewright.fit.camera import similarity
from facewright.head.head_model import HeadModel
from facewright.render.preview_sheet import SheetStyle, compose_sheet
from facewright.render.render_head import View
from facewright_export.head_correspondence.surface import Surface, triangle_normals

FloatArray = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

#: The iterated closest points are still when their mean distance changes by less, metres.
_STILL: Final = 1e-7
_MOST_STEPS: Final = 60
#: Distances in millimetres and the linear colours [5, 3] they are shown in; grey is what was not compared.
_MILLIMETRES: Final = (0.0, 1.0, 2.0, 3.0, 5.0)
_COLOURS: Final = np.array(
    [[0.02, 0.06, 0.25], [0.02, 0.35, 0.35], [0.15, 0.6, 0.08], [0.9, 0.6, 0.03], [0.75, 0.02, 0.02]]
)
_UNCOMPARED: Final = (0.22, 0.22, 0.22)
#: A scan's eyes are of one piece with its skin, open or closed.
_SEEN: Final = ("skin", "eye_left", "eye_right")
_YAWS: Final = (0, 45, 90)
_STYLE: Final = SheetStyle(tile=320, gap=6, caption=22, font=13, corner=0)


@dataclass(frozen=True)
class ScanErrors:
    """Of one avatar.

    Attributes:
        distance: float64 [N], of the scan's points near the nose from the avatar's skin and eyes, metres.
        area: [N], the share of the compared surface that each of them stands for: scans have more points
            where a face has more form.
        points: [N], which vertices of the scan they are.
    """

    distance: FloatArray = field(repr=False)
    area: FloatArray = field(repr=False)
    points: npt.NDArray[np.int64] = field(repr=False)

    @property
    def mean(self) -> float:
        """Over the points, metres."""
        return float(self.distance.mean())

    @property
    def mean_by_area(self) -> float:
        """Over the surface, metres."""
        return float(self.area @ self.distance)


class ScanMeasures:
    """Compares heads of one model with the outside of a scan that is in the head frame and has its landmarks.

    The head is moved onto the scan by a similarity: first by the landmarks, outline and irises left out, then
    by the closest points of the two surfaces until these are still.
    """

    def __init__(self, head: HeadModel, scan: Scan) -> None:
        self._head, self._scan = head, scan
        seen = [list(head.part_names).index(name) for name in _SEEN]
        self._outside = head.triangles[np.isin(head.triangle_part, seen)].astype(np.int64)
        outline = np.asarray(head.contour_landmarks, np.int64)
        self._inner = np.setdiff1d(np.arange(468), outline)
        tip = scan.landmarks[NOSE_TIP]
        corner_area = np.linalg.norm(triangle_normals(scan.vertices, scan.triangles), axis=1) / 6
        area = np.zeros(len(scan.vertices))
        np.add.at(area, scan.triangles.ravel(), np.repeat(corner_area, 3))
        near = np.linalg.norm(scan.vertices - tip, axis=1) < NEAR_NOSE
        self._near = np.flatnonzero(near & (area > 0) & seen_from_outside(scan))
        self._area = area[self._near]

    def errors(self, vertices: npt.NDArray[np.floating]) -> ScanErrors:
        """Of a head's ``vertices`` [V, 3]. Left out are points of the scan that have no surface of like
        direction near, such as those inside of the nostrils."""
        points, normals = self._scan.vertices[self._near], self._scan.normals[self._near]
        surface = Surface(vertices.astype(np.float64), self._outside)
        landmarks = self._head.landmarks(vertices.astype(np.float32)).astype(np.float64)
        scale, rotation, shift = similarity(landmarks[self._inner], self._scan.landmarks[self._inner])
        before = np.inf
        for _ in range(_MOST_STEPS):
            # The scan comes to the head: its surface stays the same all the while.
            found, distance, _ = surface.closest(
                (points - shift) @ rotation / scale, normals @ rotation, LEAST_COSINE
            )
            seen = np.isfinite(distance)
            mean = scale * float(distance[seen].mean())
            if abs(before - mean) < _STILL:
                break
            before = mean
            own = found.taken(np.flatnonzero(seen)).of(surface.vertices)
            scale, rotation, shift = similarity(own, points[seen])
        area = self._area[seen] / self._area[seen].sum()
        return ScanErrors(scale * distance[seen], area, self._near[seen])

    def error_map(self, errors: ScanErrors, name: str) -> U8:
        """The scan from 0, 45 and 90°, coloured by the distances: u8 [H, W, 3]."""
        colours = np.tile(np.array(_UNCOMPARED, np.float32), (len(self._scan.vertices), 1))
        millimetres = errors.distance * 1e3
        shown = np.stack([np.interp(millimetres, _MILLIMETRES, channel) for channel in _COLOURS.T], axis=1)
        colours[errors.points] = shown
        pictures = []
        for yaw in _YAWS:
            view = View.turned(yaw, size=_STYLE.tile, span=0.30)
            pictures.append((f"{yaw}°", vertex_picture(self._scan, colours, view)))
        first, second, _ = pictures
        pictures[0] = (f"{name}: mean {errors.mean * 1e3:.2f} mm", first[1])
        pictures[1] = (f"{second[0]}   blue 0, cyan 1, green 2, orange 3, red 5 mm", second[1])
        return np.asarray(compose_sheet(pictures, len(pictures), _STYLE))
