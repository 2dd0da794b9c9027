"""CODE comes from anybody: what is no code, or not whole, is refused in words, whatever was done to it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facewright.code.avatar_code import ARRAYS, AvatarCode, Origin
from facewright.code.code_file import read_code, split_codes, written_code
from facewright.core.errors import FacewrightError
from facewright_client.contract import MAX_CODE_BYTES, MAX_CODES, ErrorCode

VERTICES = 40
HEAD = "ab" * 32
TABLE, ROW = 80, 12
PAGE = Path(__file__).parents[2] / "docs" / "avatar_code.md"


@pytest.fixture(scope="module")
def code() -> AvatarCode:
    random = np.random.default_rng(5)
    arrays: dict[str, Any] = {}
    for array in ARRAYS:
        shape = tuple(VERTICES if size == -1 else size for size in array.shape)
        top = 1.0 if array.dtype.kind == "f" else 255 if array.dtype.itemsize == 1 else 900
        arrays[array.name] = (random.uniform(0, top, shape)).astype(array.dtype)
    turned = np.diag([1.0, -1.0, -1.0]).astype(np.float32)
    arrays |= {
        "landmark_to_crop": np.eye(3, dtype=np.float32),
        "crop_to_photo": np.eye(3, dtype=np.float32),
        "valid_box": np.array([0, 0, 1024, 1000], np.int32),
        "intrinsics": np.array([[900, 0, 500], [0, 900, 500], [0, 0, 1]], np.float32),
        "head_to_camera": np.concatenate([turned, [[0], [0], [1]]], axis=1).astype(np.float32),
    }
    file = io.BytesIO()
    Image.new("RGB", (512, 512), (200, 150, 130)).save(file, "JPEG", subsampling=0)
    origin = Origin("avatar_twin", "1.2", {"head.npz": HEAD}, ("hard light",))
    return AvatarCode(origin, HEAD, **arrays, texture=file.getvalue())


def read(content: bytes) -> AvatarCode:
    return read_code(content, HEAD, VERTICES)


def refused(content: bytes) -> str:
    with pytest.raises(FacewrightError) as caught:
        read(content)
    assert caught.value.code is ErrorCode.BAD_CODE
    assert caught.value.hint
    return caught.value.message


def signed(content: bytes) -> bytes:
    """The content with the digest that belongs to it: whoever makes a code knows how."""
    body = content[TABLE:]
    head = content[:12] + struct.pack("<I", len(content)) + content[16:48]
    return head + hashlib.sha256(head + body).digest() + body


def with_section(content: bytes, tag: str, stored: bytes, size: int | None = None) -> bytes:
    """A code one of whose sections is another."""
    count = struct.unpack_from("<H", content, 10)[0]
    rows = [struct.unpack_from("<4sII", content, TABLE + ROW * n) for n in range(count)]
    at = TABLE + ROW * count
    table, sections = b"", b""
    for name, length, unpacked in rows:
        own = content[at : at + length]
        at += length
        if name == tag.encode():
            own, unpacked = stored, len(stored) if size is None else size
        table += struct.pack("<4sII", name, len(own), unpacked)
        sections += own
    return signed(content[:TABLE] + table + sections)


def test_what_is_written_is_read(code: AvatarCode) -> None:
    content = written_code(code)
    again = read(content)
    assert again.origin == code.origin
    assert again.texture == code.texture
    for array in ARRAYS:
        np.testing.assert_array_equal(getattr(again, array.name), getattr(code, array.name))
    assert again.person_mask.shape == (256, 256)
    assert written_code(again) == content


def test_the_page_says_how_it_is_written(code: AvatarCode) -> None:
    """A code read by the page's words alone."""
    content, page = written_code(code), PAGE.read_text()
    table = [
        line.split("|")[1:5] for line in page.splitlines() if line.startswith("| `") and line.count("|") == 5
    ]
    rows = [(tag.strip(" `"), kind.strip(), shape.strip()) for tag, kind, shape, _ in table]
    magic, version, count, length, head = struct.unpack("<8sHHI32s", content[:48])
    assert (magic, version, count, length, head.hex()) == (b"FWCODE\r\n", 2, len(rows), len(content), HEAD)
    assert hashlib.sha256(content[:48] + content[80:]).digest() == content[48:80]
    at, there = 80 + 12 * count, []
    for number, (tag, kind, shape) in enumerate(rows):
        name, stored, size = struct.unpack_from("<4sII", content, 80 + 12 * number)
        section = content[at : at + stored]
        at += stored
        there.append(name.decode())
        if kind == "JPEG":
            assert stored == size
            assert section == code.texture
            continue
        section = zlib.decompress(section)
        assert len(section) == size
        if kind == "JSON":
            assert json.loads(section)["pipeline"] == "avatar_twin"
            continue
        sides = [VERTICES if side == "V" else int(side) for side in shape.replace("×", " ").split()]
        values = np.frombuffer(section, {"f32": "<f4", "i32": "<i4", "i16": "<i2", "u8": "u1"}[kind])
        expected = next(getattr(code, array.name) for array in ARRAYS if array.tag == tag)
        np.testing.assert_array_equal(values.reshape(sides), expected)
    assert there == [tag for tag, *_ in rows]
    assert at == len(content)


