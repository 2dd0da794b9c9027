"""The landmark network's view of a face: a rotated square, and how its pixels are sampled from an image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from facewright.core.arrays import Floats
from facewright.photo.colour_profile import ColourTransform, to_srgb
from facewright.pipelines.tensors import LANDMARK_INPUT_SIZE, MESH_COUNT

F64 = npt.NDArray[np.float64]

#: Side of the view for a face of size 1 (the larger extent of its box, or of its landmarks).
VIEW_SCALE = 1.5
#: Landmarks of the skin, the first; the irises follow and lie inside.
# Outer corners of the subject's right and left eye: the line that is horizontal in an upright view.
_EYE_CORNERS = (33, 263)


@dataclass(frozen=True)
class FaceView:
    """A square around a face.

    Args:
        centre: x, y in pixels of the image.
        side: pixels of the image.
        angle: clockwise rotation as seen, radians; the face's own roll.
    """

    centre: tuple[float, float]
    side: float
    angle: float

    def to_image(self, size: int = LANDMARK_INPUT_SIZE) -> F64:
        """The ``[3, 3]`` transform from pixels of the sampled view (``size`` per side) to pixels of the
        image.
        """
        step = self.side / size
        c, s = math.cos(self.angle) * step, math.sin(self.angle) * step
        half = size / 2
        x = self.centre[0] - c * half + s * half
        y = self.centre[1] - s * half - c * half
        return np.array([[c, -s, x], [s, c, y], [0.0, 0.0, 1.0]])


def view_from_box(box: F64, eyes: F64) -> FaceView:
    """The view for a detected face: box corners and eyes (right, left), each ``[2, 2]`` in image pixels."""
    centre = box.mean(axis=0)
    angle = math.atan2(*(eyes[1] - eyes[0])[::-1])
    return FaceView(
        (float(centre[0]), float(centre[1])), VIEW_SCALE * float(np.ptp(box, axis=0).max()), angle
    )


def view_from_landmarks(landmarks: F64) -> FaceView:
    """The view for a face with known landmarks ``[478, 2 or 3]`` in image pixels.

    The box around the landmarks is taken in the face's own upright frame, so that a rotated photo gets a
    rotated view and the same landmarks.
    """
    mesh = np.asarray(landmarks[:MESH_COUNT, :2], np.float64)
    angle = math.atan2(*(mesh[_EYE_CORNERS[1]] - mesh[_EYE_CORNERS[0]])[::-1])
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    upright = mesh @ rotation
    low, high = upright.min(axis=0), upright.max(axis=0)
    centre = rotation @ ((low + high) / 2)
    return FaceView((float(centre[0]), float(centre[1])), VIEW_SCALE * float((high - low).max()), angle)


def sample_view(
    image: Image.Image,
    to_image: F64,
    size: int = LANDMARK_INPUT_SIZE,
    colours: ColourTransform | None = None,
) -> Floats:
    """Sample a view as a network's input.

    Minification is antialiased: the image is first averaged down by a whole number, then sampled bilinearly.
    Beyond the image its border is repeated.

    Args:
        image: RGB.
        to_image: ``[3, 3]`` similarity from view pixels to image pixels.
        size: pixels of the view per side.
        colours: of the image; None where it is sRGB.

    Returns:
        ``[3, size, size]`` sRGB, 0-1.
    """
    reduction = max(1, int(math.hypot(to_image[0, 0], to_image[1, 0])))
    corners = to_image[:2, :2] @ np.array([[0, size, size, 0], [0, 0, size, size]]) + to_image[:2, 2:]
    # The part of the image that the view covers, on the grid of the reduction.
    low = np.floor(corners.min(axis=1) / reduction).astype(int) - 1
    high = np.ceil(corners.max(axis=1) / reduction).astype(int) + 1
    limit = -(-np.array(image.size) // reduction)
    start = np.clip(low, 0, limit - 1)
    stop = np.clip(high, start + 1, limit)
    x0, y0 = (int(edge) for edge in start * reduction)
    x1, y1 = (int(edge) for edge in np.minimum(stop * reduction, image.size))
    part = image.crop((x0, y0, x1, y1))
    reduced = np.asarray(to_srgb(part.reduce(reduction) if reduction > 1 else part, colours))
    before, after = start - low, high - stop
    padded = np.pad(reduced, ((before[1], after[1]), (before[0], after[0]), (0, 0)), mode="edge")
    local = to_image[:2] / reduction
    local[:, 2] -= low
    sampled = Image.fromarray(padded).transform(
        (size, size), Image.Transform.AFFINE, tuple(local.ravel()), Image.Resampling.BILINEAR
    )
    return np.ascontiguousarray(np.asarray(sampled).transpose(2, 0, 1), dtype=np.float32) / 255.0
