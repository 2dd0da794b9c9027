"""POST /v1/avatars: what may be asked, how it reaches the house, and in which forms the answer comes."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import time
from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from facewright.core.errors import FacewrightError
from facewright.core.options import validated_options
from facewright.gateway.call import Caller
from facewright.gateway.rest import RestSettings
from facewright.pipelines.twin import AVATAR_TWIN
from facewright_client._errors import error_from_answer
from facewright_client.contract import ErrorCode
from tests.gateway.rest_door import Door, Reply, open_door
from tests.support.scripted_house import CODE, GLB, PREVIEW, REPORT

_JPEG = b"\xff\xd8\xff\xe0 not really, \r\n--x and any byte: " + bytes(range(256))


def _authenticate(headers: Mapping[str, str], peer: str) -> Caller:
    if headers.get("authorization") == "Bearer wrong":
        raise FacewrightError(ErrorCode.UNAUTHENTICATED, "the key is unknown", "ask for one")
    return Caller(peer, best_priority=2 if "x-hasty" not in headers else 0)


@pytest.fixture(scope="module")
def opened() -> Iterator[Door]:
    with open_door(RestSettings(authenticate=_authenticate)) as door:
        yield door


@pytest.fixture
def door(opened: Door) -> Door:
    opened.house.calls.clear()
    opened.house.requests.clear()
    opened.house.failures.clear()
    opened.house.stages = ()
    return opened


def _form(*fields: tuple[str, bytes]) -> tuple[bytes, str]:
    """A form and its content type; photos are files."""
    parts = b""
    for name, value in fields:
        file = b'; filename="me.jpg"\r\nContent-Type: image/jpeg' if name == "photo" else b""
        head = b'--edge\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n' % (name.encode(), file)
        parts += head + value + b"\r\n"
    return parts + b"--edge--\r\n", "multipart/form-data; boundary=edge"


def _parts(reply: Reply) -> dict[str, tuple[str, bytes]]:
    """The files of a multipart/mixed answer, read by Python's own parser."""
    head = f"Content-Type: {reply.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + reply.body, policy=email.policy.HTTP)
    return {
        str(part.get_filename()): (part.get_content_type(), part.get_payload(decode=True))  # type: ignore[misc]
        for part in message.iter_parts()  # type: ignore[attr-defined]
    }


def _events(reply: Reply) -> list[tuple[str, dict[str, object]]]:
    lines = [event.split("\n") for event in reply.body.decode().rstrip("\n").split("\n\n")]
    assert all(event.startswith("event: ") and data.startswith("data: ") for event, data in lines)
    return [(event.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for event, data in lines]


@pytest.mark.parametrize(
    "content_type", ["", "image/jpeg", "application/x-www-form-urlencoded", "application/octet-stream"]
)
def test_the_body_is_the_photo_and_the_answer_the_file(door: Door, content_type: str) -> None:
    reply = door.create(photo=_JPEG, **({"Content_Type": content_type} if content_type else {}))
    assert (reply.status, reply.headers["Content-Type"]) == (200, "model/gltf-binary")
    assert reply.body == GLB
    (request,), (call,) = door.house.requests, door.house.calls
    assert request.raw_input_contents == [_JPEG]
    (tensor,) = request.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("PHOTO", "UINT8", [1, len(_JPEG)])
    # Triton 2.51 would not give them without the others (`Pipeline.also_wanted`).
    assert [output.name for output in request.outputs][:2] == ["GLB", "REPORT"]
    assert (request.model_name, request.id) == (call.pipeline, call.request_id)
    assert (call.pipeline, call.caller.name, call.deadline) == ("avatar_twin", "127.0.0.1", None)


def test_warnings_and_times_are_headers(door: Door) -> None:
    headers = door.create().headers
    said = '"the photo is \\"dark\\"", "half of it is ?ber-exposed"'
    assert headers["Facewright-Warnings"] == said
    assert headers["Server-Timing"] == "find_face;dur=20.5"
    assert headers["Cache-Control"] == "no-store"


def test_a_form_brings_photo_and_options(door: Door) -> None:
    body, kind = _form(("photo", _JPEG), ("texture_size", b"2048"))
    assert door.create("?delight=0.25&visemes=FALSE", body, Content_Type=kind).body == GLB
    (request,) = door.house.requests
    assert request.raw_input_contents == [_JPEG]
    assert request.parameters["texture_size"].int64_param == 2048
    assert request.parameters["delight"].string_param == "0.25"
    assert request.parameters["visemes"].WhichOneof("parameter_choice") == "bool_param"
    assert request.parameters["visemes"].bool_param is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("texture_size", "1000"),
        ("delight", "nan"),
        ("lods", "3"),
        ("visemes", "maybe"),
        ("texture_sise", "1"),
    ],
)
def test_a_wrong_option_is_refused_in_the_words_of_the_stages(door: Door, name: str, value: str) -> None:
    with pytest.raises(FacewrightError) as refused:
        validated_options({name: value}, AVATAR_TWIN.options)
    body, kind = _form(("photo", _JPEG), (name, value.encode()))
    for reply in (door.create(f"?{name}={value}"), door.create("", body, Content_Type=kind)):
        assert (reply.status, reply.error["code"]) == (400, "BAD_OPTION")
        assert reply.error["message"] == str(refused.value.message)
    assert not door.house.calls