def test_whatever_is_damaged_is_refused(code: AvatarCode) -> None:
    content, random = written_code(code), np.random.default_rng(11)
    for cut in [*range(0, 400, 7), *random.integers(0, len(content), 60).tolist()]:
        refused(content[:cut])
    for at in [*range(0, 340, 3), *random.integers(0, len(content), 60).tolist()]:
        flipped = bytearray(content)
        flipped[at] ^= 1 << int(random.integers(8))
        refused(bytes(flipped))
    refused(content + b"\0")
    refused(random.bytes(5000))


def test_whatever_is_damaged_and_signed_is_refused_or_harmless(code: AvatarCode) -> None:
    """The digest keeps nobody off who means harm."""
    content, random = written_code(code), np.random.default_rng(12)
    refusals: Counter[ErrorCode] = Counter()
    for _ in range(600):
        damaged = bytearray(content)
        for _ in range(int(random.integers(1, 4))):
            damaged[int(random.choice([random.integers(8, 320), random.integers(len(content))]))] = int(
                random.integers(256)
            )
        try:
            again = read(signed(bytes(damaged)))
        except FacewrightError as error:
            refusals[error.code] += 1
        else:
            assert np.isfinite(again.network_landmarks).all()
    assert refusals.keys() == {ErrorCode.BAD_CODE}
    assert refusals.total() > 300


@pytest.mark.parametrize(
    ("tag", "content", "told"),
    [
        ("CONF", zlib.compress(bytes(1 << 27)), "bytes, more than"),
        ("META", zlib.compress(b"[" * (1 << 14)), "not what a pipeline writes"),
        ("META", zlib.compress(b'{"pipeline": 1, "version": "1", "models": {}, "warnings": []}'), "not what"),
        (
            "META",
            zlib.compress(b'{"pipeline": "a", "version": "1", "models": {}, "warnings": ["\\u001b[2J"]}'),
            "not what",
        ),
        ("IDEN", zlib.compress(np.full(160, np.nan, "<f4").tobytes()), "not finite"),
        ("POSE", zlib.compress(np.zeros(12, "<f4").tobytes()), "POSE is no face's"),
        ("EXPN", zlib.compress(np.full(52, 7, "<f4").tobytes()), "EXPN is no face's"),
        ("NEUT", zlib.compress(bytes(6 * 39)), "has a section NEUT of 234 bytes, not 240"),
        ("LMKS", b"no zlib", "cannot be unpacked"),
        ("LMKS", zlib.compress(bytes(478 * 12)) + b"more", "another length"),
        ("JPEG", b"GIF89a" + bytes(100), "no JPEG"),
    ],
)
def test_sections_that_lie(code: AvatarCode, tag: str, content: bytes, told: str) -> None:
    unpacked = 1 << 27 if tag == "CONF" else None
    if tag != "JPEG" and content != b"no zlib" and unpacked is None:
        unpacked = len(zlib.decompressobj().decompress(content))
    assert told in refused(with_section(written_code(code), tag, content, unpacked))


