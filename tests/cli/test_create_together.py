"""``facewright create --together`` and ``--code``: one person's photos, and what remains without them."""

from __future__ import annotations

import struct
from pathlib import Path

import grpc
import pytest

from facewright_client.contract import MAX_CODES
from tests.cli.conftest import Say
from tests.support.scripted_triton import Scripted, wire_error

#: Whole as far as its length goes.
CODE = b"FWCODE\r\n" + struct.pack("<HHI", 1, 18, 400) + bytes(400 - 16)


@pytest.fixture(autouse=True)
def answered(scripted: tuple[Scripted, str]) -> None:
    scripted[0].contents |= {"GLB": b"glTF" + bytes((2, 0, 0, 0, 12, 0, 0, 0)), "CODE": CODE}


def test_photos_of_one_person_become_one_file(scripted: tuple[Scripted, str], say: Say) -> None:
    command = f"create me.jpg you.jpg --together --code -o one.glb --server {scripted[1]}"
    status, said = say(command)
    assert (status, said) == (0, "warning: blurred\nwrote one.glb, one.code\n")
    assert Path("one.code").read_bytes() == CODE * 2
    assert [request.model_name for request in scripted[0].requests] == ["avatar_twin"] * 2 + ["merge_avatars"]
    assert "already there" in say(command)[1]
    Path("one.code").write_bytes(CODE[:-1])
    assert "wrote" in say(command)[1]


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