def test_an_option_that_is_said_twice_is_refused(door: Door) -> None:
    body, kind = _form(("photo", _JPEG), ("lods", b"1"))
    for reply in (door.create("?lods=1&lods=1"), door.create("?lods=1", body, Content_Type=kind)):
        assert reply.error["message"] == "option 'lods' is given twice"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?tensors=GLB", "option tensors names 'GLB', which avatar_twin does not give"),
        ("?preview=1", "option preview is '1', which is not true or false"),
    ],
)
def test_the_doors_own_options_are_checked(door: Door, query: str, message: str) -> None:
    reply = door.create(query)
    assert (reply.status, reply.error["code"], reply.error["message"]) == (400, "BAD_OPTION", message)


@pytest.mark.parametrize("name", ["refine_latent", "avatar_none", ""])
def test_an_unknown_pipeline_has_the_code_that_it_has_over_grpc(door: Door, name: str) -> None:
    reply = door.create(f"?pipeline={name}")
    assert (reply.status, reply.error["code"]) == (400, "BAD_REQUEST")
    assert reply.error["message"] == f"pipeline {name!r} is not served here"


def test_json_has_report_file_preview_and_tensors(door: Door) -> None:
    reply = door.create("?preview=true&tensors=IDENTITY,SH_LIGHT", Accept="application/json")
    assert reply.headers["Content-Type"] == "application/json"
    members = json.loads(reply.body)
    assert set(members) == {"report", "glb", "preview", "tensors"}
    assert members["report"] == REPORT
    assert base64.b64decode(members["glb"]) == GLB
    assert base64.b64decode(members["preview"]) == PREVIEW
    assert members["tensors"]["SH_LIGHT"]["shape"] == [9, 3]
    identity = np.array(members["tensors"]["IDENTITY"]["data"], np.float32)
    np.testing.assert_array_equal(identity, np.arange(160, dtype=np.float32) / 7)
    assert [output.name for output in door.house.requests[0].outputs] == [
        *("GLB", "REPORT", "PREVIEW"),
        *("IDENTITY", "SH_LIGHT"),
    ]


