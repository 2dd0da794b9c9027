"""Records what the LiteRT runtime computes on the astronaut, for the parity tests that run everywhere.

Needs the ``parity`` extra: ``python -m tests.export.record_network_goldens``. Run it only when a network
changes.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from facewright.core.wheels import MEDIAPIPE, fetch_wheel
from tests.export.litert_reference import attention_reference, merged_landmarks, run_network

GOLDENS = Path(__file__).parent.parent / "data" / "network_goldens.npz"
_ASTRONAUT = Path(__file__).parent.parent / "data" / "astronaut.jpg"
_MODULES = "mediapipe/modules/"
DETECTOR = _MODULES + "face_detection/face_detection_short_range.tflite"
LANDMARKS = _MODULES + "face_landmark/face_landmark_with_attention.tflite"
PERSON = _MODULES + "selfie_segmentation/selfie_segmentation.tflite"


def main() -> None:
    """Write ``tests/data/network_goldens.npz``."""
    wheel = zipfile.ZipFile(fetch_wheel(MEDIAPIPE, lambda _share, _what: None))
    photo = Image.open(_ASTRONAUT).convert("RGB")
    face = photo.transform(
        (192, 192), Image.Transform.AFFINE, (0.74, 0.03, 154, -0.03, 0.74, 60), Image.Resampling.BILINEAR
    )
    images = {"detector": photo.resize((128, 128)), "landmarks": face, "person": photo.resize((256, 256))}
    inputs = {name: np.asarray(image, np.float32)[None] for name, image in images.items()}
    boxes, logits = run_network(wheel.read(DETECTOR), inputs["detector"] / 127.5 - 1)
    reference = attention_reference(wheel.read(LANDMARKS), inputs["landmarks"] / 255)
    (mask,) = run_network(wheel.read(PERSON), inputs["person"] / 255)
    best = np.argsort(-logits[0, :, 0])[:32]
    np.savez_compressed(
        GOLDENS,
        **{f"{name}_image": np.asarray(image) for name, image in images.items()},
        detector_anchors=best,
        detector_regressors=boxes[0, best],
        detector_logits=logits[0, :, 0],
        landmarks=merged_landmarks(wheel.read(LANDMARKS), reference).astype(np.float32),
        face_logit=reference["conv_faceflag"],
        person_mask=mask[0, ::4, ::4, 0],
    )


if __name__ == "__main__":
    main()
