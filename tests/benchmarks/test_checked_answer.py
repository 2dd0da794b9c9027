"""The serving benchmark refuses to time a wrong answer."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from benchmarks.serving.checked_answer import WrongAnswerError, check_answer, glb_json
from facewright.adapter.in_process import Run
from facewright_client import Avatar
from facewright_client.contract import GLB, IDENTITY, LANDMARKS


def _glb(targets: list[str], images: int = 1) -> bytes:
    contents = {"meshes": [{"extras": {"targetNames": targets}}], "images": [{}] * images}
    chunk = json.dumps(contents).encode()
    chunk += b" " * (-len(chunk) % 4)
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(chunk), len(chunk), b"JSON") + chunk


_TARGETS = ["jawOpen", *(f"shape{i}" for i in range(51))]
_LANDMARKS = np.full((478, 2), 100.0, np.float32)
_IDENTITY = np.zeros(160, np.float32)


def _answer(glb: bytes, **changes: Any) -> Avatar:
    empty = np.zeros(0, np.float32)
    fields: dict[str, Any] = {
        "glb": glb,
        "report": {},
        "preview": None,
        "identity": _IDENTITY,
        "eye_rotation": np.zeros((2, 2), np.float32),
        "expression": empty,
        "landmarks": _LANDMARKS,
        "intrinsics": empty,
        "head_to_camera": empty,
        "neutral_vertices": empty,
        "sh_light": empty,
    }
    return Avatar(**(fields | changes))


def _expected(glb: bytes) -> Run:
    tensors = {GLB: np.frombuffer(glb, np.uint8), LANDMARKS: _LANDMARKS, IDENTITY: _IDENTITY}
    return Run(tensors, {})


def test_the_same_avatar_passes_and_is_described() -> None:
    glb = _glb(_TARGETS)
    said = check_answer(_answer(glb), _expected(glb))
    assert "52 morph targets" in said
    assert "byte for byte" in said


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_answer(_glb(_TARGETS), landmarks=_LANDMARKS + 3), "landmarks off by 3.00 px"),
        (_answer(_glb(_TARGETS), identity=_IDENTITY + 0.5), "identity by 0.50"),
        (_answer(_glb(["smile"])), "1 named morph targets"),
        (_answer(_glb(_TARGETS, images=0)), "no texture"),
        (_answer(_glb(_TARGETS)[:-8]), "not a whole glTF"),
        (_answer(b"PNG" * 20), "not a whole glTF"),
        (_answer(b""), "0 bytes"),
    ],
)
def test_another_face_or_a_broken_file_does_not(answer: Avatar, reason: str) -> None:
    with pytest.raises(WrongAnswerError, match=reason):
        check_answer(answer, _expected(_glb(_TARGETS)))


def test_glb_json_reads_the_contents() -> None:
    assert glb_json(_glb(["jawOpen"]))["meshes"][0]["extras"]["targetNames"] == ["jawOpen"]