@pytest.mark.parametrize(
    ("query", "accept", "what"),
    [
        ("?preview=true", "*/*", "model/gltf-binary has no room for preview"),
        (
            "?preview=true&tensors=IDENTITY",
            "model/gltf-binary",
            "model/gltf-binary has no room for preview and tensors",
        ),
        ("?preview=true&tensors=IDENTITY", "multipart/mixed", "multipart/mixed has no room for tensors"),
    ],
)
def test_nothing_is_computed_that_the_answer_has_no_room_for(
    door: Door, query: str, accept: str, what: str
) -> None:
    reply = door.create(query, Accept=accept)
    assert (reply.status, reply.error["message"]) == (406, what)
    assert "Accept: application/json" in reply.error["hint"]
    assert not door.house.calls


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
def test_a_photo_by_curl_d_is_told_of(door: Door, accept: str) -> None:
    door.house.failures += [FacewrightError(ErrorCode.BAD_PHOTO, "no photo", "send one") for _ in "12"]
    form = "application/x-www-form-urlencoded"
    assert b"--data-binary @me.jpg; else send one" in door.create(Content_Type=form, Accept=accept).body
    assert door.create(Content_Type="image/jpeg").error["hint"] == "send one"


def test_the_hint_of_a_deadline_is_one_for_rest(door: Door) -> None:
    late = error_from_answer("DEADLINE_EXCEEDED", "")
    door.house.failures.append(FacewrightError(ErrorCode.DEADLINE_EXCEEDED, late.message, late.hint))
    assert door.create().error["hint"] == "allow more time: X-Request-Timeout"


def test_parts_have_the_files(door: Door) -> None:
    reply = door.create("?preview=true", Accept="multipart/mixed")
    assert _parts(reply) == {
        "avatar.glb": ("model/gltf-binary", GLB),
        "avatar.json": ("application/json", json.dumps(REPORT, indent=1).encode()),
        "avatar.png": ("image/png", PREVIEW),
    }
    assert set(_parts(door.create(Accept="multipart/mixed"))) == {"avatar.glb", "avatar.json"}


def test_several_photos_are_answered_one_by_one(door: Door) -> None:
    door.house.failures.append(FacewrightError(ErrorCode.NO_FACE, "no face", "show one", "find_face"))
    body, kind = _form(("photo", b"one"), ("photo", b"two"), ("lods", b"1"))
    parts = _parts(door.create("", body, Content_Type=kind, Accept="multipart/mixed"))
    assert set(parts) == {"0.error.json", "1.glb", "1.json"}
    assert json.loads(parts["0.error.json"][1])["code"] == "NO_FACE"
    assert sorted(request.raw_input_contents[0] for request in door.house.requests) == [b"one", b"two"]
    assert len({call.request_id for call in door.house.calls}) == 2

    door.house.failures.append(FacewrightError(ErrorCode.NO_FACE, "no face", "show one", "find_face"))
    answer = json.loads(door.create("", body, Content_Type=kind, Accept="application/json").body)
    assert answer["avatars"][0]["error"]["stage"] == "find_face"
    assert base64.b64decode(answer["avatars"][1]["glb"]) == GLB


@pytest.mark.parametrize("accept", ["", "*/*", "model/gltf-binary", "model/*, */*;q=0.1"])
@pytest.mark.parametrize("prefer", ["", "respond-async, wait=10"])
def test_several_avatars_are_not_put_into_the_file_of_one(door: Door, accept: str, prefer: str) -> None:
    body, kind = _form(("photo", b"one"), ("photo", b"two"))
    reply = door.create("", body, Content_Type=kind, Accept=accept, Prefer=prefer)
    assert (reply.status, reply.error["message"]) == (406, "model/gltf-binary has no room for 2 avatars")
    assert "Accept: application/json or multipart/mixed" in reply.error["hint"]
    assert "together=true" in reply.error["hint"]
    assert not door.house.calls


def test_events_tell_stages_and_the_avatar(door: Door) -> None:
    door.house.stages = ("find_face", "fit_head")
    reply = door.create(Accept="text/event-stream")
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    began_first, began_second, (name, avatar) = _events(reply)
    assert began_first == ("began", {"stage": "find_face"})
    assert began_second == ("began", {"stage": "fit_head"})
    assert (name, base64.b64decode(str(avatar["glb"]))) == ("avatar", GLB)


