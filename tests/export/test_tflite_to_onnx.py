"""The converted networks against LiteRT: recorded outputs always, the runtime where it is installed."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from facewright.core.onnx_runtime import ort
from facewright.core.wheels import MEDIAPIPE, fetch_wheel
from facewright_export.tflite_to_onnx import face_networks, landmark_views
from facewright_export.tflite_to_onnx.convert import write_operators
from facewright_export.tflite_to_onnx.onnx_graph import OnnxGraph
from facewright_export.tflite_to_onnx.tflite_graph import (
    TfliteGraph,
    TfliteOperator,
    TfliteTensor,
    read_tflite,
)
from tests.export.litert_reference import attention_reference, merged_landmarks, run_network
from tests.export.record_network_goldens import DETECTOR, GOLDENS, LANDMARKS, PERSON

Array = npt.NDArray[Any]
#: Rounding at 192 pixels is 1.5e-5, and two runtimes add up in different orders: 1.2e-4 was seen. An image
#: divided by 256 instead of 255 moves landmarks by 0.014, one half a code too bright by 0.008.
TOLERANCE_PX = 1e-3


@pytest.fixture(scope="module")
def wheel() -> zipfile.ZipFile:
    return zipfile.ZipFile(fetch_wheel(MEDIAPIPE, lambda _share, _what: None))


@pytest.fixture(scope="module")
def goldens() -> dict[str, Array]:
    return dict(np.load(GOLDENS))


def _run(model: onnx.ModelProto, image: Array) -> dict[str, Array]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results = session.run(None, {session.get_inputs()[0].name: image})
    return dict(zip([output.name for output in session.get_outputs()], results, strict=True))


def _nchw(images: Array) -> Array:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _batch(goldens: dict[str, Array], name: str) -> Array:
    """The recorded image and, as a second element, its mirror: a batch, to see that elements stay apart."""
    image = goldens[f"{name}_image"].astype(np.float32)
    return np.stack([image, image[:, ::-1]])


def test_landmarks_equal_the_recorded_ones(wheel: zipfile.ZipFile, goldens: dict[str, Array]) -> None:
    model = face_networks.convert_face_landmarks_fast(wheel.read(LANDMARKS))
    outputs = _run(model, _nchw(_batch(goldens, "landmarks") / 255))
    found = outputs["NETWORK_LANDMARKS"]
    assert found.shape == (2, 478, 3)
    assert outputs["FACE_SCORE"].shape == (2, 1)
    np.testing.assert_allclose(found[0], goldens["landmarks"], atol=TOLERANCE_PX, rtol=0)
    score = 1 / (1 + np.exp(-goldens["face_logit"].astype(np.float64)))
    np.testing.assert_allclose(outputs["FACE_SCORE"][0], score, atol=1e-6)
    # The mirrored face has its nose tip (landmark 1) at the mirrored place: the second image was used.
    assert found[1, 1, 0] == pytest.approx(192 - found[0, 1, 0], abs=3)


def test_averaged_landmarks_are_the_mean_over_the_views(
    wheel: zipfile.ZipFile, goldens: dict[str, Array]
) -> None:
    network = wheel.read(LANDMARKS)
    images = _nchw(_batch(goldens, "landmarks") / 255)
    averaged = _run(face_networks.convert_face_landmarks(network), images)
    fast = face_networks.convert_face_landmarks_fast(network)
    partners = landmark_views.mirror_partners()
    landmarks, scores = [], []
    for dx, dy, mirrored in landmark_views.VIEWS:
        rows, columns = (np.clip(np.arange(192) + shift, 0, 191) for shift in (dy, dx))
        view = images[:, :, rows][:, :, :, columns[::-1] if mirrored else columns]
        outputs = _run(fast, np.ascontiguousarray(view))
        points = outputs["NETWORK_LANDMARKS"]
        if mirrored:
            points = points[:, partners] * np.float32([-1, 1, 1]) + np.float32([192, 0, 0])
        landmarks.append(points + np.float32([dx, dy, 0]))
        scores.append(outputs["FACE_SCORE"])
    np.testing.assert_allclose(averaged["NETWORK_LANDMARKS"], np.mean(landmarks, axis=0), atol=1e-4)
    np.testing.assert_allclose(averaged["FACE_SCORE"], np.mean(scores, axis=0), atol=1e-6)
    # The batch's second image mirrors the first: so do its landmarks, which one view's do not.
    mirror = averaged["NETWORK_LANDMARKS"][1, partners] * [-1, 1, 1] + [192, 0, 0]
    np.testing.assert_allclose(averaged["NETWORK_LANDMARKS"][0], mirror, atol=1e-4)


def test_averaging_lowers_the_jitter(wheel: zipfile.ZipFile, goldens: dict[str, Array]) -> None:
    """The same face in views moved by up to four pixels: how far its landmarks scatter."""
    network = wheel.read(LANDMARKS)
    image = goldens["landmarks_image"].astype(np.float32) / 255
    shifts = np.random.default_rng(0).integers(-4, 5, (8, 2))
    views = _nchw(np.stack([np.roll(image, tuple(shift), axis=(0, 1)) for shift in shifts]))

    def scatter(model: onnx.ModelProto) -> float:
        placed = _run(model, views)["NETWORK_LANDMARKS"][:, :, :2] - shifts[:, None, ::-1]
        return float(np.median(np.linalg.norm(placed - placed.mean(axis=0), axis=2)))

    averaged = scatter(face_networks.convert_face_landmarks(network))
    single = scatter(face_networks.convert_face_landmarks_fast(network))
    assert averaged < 0.75 * single


def test_mirror_partners(wheel: zipfile.ZipFile, goldens: dict[str, Array]) -> None:
    partners = landmark_views.mirror_partners()
    assert [partners[i] for i in partners] == list(range(478))
    named = {33: 263, 133: 362, 61: 291, 234: 454, 159: 386, 468: 473, 469: 476, 1: 1, 152: 152}
    assert {i: partners[i] for i in named} == named
    # The network itself, on the mirrored face, puts every landmark near the mirror image of its partner.
    images = _nchw(_batch(goldens, "landmarks") / 255)
    face, mirrored = _run(face_networks.convert_face_landmarks_fast(wheel.read(LANDMARKS)), images)[
        "NETWORK_LANDMARKS"
    ][:, :, :2]
    offsets = np.linalg.norm(face - (mirrored[partners] * [-1, 1] + [192, 0]), axis=1)
    assert offsets.max() < 4


def test_detector_equals_the_recorded_one(wheel: zipfile.ZipFile, goldens: dict[str, Array]) -> None:
    model = face_networks.convert_face_detector(wheel.read(DETECTOR))
    outputs = _run(model, _nchw(_batch(goldens, "detector") / 127.5 - 1))
    scores = 1 / (1 + np.exp(-np.clip(goldens["detector_logits"].astype(np.float64), -80, 80)))
    np.testing.assert_allclose(outputs["SCORES"][0], scores, atol=2e-5)
    anchors = goldens["detector_anchors"]
    regressors = goldens["detector_regressors"].reshape(-1, 8, 2)
    for anchor, regressor in zip(anchors, regressors, strict=True):
        # Anchors 0-511: two on each cell of 16 x 16; 512-895: six on each of 8 x 8.
        cell, cells = (anchor // 2, 16) if anchor < 512 else ((anchor - 512) // 6, 8)
        centre = (np.array([cell % cells, cell // cells]) + 0.5) * 128 / cells
        middle, size = centre + regressor[0], regressor[1]
        expected = np.concatenate([[middle - size / 2, middle + size / 2], centre + regressor[2:]])
        np.testing.assert_allclose(outputs["BOXES"][0, anchor].reshape(8, 2), expected, atol=TOLERANCE_PX)


def test_person_mask_equals_the_recorded_one(wheel: zipfile.ZipFile, goldens: dict[str, Array]) -> None:
    model = face_networks.convert_person_mask(wheel.read(PERSON))
    mask = _run(model, _nchw(_batch(goldens, "person") / 255))["MASK"]
    np.testing.assert_allclose(mask[0, 0, ::4, ::4], goldens["person_mask"], atol=1e-4)


def test_landmarks_equal_litert(wheel: zipfile.ZipFile, goldens: dict[str, Array]) -> None:
    """Views that the recording does not have: turned, shifted beyond the face, and noise."""
    pytest.importorskip("ai_edge_litert", reason="the LiteRT runtime is not installed: pip install .[parity]")
    network = wheel.read(LANDMARKS)
    image = goldens["landmarks_image"].astype(np.float32) / 255
    noise = np.random.default_rng(0).random(image.shape, dtype=np.float32)
    views = np.stack([np.rot90(image), np.roll(image, (30, -50), axis=(0, 1)), noise])
    found = _run(face_networks.convert_face_landmarks_fast(network), _nchw(views))
    for view, landmarks in zip(views, found["NETWORK_LANDMARKS"], strict=True):
        expected = merged_landmarks(network, attention_reference(network, np.ascontiguousarray(view[None])))
        np.testing.assert_allclose(landmarks, expected, atol=1e-3, rtol=0)
        assert np.median(np.abs(landmarks - expected)) < 1e-4


def test_detector_and_mask_equal_litert(wheel: zipfile.ZipFile) -> None:
    pytest.importorskip("ai_edge_litert", reason="the LiteRT runtime is not installed: pip install .[parity]")
    rng = np.random.default_rng(1)
    views = rng.random((1, 128, 128, 3), dtype=np.float32) * 2 - 1
    logits = run_network(wheel.read(DETECTOR), views)[1]
    found = _run(face_networks.convert_face_detector(wheel.read(DETECTOR)), _nchw(views))
    np.testing.assert_allclose(found["SCORES"], 1 / (1 + np.exp(-logits[..., 0])), atol=2e-5)
    views = rng.random((1, 256, 256, 3), dtype=np.float32)
    mask = run_network(wheel.read(PERSON), views)[0]
    found = _run(face_networks.convert_person_mask(wheel.read(PERSON)), _nchw(views))
    np.testing.assert_allclose(found["MASK"][0, 0], mask[0, :, :, 0], atol=1e-4)


Convert = Callable[[bytes], onnx.ModelProto]


@pytest.mark.parametrize(
    ("convert", "member"),
    [
        (face_networks.convert_face_detector, DETECTOR),
        (face_networks.convert_face_landmarks, LANDMARKS),
        (face_networks.convert_face_landmarks_fast, LANDMARKS),
        (face_networks.convert_person_mask, PERSON),
    ],
)
def test_conversion_is_deterministic(convert: Convert, member: str, wheel: zipfile.ZipFile) -> None:
    first, second = (convert(wheel.read(member)) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert [entry.version for entry in first.opset_import] == [17]
    for value in [*first.graph.input, *first.graph.output]:
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


def _one_operator(kind: str, options: dict[str, Any], slope: Array | None = None) -> TfliteGraph:
    image = TfliteTensor("image", (1, 4, 4, 2), None)
    constants = (TfliteTensor("constant", (1, 1, 2), slope),)
    operator = TfliteOperator(kind, (0, 1), (2,), options)
    return TfliteGraph(
        (image, *constants, TfliteTensor("result", image.shape, None)), (operator,), (0,), (2,)
    )


def test_prelu_with_slopes_outside_0_to_1() -> None:
    """``max(x, a x)`` would be wrong for these slopes, which the landmark network has."""
    slope = np.array([[[-1.6, 6.2]]], np.float32)
    graph = OnnxGraph()
    result = write_operators(graph, _one_operator("PRELU", {}, slope), "IMAGE")[2]
    graph.add("Identity", result, output="RESULT")
    model = graph.model("prelu", {"IMAGE": (2, 4, 4)}, {"RESULT": (2, 4, 4)}, {})
    image = np.random.default_rng(0).normal(size=(3, 2, 4, 4)).astype(np.float32)
    expected = np.where(image > 0, image, slope.reshape(1, 2, 1, 1) * image)
    np.testing.assert_allclose(_run(model, image)["RESULT"], expected, atol=1e-5)


def test_unknown_operators_and_options_are_refused() -> None:
    with pytest.raises(ValueError, match="FFT has no ONNX writer"):
        write_operators(OnnxGraph(), _one_operator("FFT", {}), "IMAGE")
    fused = {"FusedActivationFunction": 3}  # RELU6
    with pytest.raises(ValueError, match="fused activation 3"):
        write_operators(OnnxGraph(), _one_operator("ADD", fused, np.ones((1, 1, 2), np.float32)), "IMAGE")


def test_not_a_network_is_refused() -> None:
    with pytest.raises(ValueError, match="not a TensorFlow Lite model"):
        read_tflite(b"PK\x03\x04 something else entirely")
