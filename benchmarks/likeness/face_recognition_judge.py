"""dlib's face recognition, which judged alone until it could become part of a pipeline: for continuity.

Distances are Euclidean between its 128-d descriptors; dlib's author calls two faces one person below 0.6.
dlib (Boost licence) and the `face_recognition_models` files (CC0) are the optional dependencies ``bench``.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.likeness.judged_face import U8, FaceBox, JudgedFace, face_window

#: dlib's detector and alignment see every face at about this many pixels, whatever the picture's size.
_FACE_PIXELS = 200
#: Window around the face, in face sizes: the detector wants hair, chin and some background.
_WINDOW = 2.2
#: HOG confidence from which a detection near the expected place is taken.
_DETECTION_THRESHOLD = -0.2


class FaceRecognitionJudge:
    """Describes faces by dlib's ResNet; one judge is reused for all pictures.

    Raises:
        ImportError: the dependency group ``bench`` is not installed.
    """

    name = "dlib"

    def __init__(self) -> None:
        # The package's own code needs setuptools' retired pkg_resources, so only its files are used.
        package = importlib.util.find_spec("face_recognition_models")
        if package is None or package.origin is None or importlib.util.find_spec("dlib") is None:
            raise ImportError("the likeness benchmark needs dlib: .venv/bin/pip install -e '.[bench]'")
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
        window = face_window(picture, box, _WINDOW, round(_WINDOW * _FACE_PIXELS))
        expected = window.shape[0] / 2
        found = self._nearest_detection(window, expected)
        if found is None:
            # dlib's boxes run from the brows to the chin's edge: about 0.85 of the landmarks' square, lower.
            half = 0.42 * _FACE_PIXELS
            shift = 0.04 * _FACE_PIXELS
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
