"""The judge on a public-domain portrait: one face at any size and place, and nobody else."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.likeness.face_recognition_judge import FaceRecognitionJudge
from benchmarks.likeness.judged_face import FaceBox

pytestmark = pytest.mark.skipif(
    find_spec("dlib") is None, reason="the judge is an optional dependency: pip install -e '.[bench]'"
)

_PORTRAIT = Path(__file__).parents[1] / "data" / "astronaut.jpg"


@pytest.fixture(scope="module")
def judge() -> FaceRecognitionJudge:
    return FaceRecognitionJudge()


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return Image.open(_PORTRAIT).convert("RGB")


_FACE = FaceBox(224, 118, 105)


def test_size_and_place_do_not_matter(judge: FaceRecognitionJudge, portrait: Image.Image) -> None:
    reference = judge.describe(np.asarray(portrait), _FACE)
    assert reference.detected
    big = portrait.resize((1024, 1024), Image.Resampling.BICUBIC)
    at_twice = judge.describe(np.asarray(big), FaceBox(448, 236, 210))
    assert at_twice.distance(reference) < 0.1
    nearby = judge.describe(np.asarray(portrait), FaceBox(230, 124, 115))
    assert nearby.distance(reference) < 0.15


def test_a_covered_face_is_another(judge: FaceRecognitionJudge, portrait: Image.Image) -> None:
    reference = judge.describe(np.asarray(portrait), _FACE)
    covered = np.array(portrait)
    covered[80:175, 180:270] = covered[80:175, 180:270].mean(axis=(0, 1)).astype(np.uint8)
    answer = judge.describe(covered, _FACE)
    assert not answer.detected
    assert answer.distance(reference) > 0.5


def test_bad_input_is_named(judge: FaceRecognitionJudge) -> None:
    with pytest.raises(ValueError, match=r"must be u8 \[H, W, 3\], got float64"):
        judge.describe(np.zeros((8, 8, 3)), _FACE)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must have a size"):
        judge.describe(np.zeros((8, 8, 3), np.uint8), FaceBox(4, 4, 0))
