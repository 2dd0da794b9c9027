"""How much of a face the photo shows: what its edges cut off, and what is transparent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from facewright.core.errors import FacewrightError
from facewright.photo.face_crop import FaceCrop
from facewright.photo.face_measures import OVAL, Mask
from facewright_client.contract import ErrorCode

F64 = npt.NDArray[np.float64]

#: Landmarks of parts of the face. A part counts as seen where half of them are.
_PARTS: Final = {
    "the forehead": (151, 108, 337, 69, 299, 9),
    "the subject's right eye": (468, 33, 133, 159, 145),
    "the subject's left eye": (473, 362, 263, 386, 374),
    "the nose": (1, 4, 2, 98, 327, 195),
    "the mouth": (61, 291, 13, 14, 0, 17),
    "the chin": (152, 148, 377, 175, 199, 200),
    "the subject's right cheek": (50, 205, 117, 123, 147, 187, 213, 93, 132),
    "the subject's left cheek": (280, 425, 346, 352, 376, 411, 433, 323, 361),
}
_EYES: Final = ("the subject's right eye", "the subject's left eye")
EDGES: Final = ("left", "upper", "right", "lower")
#: Share of the face that is seen, below which nobody could be told from it.
_LEAST_SEEN: Final = 0.35
#: A face less its outermost is whole: portraits are cut to the face, and the network places an outline beyond
#: an edge.
_INSIDE: Final = 0.92
_AT_THE_EDGE: Final = 0.03  # of the face's height
#: Share of the face that soft edges and careless cut-outs may leave transparent.
_MOST_TRANSPARENT: Final = 0.06


def seen_in_view(crop: FaceCrop, view_to_crop: F64, size: int) -> Mask:
    """Where a view of the crop shows something of the photo, ``[size, size]``.

    Args:
        crop: FACE_CROP.
        view_to_crop: ``[3, 3]``, LANDMARK_TO_CROP.
        size: of the view.
    """
    centres = np.arange(size) + 0.5
    x, y = np.meshgrid(centres, centres)
    pixels = np.stack([x, y], axis=-1) @ view_to_crop[:2, :2].T + view_to_crop[:2, 2]
    column, row = np.moveaxis(np.floor(pixels).astype(np.intp), -1, 0)
    shown = crop.seen
    height, width = shown.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    seen: Mask = inside & shown[row.clip(0, height - 1), column.clip(0, width - 1)]
    return seen


def check_extent(seen: Mask, in_view: F64, in_photo: F64, size: tuple[int, int]) -> list[str]:
    """Name what of a face is guessed.

    Args:
        seen: as `seen_in_view` gives.
        in_view, in_photo: the face's landmarks ``[478, 2]``, pixels of the view and of the photo.
        size: width and height of the photo.

    Returns:
        Sentences for the report.

    Raises:
        FacewrightError: BAD_PHOTO where both eyes, or most of the face, are not seen.
    """
    in_view, in_photo = (_drawn_together(points) for points in (in_view, in_photo))
    column, row = np.floor(in_view).astype(np.intp).T
    limit = len(seen) - 1
    shown = seen[row.clip(0, limit), column.clip(0, limit)]
    # How far each landmark lies beyond each edge, photo pixels.
    beyond = np.concatenate([-in_photo, in_photo - size], axis=1)
    # The last pixels at an edge show the photo in part: no transparency.
    beyond += _AT_THE_EDGE * np.ptp(in_photo[:, 1])
    outside: Mask = np.asarray((beyond > 0).any(axis=1))
    hidden = [name for name, points in _PARTS.items() if shown[list(points)].mean() < 0.5]
    cut = [name for name in hidden if outside[list(_PARTS[name])].sum() * 2 >= len(_PARTS[name])]
    face = _within(in_view[list(OVAL)], len(seen))
    share = float(seen[face].mean()) if face.any() else 0.0
    if share < _LEAST_SEEN or all(eye in hidden for eye in _EYES):
        missing = "both eyes are missing" if share >= _LEAST_SEEN else "the rest is cut off or transparent"
        raise FacewrightError(
            ErrorCode.BAD_PHOTO,
            f"the photo shows too little of the face, {100 * share:.0f} % of it: {missing}",
            "send a photo that shows the whole face",
        )
    warnings = []
    if cut:
        points = [point for name in cut for point in _PARTS[name]]
        edges = [edge for edge, far in zip(EDGES, beyond[points].max(axis=0), strict=True) if far > 0]
        warnings.append(
            f"The face is cut off by the photo's {listed(edges)} edge{'s' * (len(edges) > 1)}: "
            f"{listed(cut)} {_are(cut)} guessed."
        )
    see_through = [name for name in hidden if name not in cut]
    transparent = float((~shown & ~outside)[:468].mean())
    if see_through or transparent > _MOST_TRANSPARENT:
        what = see_through or ["what is missing"]
        warnings.append(f"Part of the face is transparent in the photo: {listed(what)} {_are(what)} guessed.")
    return warnings


def _drawn_together(points: F64) -> F64:
    """Landmarks of a face that is a little smaller."""
    centre = points[list(OVAL)].mean(axis=0)
    return np.asarray(centre + _INSIDE * (points - centre), np.float64)


def _within(outline: F64, size: int) -> Mask:
    picture = Image.new("L", (size, size))
    ImageDraw.Draw(picture).polygon([(x, y) for x, y in outline], fill=255)
    within: Mask = np.array(picture) > 0
    return within


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