def test_a_bomb_is_never_unpacked(code: AvatarCode) -> None:
    """A section that says it is small and is not."""
    content = with_section(written_code(code), "CONF", zlib.compress(bytes(1 << 26)), 2 * 256 * 256)
    tracemalloc.start()
    try:
        assert "another length" in refused(content)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


def test_a_texture_of_another_size(code: AvatarCode) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4096, 4096)).save(file, "JPEG")
    assert "4096 x 4096" in refused(with_section(written_code(code), "JPEG", file.getvalue()))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (lambda code: code[:8] + struct.pack("<H", 3) + code[10:], "version 3; this release reads 2"),
        (lambda code: code[:16] + bytes(32) + code[48:], "another head model"),
        (lambda code: code[:10] + struct.pack("<H", 900) + code[12:], "900 sections"),
        (lambda code: b"\x89PNG\r\n\x1a\n" + code[8:], "a PNG picture, not a Facewright code"),
    ],
)
def test_strangers(code: AvatarCode, changed: Callable[[bytes], bytes], told: str) -> None:
    assert told in refused(signed(changed(written_code(code))))


@pytest.mark.parametrize(
    ("as_sent", "told", "advice"),
    [
        (base64.b64encode, "the base64 text of a Facewright code", "decode it"),
        (
            lambda code: json.dumps(base64.b64encode(code).decode()).encode(),
            "the base64 text of",
            "decode it",
        ),
        (lambda code: base64.encodebytes(code), "the base64 text of a Facewright code", "decode it"),
        (lambda code: code.hex().encode(), "the hexadecimal text of a Facewright code", "decode it"),
        (
            lambda code: b"data:application/octet-stream;base64," + base64.b64encode(code),
            "the text of a data: URL",
            "decode what follows",
        ),
        (lambda code: repr(code).encode(), "the text of Python bytes", "the bytes themselves"),
        (lambda code: b'{"code": "' + base64.b64encode(code), "a JSON text", "its member code, decoded"),
        (lambda _code: b"\xff\xd8\xff\xe0" + bytes(90), "a JPEG picture", "a pipeline that takes photos"),
        (lambda code: code.replace(b"\r\n", b"\n"), "damaged by a transfer as text", "as binary"),
    ],
)
def test_what_is_sent_as_a_code_is_named(
    code: AvatarCode, as_sent: Callable[[bytes], bytes], told: str, advice: str
) -> None:
    with pytest.raises(FacewrightError, match=told) as caught:
        split_codes(as_sent(written_code(code)))
    assert caught.value.code is ErrorCode.BAD_CODE
    assert advice in caught.value.hint


def test_codes_stand_one_after_the_other(code: AvatarCode) -> None:
    one, other = written_code(code), written_code(replace(code, origin=Origin("avatar_twin", "1.3")))
    assert [bytes(part) for part in split_codes(one + other)] == [one, other]
    for content, told in (
        (b"", "code 1 has 0 bytes"),
        (one + other[:-1], "code 2 is cut off"),
        (one + b"x" * 60, "code 2 is a text, not a Facewright code"),
        (one * (MAX_CODES + 1), f"code {MAX_CODES + 1} is one too many"),
        (one[:12] + struct.pack("<I", 10) + one[16:], "fewer than its table"),
        (one[:12] + struct.pack("<I", MAX_CODE_BYTES + 1) + one[16:], "at most"),
    ):
        with pytest.raises(FacewrightError, match=told) as caught:
            split_codes(content)
        assert caught.value.code is ErrorCode.BAD_CODE
