"""Finds faces in a photo: letterboxed passes of the detector network, then non-maximum suppression.

The network sees faces from about 1/8 of its view, so smaller ones need passes over overlapping tiles. Of 12
astronauts at random places of a canvas, each view found so many, with the mean score:

| face, of the longer side | whole | tiles of 0.6 | tiles of 1/4 |
|---|---|---|---|
| 1/7 | 12, 0.82 | 12, 0.95 | 7, 0.93 |
| 1/9 | 1, 0.58 | 12, 0.93 | 12, 0.93 |
| 1/12 | 0 | 12, 0.82 | 12, 0.93 |
| 1/14 | 0 | 11, 0.62 | 12, 0.96 |
| 1/16 | 0 | 2, 0.57 | 12, 0.96 |
| 1/26 | 0 | 0 | 12, 0.89 |
| 1/30 | 0 | 0 | 12, 0.77 |
| 1/36 | 0 | 0 | 6, 0.57 |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from facewright.core.arrays import Floats
from facewright.engines.engine import Engine

F64 = npt.NDArray[np.float64]

INPUT_SIZE = 128
MIN_SCORE = 0.5
# In the large tiles: finds 11 of 12 faces of 1/17, where MIN_SCORE finds none, for 0.7 further looks per
# portrait.
_WORTH_ANOTHER_LOOK = 0.2
_NMS_IOU = 0.3
#: Above this a detection is taken for a face, and for upright. Measured on portraits: upright faces score
#: 0.85 or more (0.59 under a helmet), upside-down ones 0.79 or less; a turned view of an upright face scores
#: up to 0.12 more than the upright one.
SURE_SCORE = 0.8
_SURER = 0.13
#: Least longer side of the overview that is searched, where the photo has as much: the smallest tiles are
#: seen at the detector's own resolution.
OVERVIEW_SIDE = 4 * INPUT_SIZE
# Tiles as parts of the longer side. 2 × 2 of 0.6 overlap by as much as a face that the whole view shows.
_LARGE_TILE, _SMALL_TILE = 0.6, 0.25
# Of the longer side: what is less than half as large as such a face stands behind it. Four of five portraits
# are spared five passes by this.
_LARGE_FACE = 1 / 4
# Of the longer side: where all faces are smaller, others are likely to be as small as only small tiles show.
_SMALL_FACE = 1 / 14
#: Two boxes that share more of the smaller one are of one face, seen twice or in part. Cheek to cheek it is
#: 0.3.
SAME_FACE = 0.5
#: Faces that are told apart: the surest, where there are more.
MAX_FACES = 100
# An unsure detection is looked at again in a view so many times its size.
_AROUND, _STILL_THE_SAME = 3.0, 0.2


@dataclass(frozen=True, eq=False)  # a detection equals only itself: its points are an array
class FaceDetection:
    """A face.

    Args:
        score: 0-1.
        points: [8, 2], pixels of the searched image: the box's top left and bottom right corners, then the
            subject's right eye, left eye, nose tip, mouth, right ear and left ear.
    """

    score: float
    points: F64

    def scaled(self, factor: float) -> FaceDetection:
        """In pixels of an image that is ``factor`` times as large."""
        return FaceDetection(self.score, self.points * factor)

    @property
    def box(self) -> F64:
        """Corners [2, 2]."""
        return self.points[:2]

    @property
    def size(self) -> float:
        """The longer side of the box."""
        return float(np.ptp(self.box, axis=0).max())

    @property
    def eyes(self) -> F64:
        """The subject's right and left eye [2, 2]."""
        return self.points[2:4]


@dataclass(frozen=True)
class _View:
    """A square part of the image (it may reach beyond it) that one pass of the detector sees.

    Args:
        corner: its top left, pixels of the image.
        side: pixels of the image.
        quarter_turns: how often the view is turned clockwise by 90 degrees before the detector sees it.
    """

    corner: tuple[float, float]
    side: float
    quarter_turns: int = 0