def test_a_failure_among_events_is_one(door: Door) -> None:
    door.house.stages = ("find_face",)
    door.house.failures.append(FacewrightError(ErrorCode.NO_FACE, "no face", "show one", "find_face"))
    assert _events(door.create(Accept="text/event-stream"))[-1][1]["code"] == "NO_FACE"


def test_a_refusal_before_any_event_has_its_status(door: Door) -> None:
    door.house.failures.append(FacewrightError(ErrorCode.OVERLOADED, "full", "wait", retry_after_s=0.2))
    reply = door.create(Accept="text/event-stream")
    assert (reply.status, reply.error["code"], reply.headers["Retry-After"]) == (503, "OVERLOADED", "1")


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_failure_of_a_stage_has_its_status(door: Door, code: ErrorCode) -> None:
    expected = {
        ErrorCode.BAD_OPTION: 400,
        ErrorCode.BAD_REQUEST: 400,
        ErrorCode.UNAUTHENTICATED: 401,
        ErrorCode.PHOTO_TOO_LARGE: 413,
        ErrorCode.BAD_PHOTO: 422,
        ErrorCode.NO_FACE: 422,
        ErrorCode.FACE_TOO_SMALL: 422,
        ErrorCode.BAD_CODE: 422,
        ErrorCode.OVERLOADED: 503,
        ErrorCode.UNAVAILABLE: 503,
        ErrorCode.CANCELLED: 503,
        ErrorCode.DEADLINE_EXCEEDED: 504,
    }
    door.house.failures.append(FacewrightError(code, "what", "mend", "fit_head", retry_after_s=2.01))
    reply = door.create()
    assert reply.status == expected.get(code, 500)
    assert reply.error == {
        "code": code,
        "stage": "fit_head",
        "message": "what",
        "hint": "mend",
        "retry_after_s": 2.01,
    }
    assert reply.headers["Retry-After"] == "3"


