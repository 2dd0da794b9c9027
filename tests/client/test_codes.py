"""What is made of codes: questions that can be asked, and those that are refused before anything is sent."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facewright_client import BadCodeError, BadOptionError, contract
from facewright_client import _wire as wire

CODE = b"FWCODE\r\n" + struct.pack("<HHI", 2, 22, 40) + bytes(24)
LIGHT = np.ones((9, 3), np.float32)


def test_an_interpolation_as_it_is_asked() -> None:
    question = wire.interpolate_question(wire.whole_codes([CODE, CODE]), [1, 0.25], True, {"lods": 1})
    assert question.pipeline == "interpolate_avatars"
    assert question.parameters == {"lods": 1, "shares": "1,0.25"}
    assert question.inputs[0][1].tobytes() == 2 * CODE
    assert contract.PREVIEW in question.outputs
    assert "shares" not in wire.interpolate_question(CODE, None, False, {}).parameters


def test_a_light_as_it_is_asked() -> None:
    own = wire.relight_question(CODE, None, None, {})
    assert [tensor.name for tensor, _ in own.inputs] == ["CODES"]
    lent = wire.relight_question(CODE, CODE, None, {"yaw": 30})
    assert lent.inputs[0][1].tobytes() == 2 * CODE
    given = dict(wire.relight_question(CODE, LIGHT.tolist(), b"a picture", {}).inputs)
    assert (given[contract.LIGHT] == LIGHT).all()
    assert given[contract.ENVIRONMENT].tobytes() == b"a picture"


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        ([], "there is no code"),
        ([b"", CODE], "code 1 is empty"),
        ([CODE, CODE[:30]], "code 2 has 30 bytes, and says 40"),
        ([CODE + CODE], "code 1 has 80 bytes"),
        ([b"\xff\xd8\xff\xe0 a photo"], "code 1 is no Facewright code"),
    ],
)
def test_codes_that_are_none_are_named(codes: list[bytes], words: str) -> None:
    with pytest.raises(BadCodeError, match=words):
        wire.whole_codes(codes)


@pytest.mark.parametrize("codes", [CODE, "me.code", [Path("me.code")], None])
def test_what_is_no_list_of_bytes(codes: Any) -> None:
    with pytest.raises(TypeError):
        wire.whole_codes(codes)


@pytest.mark.parametrize("shares", ["0.5,0.5", ["a", "b"], 0.5, [], [[1, 2]]])
def test_shares_that_are_none(shares: Any) -> None:
    with pytest.raises(BadOptionError, match="shares is"):
        wire.interpolate_question(CODE, shares, False, {})


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: wire.relight_question(CODE, "abc", None, {}), "light is 'abc'"),
        (lambda: wire.relight_question(CODE, Path("other.code"), None, {}), "light is"),
        (lambda: wire.relight_question(CODE, LIGHT * 1j, None, {}), "light is"),
        (lambda: wire.relight_question(CODE, [[1, 2, 3], [1]], None, {}), "light has shape"),
        (lambda: wire.relight_question(CODE, LIGHT[:4], None, {}), r"light has shape \[4, 3\]"),
        (lambda: wire.relight_question(CODE, None, "hall.jpg", {}), "environment is 'hall.jpg'"),
    ],
)
def test_lights_that_are_none(ask: Callable[[], Any], words: str) -> None:
    with pytest.raises(BadOptionError, match=words):
        ask()


def test_a_light_that_is_no_code_any_more() -> None:
    with pytest.raises(BadCodeError, match="code 1 is empty"):
        wire.relight_question(CODE, b"", None, {})
