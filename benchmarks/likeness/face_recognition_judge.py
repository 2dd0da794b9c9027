"""The judge: dlib's face recognition network, which no stage of the pipeline uses.

Distances are Euclidean between its 128-d descriptors; dlib's author calls two faces one person below 0.6.
dlib (Boost licence) and the `face_recognition_models` files (CC0) are the optional dependencies ``bench``.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

#: dlib's detector and alignment see every face at about this many pixels, whatever the picture's size.
_FACE_PIXELS = 200
#: Window around the face, in face sizes: the detector wants hair, chin and some background.
_WINDOW = 2.2
#: HOG confidence from which a detection near the expected place is taken.
_DETECTION_THRESHOLD = -0.2


@dataclass(frozen=True)
class FaceBox:
    """Where the face to be judged is: a square in pixels, about from the brows to below the chin."""

    centre_x: float
    centre_y: float
    side: float

    @classmethod
    def around(cls, points: npt.NDArray[np.floating]) -> FaceBox:
        """The square around landmark pixels [N, 2] of one face."""
        low, high = points.min(axis=0), points.max(axis=0)
        centre = (low + high) / 2
        return cls(float(centre[0]), float(centre[1]), float((high - low).max()))


@dataclass(frozen=True)
class JudgedFace:
    """Descriptor float64 [128], and whether dlib's own detector agreed that there is a face."""

    descriptor: F64
    detected: bool

    def distance(self, other: JudgedFace) -> float:
        """Euclidean distance of the descriptors."""
        return float(np.linalg.norm(self.descriptor - other.descriptor))


class FaceRecognitionJudge:
    """Describes faces by dlib's ResNet; one judge is reused for all pictures.

    Raises:
        ImportError: the dependency group ``bench`` is not installed.
    """

    def __init__(self) -> None:
        # The package's own code needs setuptools' retired pkg_resources, so only its files are used.
        package = importlib.util.find_spec("face_recognition_models")
        if package is None or package.origin is None or importlib.util.find_spec("dlib") is None:
            raise ImportError("the likeness benchmark needs its judge: .venv/bin/pip install -e '.[bench]'")
        import dlib

        models = Path(package.origin).parent / "models"
        self._dlib: Any = dlib
        self._detector: Any = dlib.get_frontal_face_detector()
        self._landmarks: Any = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))
        self._network: Any = dlib.face_recognition_model_v1(
            str(models / "dlib_face_recognition_resnet_model_v1.dat")
        )

    def describe(self, picture: U8, box: FaceBox) -> JudgedFace:
        """The descriptor of the face in ``box`` of an sRGB picture u8 [H, W, 3].

        dlib's detector frames the face as its alignment network was trained; where it finds nothing near the
        expected place (profiles, masks of hair), the expected place itself is used and ``detected`` is false.

        Raises:
            ValueError: not a u8 RGB picture, or an empty box.
        """
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ValueError(f"picture must be u8 [H, W, 3], got {picture.dtype} {picture.shape}")
        if not box.side > 0:
            raise ValueError(f"face box must have a size, got {box}")
        window, scale = _window(picture, box)
        expected = window.shape[0] / 2
        found = self._nearest_detection(window, expected)
        if found is None:
            # dlib's boxes run from the brows to the chin's edge: about 0.85 of the landmarks' square, lower.
            half = 0.42 * box.side * scale
            shift = 0.04 * box.side * scale
            rectangle = self._dlib.rectangle(
                round(expected - half),
                round(expected - half + shift),
                round(expected + half),
                round(expected + half + shift),
            )
        else:
            rectangle = found
        shape = self._landmarks(window, rectangle)
        descriptor = np.array(self._network.compute_face_descriptor(window, shape))
        return JudgedFace(descriptor, found is not None)

    def _nearest_detection(self, window: U8, expected: float) -> Any | None:
        boxes, _, _ = self._detector.run(window, 0, _DETECTION_THRESHOLD)
        best, best_offset = None, 0.4 * _FACE_PIXELS
        for candidate in boxes:
            centre = candidate.center()
            offset = max(abs(centre.x - expected), abs(centre.y - expected))
            right_size = 0.5 < candidate.width() / _FACE_PIXELS < 1.8
            if right_size and offset < best_offset:
                best, best_offset = candidate, offset
        return best


def _window(picture: U8, box: FaceBox) -> tuple[U8, float]:
    """The square around the face, resampled so that the face has the judge's size, and the scale applied."""
    half = _WINDOW * box.side / 2
    left, top = box.centre_x - half, box.centre_y - half
    scale = _FACE_PIXELS / box.side
    size = round(2 * half * scale)
    # Reducing first keeps large photos from aliasing; transform() alone samples four pixels.
    image = Image.fromarray(picture)
    shrink = max(1, int(1 / scale))
    if shrink > 1:
        image = image.reduce(shrink)
    step = 1 / (scale * shrink)
    coefficients = (step, 0, left / shrink, 0, step, top / shrink)
    window = image.transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    return np.asarray(window), scale