def test_a_fault_of_ours_says_nothing_of_itself(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    door.house.failures.append(ZeroDivisionError("a secret of the server's"))
    reply = door.create(X_Request_Id="mine-1")
    assert (reply.status, reply.error["code"]) == (500, "INTERNAL")
    assert b"secret" not in reply.body
    assert "mine-1" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text
    assert door.works()


def test_what_is_no_avatar_is_a_fault(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nonsense(_call: object) -> bytes:
        return b"\xff\xff"

    monkeypatch.setattr(door.house, "answer", nonsense)
    assert door.create().error["code"] == "INTERNAL"


def test_request_ids_come_back_where_they_are_sane(door: Door) -> None:
    assert door.create(X_Request_Id="game-7/42").headers["X-Request-Id"] == "game-7/42"
    for odd in ("a b", "x" * 129, "<script>"):
        made = door.create(X_Request_Id=odd).headers["X-Request-Id"]
        assert len(made) == 32
    assert len({call.request_id for call in door.house.calls}) == 4


def test_an_answer_that_is_sent_to_many_has_each_ones_id(door: Door) -> None:
    for identity in ("first", "second"):
        headers = door.ask("GET", "/v1/version", headers={"X-Request-Id": identity}).headers
        assert headers.get_all("X-Request-Id") == [identity]


def test_the_callers_deadline_is_the_shorter_one(door: Door) -> None:
    for query, header, seconds in (("", "2.5", 2.5), ("?deadline_ms=900", "2.5", 0.9), ("", None, None)):
        before = time.monotonic()
        door.create(query, **({} if header is None else {"X_Request_Timeout": header}))
        after = time.monotonic()
        deadline = door.house.calls[-1].deadline
        if seconds is None:
            assert deadline is None
        else:
            assert deadline is not None
            assert before + seconds <= deadline <= after + seconds
    for odd in ("soon", "0", "-1", "1e9", "nan"):
        assert door.create(X_Request_Timeout=odd).error["code"] == "BAD_REQUEST"


def test_priority_is_bounded_by_the_caller(door: Door) -> None:
    door.create("?priority=0")
    door.create("?priority=0", X_Hasty="yes")
    door.create("?priority=7")
    assert [call.priority for call in door.house.calls] == [2, 0, 7]


def test_a_stranger_is_refused_before_his_body_is_read(door: Door) -> None:
    reply = door.create(photo=b"x" * 100, Authorization="Bearer wrong")
    assert (reply.status, reply.error["code"]) == (401, "UNAUTHENTICATED")
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="facewright"'
    for path in ("/v1/pipelines", "/v1/metrics"):
        assert door.ask("GET", path, headers={"Authorization": "Bearer wrong"}).status == 401
    assert door.ask("GET", "/v1/health/live", headers={"Authorization": "Bearer wrong"}).status == 200


def test_who_calls_is_asked_with_every_line_of_a_header() -> None:
    """A proxy may add a line of its own behind one that a stranger invented."""
    seen: list[str] = []

    def authenticate(headers: Mapping[str, str], peer: str) -> Caller:
        seen.append(headers["x-forwarded-for"])
        return Caller(peer)

    with open_door(RestSettings(authenticate=authenticate)) as door:
        lines = b"X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 192.0.2.1\r\n"
        door.raw(b"GET /v1/pipelines HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + lines + b"\r\n")
    assert seen == ["198.51.100.1, 192.0.2.1"]


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("model/*;q=0.1", 200),
        ("text/html, */*;q=0.8", 200),
        ("image/png", 406),
        ("*/*;q=0", 406),
    ],
)
def test_accept(door: Door, accept: str, status: int) -> None:
    reply = door.create(Accept=accept)
    assert reply.status == status
    assert status == 406 or reply.headers["Content-Type"] == "model/gltf-binary"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "application/json"}, 415),
        ({"Content_Type": "multipart/mixed; boundary=a"}, 415),
        ({"Content_Type": "application/problem+json"}, 415),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Content_Type": "multipart/form-data"}, 400),
        ({"Content_Type": "multipart/form-data; boundary=edge"}, 400),
    ],
)
def test_what_is_no_photo_is_refused(door: Door, headers: dict[str, str], status: int) -> None:
    reply = door.create(photo=b"{}", **headers)
    assert (reply.status, reply.error["code"]) == (status, "BAD_REQUEST")
    assert not door.house.calls


def _files(*files: tuple[str, bytes], **fields: str) -> tuple[bytes, str]:
    """A form with files of any name."""
    parts = b"".join(
        b'--edge\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n%s\r\n'
        % (name.encode(), content)
        for name, content in files
    )
    for name, value in fields.items():
        parts += f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    return parts + b"--edge--\r\n", "multipart/form-data; boundary=edge"


def test_what_triton_is_asked_for_beside_is_not_in_the_answer(door: Door) -> None:
    reply = door.create(Accept="application/json")
    assert len(door.house.requests[0].outputs) > 2
    assert json.loads(reply.body)["tensors"] == {}


def test_photos_of_one_person_become_one_avatar(door: Door) -> None:
    body, kind = _files(("photo", b"one"), ("photo", b"two"), together="true", lods="1", delight="0.25")
    reply = door.create("?code=true", body, Content_Type=kind, Accept="application/json")
    assert reply.status == 200
    answer = json.loads(reply.body)
    assert base64.b64decode(answer["glb"]) == GLB
    assert base64.b64decode(answer["code"]) == CODE * 2
    *photos, merge = door.house.requests
    assert sorted(request.raw_input_contents[0] for request in photos) == [b"one", b"two"]
    assert [[output.name for output in request.outputs] for request in photos] == [["CODE"]] * 2
    assert (merge.model_name, merge.raw_input_contents[0]) == ("merge_avatars", CODE * 2)
    assert (merge.parameters["lods"].int64_param, "delight" in merge.parameters) == (1, False)
    assert door.create("?together=true").body == GLB


