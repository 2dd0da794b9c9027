"""Several photos of one person through both clients: a code of each, and one avatar of the codes."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from facewright.pipelines.merge import MERGE_AVATARS
from facewright_client import BadCodeError, BadOptionError, BadPhotoError, NoFaceError, contract
from facewright_client.contract import CODE_MAGIC
from tests.client.test_both_clients import Caller
from tests.support.scripted_triton import Scripted, scripted_server, wire_error

CODE = b"FWCODE\r\n one"


@pytest.fixture
def scripted() -> Iterator[tuple[Scripted, str]]:
    with scripted_server() as served:
        served[0].contents["CODE"] = CODE
        yield served


@pytest.fixture(params=[False, True], ids=["Client", "AsyncClient"])
def caller(request: pytest.FixtureRequest, scripted: tuple[Scripted, str]) -> Caller:
    return Caller(scripted[1], request.param)


def test_a_code_comes_when_it_is_asked_for(caller: Caller, scripted: tuple[Scripted, str]) -> None:
    assert caller(lambda client: client.create(b"photo", code=True)).code == CODE
    assert caller(lambda client: client.create(b"photo")).code is None
    asked, other = ({output.name for output in request.outputs} for request in scripted[0].requests)
    assert asked - other == {"CODE"}


def test_photos_in_a_list_become_one_avatar(caller: Caller, scripted: tuple[Scripted, str]) -> None:
    avatar = caller(
        lambda client: client.create([b"a", b"bb"], preview=True, code=True, lods=1, delight=0.25, priority=2)
    )
    assert avatar.preview
    assert avatar.code == CODE * 2
    *photos, merge = scripted[0].requests
    assert sorted(request.raw_input_contents[0] for request in photos) == [b"a", b"bb"]
    assert [[output.name for output in request.outputs] for request in photos] == [["CODE"]] * 2
    assert all("delight" in request.parameters for request in photos)
    assert (merge.model_name, merge.inputs[0].name) == ("merge_avatars", "CODES")
    assert merge.raw_input_contents[0] == CODE * 2
    assert {output.name for output in merge.outputs} >= {"GLB", "REPORT", "PREVIEW"}
    assert merge.parameters.keys() == {"lods", "priority"}
    assert caller.counted() == {"ok": 3}


def test_stages_of_each_are_told(caller: Caller, scripted: tuple[Scripted, str]) -> None:
    scripted[0].stages = ("find_face",)
    told: list[str] = []
    caller(lambda client: client.create([b"a", b"b"], progress=told.append))
    assert told == ["find_face"] * 3


def test_the_photo_that_fails_is_named(caller: Caller, scripted: tuple[Scripted, str]) -> None:
    scripted[0].failures = [(grpc.StatusCode.INVALID_ARGUMENT, wire_error("NO_FACE"))]
    with pytest.raises(NoFaceError, match=r"photo [12]: ") as caught:
        caller(lambda client: client.create([b"a", b"b"]))
    assert caught.value.hint
    with pytest.raises(BadPhotoError, match="photo 2: the photo is empty"):
        caller(lambda client: client.create([b"a", b""]))
    assert "merge_avatars" not in {request.model_name for request in scripted[0].requests}


@pytest.mark.parametrize(("count", "told"), [(0, "no photo"), (contract.MAX_CODES + 1, "9 photos")])
def test_too_many_and_none(caller: Caller, scripted: tuple[Scripted, str], count: int, told: str) -> None:
    with pytest.raises(BadPhotoError, match=told):
        caller(lambda client: client.create([b"photo"] * count))
    assert scripted[0].requests == []


def test_codes_are_merged_without_photos(caller: Caller, scripted: tuple[Scripted, str]) -> None:
    assert caller(lambda client: client.merge([CODE, CODE], texture_size=512)).glb
    assert scripted[0].requests[0].raw_input_contents[0] == CODE * 2
    scripted[0].failures = [(grpc.StatusCode.INVALID_ARGUMENT, wire_error("BAD_CODE"))]
    with pytest.raises(BadCodeError):
        caller(lambda client: client.merge([b"no code"]))
    with pytest.raises(BadCodeError, match="there is no code"):
        caller(lambda client: client.merge([]))
    with pytest.raises(TypeError, match="list of bytes"):
        caller(lambda client: client.merge(["me.code"]))


def test_a_code_takes_a_photos_place(caller: Caller, scripted: tuple[Scripted, str]) -> None:
    other = CODE_MAGIC + b" other"
    assert caller(lambda client: client.create([other, b"photo"], lods=1, delight=0.25)).glb
    photo, merge = scripted[0].requests
    assert photo.raw_input_contents[0] == b"photo"
    assert merge.raw_input_contents[0] == other + CODE
    avatar = caller(
        lambda client: client.create(other, preview=True, code=True, texture_size=512, priority=1)
    )
    assert (avatar.code, bool(avatar.preview)) == (other, True)
    assert scripted[0].requests[-1].model_name == "merge_avatars"
    asked = len(scripted[0].requests)
    for options, told in (
        ({"delight": 0.5}, "a code takes no delight"),
        ({"pipeline": "other"}, "no pipeline"),
    ):
        with pytest.raises(BadOptionError, match=told):
            caller(lambda client, options=options: client.create([other, other], **options))
    assert len(scripted[0].requests) == asked


def test_what_the_client_passes_on_is_what_merging_has() -> None:
    assert set(contract.MERGE_OPTIONS) | {"deadline_ms"} == MERGE_AVATARS.options.keys()
    assert MERGE_AVATARS.name == contract.MERGE_PIPELINE