def search_faces(overview: Image.Image, detector: Engine) -> Iterator[list[FaceDetection]]:
    """The faces of an image, surest first, in rounds of growing cost; ask for the next if none of a round's
    will do.

    The first round sees faces down to about 1/15 of the longer side, beside a large one (a portrait) down to
    1/8; where it is sure of several, as of a group, or of small ones only, down to 1/30, as the second does.

    Args:
        overview: upright sRGB of `OVERVIEW_SIDE` or more (which costs only time).
        detector: the ``face_detector`` network.
    """
    side = float(max(overview.size))
    whole = _View(((overview.width - side) / 2, (overview.height - side) / 2), side)
    # How many faces there are, and so what face_index means, must not depend on who asks: the tiles are left
    # out for what the photo shows alone.
    found = _surest(_detect(overview, [whole], detector))
    if not any(face.score > SURE_SCORE and face.size >= _LARGE_FACE * side for face in found):
        large_tiles = _detect(overview, _tiles(overview.size, _LARGE_TILE), detector, _WORTH_ANOTHER_LOOK)
        found = _surest([*found, *large_tiles])
    best = found[0].score if found else 0.0
    turned = _turned(overview, whole, detector) if best < SURE_SCORE else []
    if turned and turned[0].score > best + _SURER:
        yield turned
    found = _looked_at_again(overview, found, detector)
    sure = [face.size for face in found if face.score > SURE_SCORE]
    if len(sure) > 1 or 0 < max(sure, default=0) < _SMALL_FACE * side:
        found = _surest([*found, *_in_small_tiles(overview, detector)])
    yield found
    yield _in_small_tiles(overview, detector)


def faces_in_square(
    image: Image.Image, room: float, least_score: float, detector: Engine
) -> list[FaceDetection]:
    """One pass over the whole image in the middle of a square of ``room`` times its longer side."""
    side = room * max(image.size)
    corner = ((image.width - side) / 2, (image.height - side) / 2)
    return _surest(_detect(image, [_View(corner, side)], detector, least_score))


def _turned(overview: Image.Image, whole: _View, detector: Engine) -> list[FaceDetection]:
    """Faces of a photo without an EXIF orientation that lies on its side or head.

    An upside-down face is found upright, too, with its eyes at its mouth, but less surely.
    """
    turned = [_detect(overview, [_View(whole.corner, whole.side, turns)], detector) for turns in (1, 2, 3)]
    return max(map(_surest, turned), key=lambda faces: faces[0].score if faces else 0.0)


def _in_small_tiles(overview: Image.Image, detector: Engine) -> list[FaceDetection]:
    found = _surest(_detect(overview, _tiles(overview.size, _SMALL_TILE), detector))
    return _looked_at_again(overview, found, detector)


def _looked_at_again(
    overview: Image.Image, faces: list[FaceDetection], detector: Engine
) -> list[FaceDetection]:
    """Each unsure face as a view around itself shows it, where that is surer; without those that are less
    than `MIN_SCORE` then, and no more than `MAX_FACES`.

    Measured on 30 photos with several detections: what a face then scores is 0.80 and more, and of hair,
    hands, windows and blurs 0.71 and less.
    """
    seen = []
    for face in faces[:MAX_FACES]:
        if face.score > SURE_SCORE:
            seen.append(face)
            continue
        if any(covered_share(face.box, sure.box) > SAME_FACE for sure in seen):  # an eye, a mouth
            continue
        side = _AROUND * face.size
        low = face.box.mean(axis=0) - side / 2
        around = _detect(overview, [_View((float(low[0]), float(low[1])), side)], detector)
        same = [other for other in around if _iou(other.box, face.box) > _STILL_THE_SAME]
        seen.append(max([face, *same], key=lambda other: other.score))
    return _surest([face for face in seen if face.score >= MIN_SCORE])


def _tiles(size: tuple[int, int], share: float) -> list[_View]:
    """Squares of a share of the longer side that overlap by a third and more, so that a face up to a third of
    a tile lies whole in one of them.
    """
    side = share * max(size)
    starts = []
    for length in size:
        if length <= side:
            starts.append(np.array([(length - side) / 2]))
        else:
            starts.append(
                np.linspace(0, length - side, int(np.ceil((length - side) / (side * 2 / 3) - 1e-9)) + 1)
            )
    return [_View((float(x), float(y)), side) for y in starts[1] for x in starts[0]]


def _surest(faces: Sequence[FaceDetection]) -> list[FaceDetection]:
    """Without what another view saw as well, and more surely."""
    kept: list[FaceDetection] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not any(_iou(face.box, other.box) > _NMS_IOU for other in kept):
            kept.append(face)
    return kept


def _detect(
    image: Image.Image, views: Sequence[_View], detector: Engine, least_score: float = MIN_SCORE
) -> list[FaceDetection]:
    """One pass over some views; within each, overlapping boxes are merged."""
    found = []
    for view in views:
        # One by one: on a CPU 48 tiles as a batch take six times as long, and 230 MB that stay allocated.
        outputs = detector.run({"IMAGE": _letterbox(image, view)[None]})
        points, scores = outputs["BOXES"][0], outputs["SCORES"][0]
        keep = scores >= least_score
        candidates = [
            FaceDetection(float(score), point.reshape(8, 2).astype(np.float64))
            for point, score in zip(points[keep], scores[keep], strict=True)
        ]
        for face in _suppress(candidates):
            placed = _from_view(face.points, view)
            if len(views) == 1 or view.quarter_turns or _lies_within(placed[:2], view):
                found.append(FaceDetection(face.score, placed))
    return found


