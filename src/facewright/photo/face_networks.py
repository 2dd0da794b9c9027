"""The networks of the first two stages, ready to be called."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from facewright.core.arrays import Floats
from facewright.core.assets import asset_path
from facewright.engines.engine import Engine
from facewright.engines.onnx_engine import OnnxEngine
from facewright.pipelines.tensors import FACE_SCORE, LANDMARK_INPUT, NETWORK_LANDMARKS

U8 = npt.NDArray[np.uint8]


class FaceNetworks:
    """Detector, landmark networks and person mask of one folder.

    Args:
        folder: holds the ``.onnx`` files; the open assets' by default.
        device: where they run.

    Raises:
        FacewrightError: INTERNAL when a file is missing, ENGINE_MISMATCH when it cannot run on ``device``.
    """

    def __init__(self, folder: Path | None = None, device: Literal["cpu", "cuda"] = "cpu") -> None:
        self._folder, self._device = folder, device
        self.detector: Engine = self._engine("face_detector.onnx")
        self._landmarks_fast: Engine = self._engine("face_landmarks_fast.onnx")
        self._person_mask: Engine = self._engine("person_mask.onnx")

    @classmethod
    def load(cls, folder: Path | None = None, device: Literal["cpu", "cuda"] = "cpu") -> FaceNetworks:
        """The networks of ``folder``; see the class."""
        return cls(folder, device)

    def _engine(self, name: str) -> OnnxEngine:
        return OnnxEngine(asset_path(name, self._folder), self._device)

    @cached_property
    def _landmarks(self) -> Engine:
        # Loaded when first called: on a server it runs in a stage of its own, not in find_face.
        return self._engine("face_landmarks.onnx")

    def landmarks(self, landmark_input: Floats) -> tuple[Floats, float]:
        """Run the landmark network (the mean over four shifted and mirrored views) on one input.

        Args:
            landmark_input: ``[3, 192, 192]`` RGB, 0-1.

        Returns:
            Landmarks ``[478, 3]`` in input pixels, and the probability that it shows a face.
        """
        return _run(self._landmarks, landmark_input)

    def landmarks_fast(self, landmark_input: Floats) -> tuple[Floats, float]:
        """`landmarks` on the one view: a quarter of the time, twice the noise."""
        return _run(self._landmarks_fast, landmark_input)

    def person_mask(self, picture: U8) -> U8:
        """Where an sRGB picture ``[256, 256, 3]`` shows a person: probability x 255, ``[256, 256]``."""
        image = picture.astype(np.float32).transpose(2, 0, 1) / np.float32(255)
        mask = self._person_mask.run({"IMAGE": np.ascontiguousarray(image[None])})["MASK"][0, 0]
        scaled: U8 = np.rint(mask * 255).clip(0, 255).astype(np.uint8)
        return scaled


def _run(engine: Engine, landmark_input: Floats) -> tuple[Floats, float]:
    outputs = engine.run({LANDMARK_INPUT.name: landmark_input[None]})
    return outputs[NETWORK_LANDMARKS.name][0], float(outputs[FACE_SCORE.name][0, 0])
