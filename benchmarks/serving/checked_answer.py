"""A wrong answer is not worth timing: what the server gives is compared with the stages called directly."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from facewright.adapter.in_process import Run
from facewright_client import Avatar
from facewright_client.contract import GLB, IDENTITY, LANDMARKS


class WrongAnswerError(Exception):
    """The server's avatar is not that of the photo, or not a GLB."""


def check_answer(answer: Avatar, expected: Run) -> str:
    """In words, what was checked.

    Raises:
        WrongAnswerError: the GLB does not parse, lacks the ARKit morph targets or a texture, or belongs to
            another face than ``expected``.
    """
    contents = glb_json(answer.glb)
    names = contents["meshes"][0].get("extras", {}).get("targetNames", [])
    if "jawOpen" not in names or len(names) < 52:
        raise WrongAnswerError(
            f"the GLB has {len(names)} named morph targets, jawOpen and 51 more are missing"
        )
    if not contents.get("images"):
        raise WrongAnswerError("the GLB has no texture")
    offset = float(np.abs(answer.landmarks - expected.array(LANDMARKS)).max())
    difference = float(np.abs(answer.identity - expected.array(IDENTITY)).max())
    if offset > 0.05 or difference > 0.05:
        raise WrongAnswerError(
            f"not this photo's avatar: landmarks off by {offset:.2f} px, identity by {difference:.2f}"
        )
    same = "byte for byte" if answer.glb == expected.content(GLB) else f"(identity within {difference:.0e})"
    return (
        f"the GLB parses, has {len(names)} morph targets and a texture, and equals that of the stages called "
        f"in one process {same}"
    )


def glb_json(glb: bytes) -> dict[str, Any]:
    """The JSON chunk of a binary glTF 2.0 file.

    Raises:
        WrongAnswerError: not one, or cut short.
    """
    if len(glb) < 20:
        raise WrongAnswerError(f"a GLB of {len(glb)} bytes")
    magic, version, length, json_length, kind = struct.unpack_from("<4sIII4s", glb)
    if (magic, version, kind) != (b"glTF", 2, b"JSON") or length != len(glb):
        raise WrongAnswerError(
            f"not a whole glTF 2.0 file: {glb[:4]!r}, version {version}, {length} of {len(glb)}"
        )
    contents: dict[str, Any] = json.loads(glb[20 : 20 + json_length])
    return contents