def test_the_photo_that_fails_is_named(door: Door) -> None:
    door.house.failures.append(FacewrightError(ErrorCode.NO_FACE, "no face", "another photo", "find_face"))
    body, kind = _files(("photo", b"one"), ("photo", b"two"), together="true")
    reply = door.create(photo=body, Content_Type=kind)
    assert (reply.status, reply.error["code"]) == (422, "NO_FACE")
    assert reply.error["message"] in ("photo 1: no face", "photo 2: no face")


def test_codes_are_merged_as_a_body_and_as_a_form(door: Door) -> None:
    assert door.create("?pipeline=merge_avatars", CODE * 2).body == GLB
    body, kind = _files(("code", CODE), ("code", CODE), pipeline="merge_avatars")
    assert door.create(photo=body, Content_Type=kind).body == GLB
    for request in door.house.requests:
        assert (request.inputs[0].name, request.raw_input_contents[0]) == ("CODES", CODE * 2)


@pytest.mark.parametrize(
    ("files", "fields", "told"),
    [
        (("code",), {}, "avatar_twin takes no file 'code'"),
        (("photo",), {"pipeline": "merge_avatars"}, "merge_avatars takes no file 'photo'"),
        (("photo", "code"), {}, "photos and codes"),
        (("photo",), {"pipeline": "merge_avatars", "together": "true"}, "gives no codes"),
    ],
)
def test_files_that_are_not_taken(
    door: Door, files: tuple[str, ...], fields: dict[str, str], told: str
) -> None:
    body, kind = _files(*((name, b"x") for name in files), **fields)
    reply = door.create(photo=body, Content_Type=kind)
    assert (reply.status, told in reply.error["message"]) == (400, True)
    assert door.house.calls == []


def test_a_code_needs_a_form_with_room_for_it(door: Door) -> None:
    assert door.create("?code=true").status == 406
    reply = door.create("?code=true", Accept="multipart/mixed")
    assert _parts(reply)["avatar.code"] == ("application/octet-stream", CODE)
    assert json.loads(door.create("?code=true", Accept="application/json").body)["code"]


def test_a_code_alone(door: Door) -> None:
    door.house.stages = ("find_face", "write_code")
    reply = door.create("?code=true&avatar=false", Accept="application/json")
    assert {name: base64.b64decode(text) for name, text in json.loads(reply.body).items()} == {"code": CODE}
    told = door.create("?code=true&avatar=false", Accept="text/event-stream").body.decode()
    assert [line for line in told.split("\n") if line.startswith("event")] == [
        *("event: began", "event: began", "event: code"),
    ]
    for request in door.house.requests:  # nothing else is computed
        assert [output.name for output in request.outputs] == ["CODE"]


@pytest.mark.parametrize(
    "query", ["avatar=false", "avatar=false&code=true&preview=true", "avatar=false&code=true&together=true"]
)
def test_a_code_is_alone_or_not(door: Door, query: str) -> None:
    reply = door.create(f"?{query}", Accept="application/json")
    assert (reply.status, reply.error["code"]) == (400, "BAD_OPTION")
    assert "avatar=false" in reply.error["message"]
    assert not door.house.calls


def test_codes_alone_come_one_at_a_time(door: Door) -> None:
    body, kind = _files(("photo", b"a"), ("photo", b"b"), code="true", avatar="false")
    reply = door.ask("POST", "/v1/avatars", body, {"Content-Type": kind, "Accept": "application/json"})
    assert (reply.status, reply.error["message"]) == (400, "2 photos with avatar=false")


def test_an_event_of_failure_is_what_the_answer_would_be(door: Door) -> None:
    failure = FacewrightError(ErrorCode.DEADLINE_EXCEEDED, "late", "allow more", retry_after_s=0.5)
    door.house.failures += [failure, failure.afresh()]
    direct = door.create().error
    door.house.stages = ("find_face",)
    told = door.create(Accept="text/event-stream").body.decode()
    assert json.loads(told.split("event: error\ndata: ")[1]) == direct