def _lies_within(box: F64, view: _View) -> bool:
    """Whether a tile shows the whole box; a cut face is seen better in the next tile."""
    margin = 0.05 * view.side
    low = np.array(view.corner) - margin
    return bool((box[0] >= low).all() and (box[1] <= low + view.side + 2 * margin).all())


def _letterbox(image: Image.Image, view: _View) -> Floats:
    """The view as the detector's input ``[3, 128, 128]`` in -1…1, black beyond the image."""
    scale = INPUT_SIZE / view.side
    # The part of the input that shows the image, in whole pixels, so that resampling keeps the exact grid.
    low = np.ceil(np.maximum(0.0, -np.array(view.corner)) * scale - 1e-6).astype(int)
    high = np.floor((np.minimum(view.side, np.array(image.size) - view.corner)) * scale + 1e-6).astype(int)
    box = [*(np.array(view.corner) + low / scale), *(np.array(view.corner) + high / scale)]
    canvas = np.zeros((INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
    if (high > low).all():
        limits = [image.width, image.height] * 2
        inside = [float(np.clip(edge, 0, limit)) for edge, limit in zip(box, limits, strict=True)]
        part = image.resize(
            (int(high[0] - low[0]), int(high[1] - low[1])),
            Image.Resampling.BILINEAR,
            box=(inside[0], inside[1], inside[2], inside[3]),
            reducing_gap=2.0,
        )
        canvas[low[1] : high[1], low[0] : high[0]] = np.asarray(part)
    turned = np.rot90(canvas, -view.quarter_turns)
    return np.ascontiguousarray(turned.transpose(2, 0, 1), dtype=np.float32) / 127.5 - 1.0


def _from_view(points: F64, view: _View) -> F64:
    """Detector pixels → image pixels, for the box's corners and the key points ``[8, 2]``."""
    placed = points / INPUT_SIZE
    for _ in range(view.quarter_turns):  # undo a clockwise turn: (x, y) → (y, 1 − x)
        placed = np.stack([placed[:, 1], 1.0 - placed[:, 0]], axis=1)
    corners = placed[:2]
    placed = np.concatenate([[corners.min(axis=0), corners.max(axis=0)], placed[2:]])
    return np.asarray(np.array(view.corner) + placed * view.side)


def _suppress(faces: list[FaceDetection]) -> list[FaceDetection]:
    """Weighted non-maximum suppression: overlapping faces become their score-weighted mean, with the best
    score.

    Source: Bazarevsky et al., "BlazeFace", 2019, section 3.4.
    """
    rest = sorted(faces, key=lambda face: -face.score)
    merged = []
    while rest:
        overlap = np.array([_iou(rest[0].box, face.box) for face in rest])
        group = [face for face, iou in zip(rest, overlap, strict=True) if iou > _NMS_IOU]
        rest = [face for face, iou in zip(rest, overlap, strict=True) if iou <= _NMS_IOU]
        weights = np.array([face.score for face in group])
        points = np.tensordot(weights / weights.sum(), np.stack([face.points for face in group]), axes=1)
        merged.append(FaceDetection(group[0].score, points))
    return merged


def _iou(a: F64, b: F64) -> float:
    """Intersection over union of two boxes ``[2, 2]``; 1 for a box with itself, even an empty one."""
    if a is b:
        return 1.0
    shared = np.maximum(np.minimum(a[1], b[1]) - np.maximum(a[0], b[0]), 0.0).prod()
    union = np.maximum(a[1] - a[0], 0.0).prod() + np.maximum(b[1] - b[0], 0.0).prod() - shared
    return float(shared / union) if union > 0 else 0.0


def covered_share(a: F64, b: F64) -> float:
    """The intersection of two boxes ``[2, 2]`` as a share of the smaller one: 1 where it lies within the
    other.
    """
    shared = np.maximum(np.minimum(a[1], b[1]) - np.maximum(a[0], b[0]), 0.0).prod()
    smaller = min(np.ptp(a, axis=0).prod(), np.ptp(b, axis=0).prod())
    return float(shared / smaller) if smaller > 0 else 1.0
