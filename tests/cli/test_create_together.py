"""``facewright create --together`` and ``--code``: one person's photos, and what remains without them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import grpc
import pytest

from facewright_client.contract import MAX_CODES
from tests.cli.conftest import Say
from tests.support.scripted_triton import Scripted, wire_error

#: Whole as far as its length goes.
CODE = b"FWCODE\r\n" + struct.pack("<HHI", 2, 18, 400) + bytes(400 - 16)


@pytest.fixture(autouse=True)
def answered(scripted: tuple[Scripted, str]) -> None:
    scripted[0].contents |= {"GLB": b"glTF" + bytes((2, 0, 0, 0, 12, 0, 0, 0)), "CODE": CODE}


def test_photos_of_one_person_become_one_file(scripted: tuple[Scripted, str], say: Say) -> None:
    command = f"create me.jpg you.jpg --together --code -o one.glb --server {scripted[1]}"
    status, said = say(command)
    agree = "one.glb is made of 2 photos, which should all be of one person\n"
    assert (status, said) == (0, f"warning: blurred\n{agree}wrote one.glb, one.code\n")
    assert Path("one.code").read_bytes() == CODE * 2
    assert [request.model_name for request in scripted[0].requests] == ["avatar_twin"] * 2 + ["merge_avatars"]
    assert "already there" in say(command)[1]
    Path("one.code").write_bytes(CODE[:-1])
    assert "wrote" in say(command)[1]


def test_how_alike_the_photos_are_is_said(scripted: tuple[Scripted, str], say: Say) -> None:
    photos = [{"likeness": likeness} for likeness in (0.534, 0.41, 0.1)]
    scripted[0].contents["REPORT"] = json.dumps({"merge": {"photos": photos}}).encode()
    said = say(f"create me.jpg you.jpg --together -o one.glb --server {scripted[1]}")[1]
    assert said.splitlines()[0] == (
        "one.glb is made of 3 photos, which should all be of one person: alike by 0.53, 0.41 and "
        "0.10 (1: the same; half of one person's are above 0.5, half of strangers' below 0.2)"
    )


def test_codes_are_taken_for_photos(scripted: tuple[Scripted, str], say: Say) -> None:
    Path("old.code").write_bytes(CODE)
    assert say(f"create old.code -o new.glb --preview --server {scripted[1]}")[0] == 0
    assert say(f"create old.code me.jpg --together -o one.glb --server {scripted[1]}")[0] == 0
    assert [request.model_name for request in scripted[0].requests] == [
        *("merge_avatars", "avatar_twin", "merge_avatars")
    ]
    status, said = say(f"create old.code -o other.glb --delight 0.5 --server {scripted[1]}")
    assert (status, said.startswith("old.code: BAD_OPTION: a code takes no delight")) == (1, True)


def test_a_folder_gets_the_first_photos_name(scripted: tuple[Scripted, str], say: Say) -> None:
    assert say(f"create you.jpg me.jpg --together -o out --server {scripted[1]}")[0] == 0
    assert [path.name for path in Path("out").glob("*.*") if path.suffix in (".glb", ".code")] == ["you.glb"]


def test_the_photo_that_fails_is_named(scripted: tuple[Scripted, str], say: Say) -> None:
    scripted[0].failures = [(grpc.StatusCode.INVALID_ARGUMENT, wire_error("NO_FACE"))]
    status, said = say(f"create me.jpg you.jpg --together -o one.glb --server {scripted[1]}")
    assert status == 1
    assert said.startswith("one.glb: NO_FACE: photo ")
    assert (
        "nobody.jpg: No such file"
        in say(f"create me.jpg nobody.jpg --together -o o.glb --server {scripted[1]}")[1]
    )


def test_too_many_are_told_before_anything_is_made(scripted: tuple[Scripted, str], say: Say) -> None:
    many = " ".join(f"{number}.jpg" for number in range(MAX_CODES + 1))
    assert f"at most {MAX_CODES}" in say(f"create {many} --together -o o.glb --server {scripted[1]}")[1]
    assert "--together" in say(f"create me.jpg you.jpg -o o.glb --server {scripted[1]}")[1]
    assert scripted[0].requests == []
