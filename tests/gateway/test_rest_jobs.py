"""Jobs over REST: begun by ``Prefer`` or a key, asked for, followed and deleted; and refinements."""

from __future__ import annotations

import asyncio
import base64
import http.client
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from facewright.core.errors import FacewrightError
from facewright.gateway.call import Caller
from facewright.gateway.rest import RestSettings
from facewright_client.contract import REFINEMENT_INPUTS, ErrorCode
from tests.gateway.rest_door import PATIENCE_S, Door, Reply, open_door
from tests.support.scripted_house import GLB, refinement_start

_ASYNC = {"Prefer": "respond-async"}


def _authenticate(headers: Mapping[str, str], peer: str) -> Caller:
    return Caller(headers.get("authorization", peer))


@pytest.fixture
def door() -> Iterator[Door]:
    with open_door(RestSettings(authenticate=_authenticate)) as opened:
        opened.house.stages = ("find_face", "fit_head")
        yield opened


def _begin(door: Door, query: str = "", photo: bytes = b"photo", **headers: str) -> str:
    """A job's path."""
    reply = door.create(query, photo, Prefer="respond-async", **headers)
    assert (reply.status, reply.headers["Preference-Applied"]) == (202, "respond-async")
    assert json.loads(reply.body)["links"]["self"] == reply.headers["Location"]
    return str(reply.headers["Location"])


def _ended(door: Door, path: str) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(door.ask("GET", path, headers={"Prefer": "wait=60"}).body)
    return members


def _events(reply: Reply) -> list[tuple[str, Any]]:
    lines = [event.split("\n") for event in reply.body.decode().rstrip("\n").split("\n\n")]
    return [(event.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for event, data in lines]


def test_a_job_is_begun_asked_for_and_fetched_in_any_form(door: Door) -> None:
    door.house.held = True
    path = _begin(door, "?preview=true")
    assert json.loads(door.ask("GET", path).body)["state"] == "running"
    early = door.ask("GET", f"{path}/result")
    assert (early.status, early.error["code"]) == (409, "BAD_REQUEST")
    door.house.held = False
    assert _ended(door, path) == {
        "id": path.rpartition("/")[2],
        "state": "done",
        "stage": "fit_head",
        "links": {"self": path, "result": f"{path}/result"},
    }
    result = door.ask("GET", f"{path}/result")
    assert (result.status, result.body, result.headers["Content-Type"]) == (200, GLB, "model/gltf-binary")
    as_json = json.loads(door.ask("GET", f"{path}/result", headers={"Accept": "application/json"}).body)
    assert base64.b64decode(as_json["glb"]) == GLB
    assert "preview" in as_json
    assert door.ask("GET", f"{path}/result", headers={"Accept": "image/png"}).status == 406
    assert len(door.house.calls) == 1


def test_who_would_rather_wait_is_answered_directly_where_that_is_enough(door: Door) -> None:
    reply = door.create(Prefer="respond-async, wait=60")
    assert (reply.status, reply.body) == (200, GLB)
    assert door.ask("GET", reply.headers["Content-Location"]).status == 200


def test_a_job_that_failed_says_why_and_its_result_is_the_failure(door: Door) -> None:
    door.house.held = True
    path = _begin(door)
    door.house.failures.append(FacewrightError(ErrorCode.NO_FACE, "no face", "show one", "find_face"))
    door.house.held = False
    members = _ended(door, path)
    assert (members["state"], members["error"]["code"]) == ("failed", "NO_FACE")
    result = door.ask("GET", f"{path}/result")
    assert (result.status, result.error) == (422, members["error"])


def test_what_is_refused_at_once_is_no_job() -> None:
    settings = RestSettings()
    with open_door(settings) as door:
        door.house.failures.append(FacewrightError(ErrorCode.OVERLOADED, "full", "wait", retry_after_s=2.0))
        reply = door.create(Prefer="respond-async", Idempotency_Key="k")
        assert (reply.status, reply.error["code"], reply.headers["Retry-After"]) == (503, "OVERLOADED", "2")
        assert 'facewright_jobs{state="kept"} 0.0\n' in settings.jobs.metrics()
        assert door.create(Idempotency_Key="k").body == GLB


def test_a_job_belongs_to_its_caller(door: Door) -> None:
    path = _begin(door, Authorization="ann")
    for method, url in (("GET", path), ("GET", f"{path}/result"), ("DELETE", path)):
        assert door.ask(method, url, headers={"Authorization": "bob"}).status == 404
    assert door.ask("GET", path, headers={"Authorization": "ann"}).status == 200


def test_a_deleted_job_is_cancelled_and_gone(door: Door) -> None:
    door.house.held = True
    path = _begin(door)
    assert door.ask("DELETE", path).status == 204
    assert door.house.cancelled.wait(PATIENCE_S)
    for url in (path, f"{path}/result"):
        reply = door.ask("GET", url)
        assert (reply.status, reply.error["message"]) == (410, "the job was deleted")
    assert door.ask("GET", "/v1/jobs/nothing").status == 404


def test_events_of_a_job_are_those_of_a_direct_answer(door: Door) -> None:
    path = _begin(door)
    assert _ended(door, path)["state"] == "done"
    events = {"Accept": "text/event-stream"}
    of_job, direct = door.ask("GET", path, headers=events), door.create(Accept="text/event-stream")
    assert _events(of_job) == _events(direct)
    assert [name for name, _ in _events(of_job)] == ["began", "began", "avatar"]


@pytest.mark.parametrize("key", ["8e03978e-40d5-43dd-bc93-6894a57f9324", '"8e03978e"'])
def test_the_same_key_is_answered_once(door: Door, key: str) -> None:
    first, second = (door.create("?lods=1", Idempotency_Key=key) for _ in "12")
    assert (first.status, first.body) == (second.status, second.body) == (200, GLB)
    assert first.headers["Content-Location"] == second.headers["Content-Location"]
    assert len(door.house.calls) == 1
    for query, photo in (("?lods=1", b"another"), ("?lods=2", b"photo")):
        other = door.create(query, photo, Idempotency_Key=key)
        assert (other.status, other.error["code"]) == (422, "BAD_REQUEST")
    assert door.create("?lods=1", Idempotency_Key=key, Authorization="bob").status == 200
    assert len(door.house.calls) == 2


def test_a_key_is_joined_by_whoever_comes_back(door: Door) -> None:
    """Its first caller hangs up, and the answer is there for the second try."""
    door.house.held = True
    leaving = http.client.HTTPConnection("127.0.0.1", door.port)
    leaving.request("POST", "/v1/avatars", b"photo", {"Idempotency-Key": "k"})
    assert door.house.inside.wait(PATIENCE_S)
    leaving.close()
    job = door.create(Idempotency_Key="k", Prefer="respond-async")
    assert job.status == 202
    door.house.held = False
    assert door.create(Idempotency_Key="k").body == GLB
    assert len(door.house.calls) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, '"open', "käse"])
def test_what_is_no_key_is_refused(door: Door, key: str) -> None:
    assert door.create(Idempotency_Key=key).status == 400
    assert not door.house.calls


def test_several_photos_are_one_job(door: Door) -> None:
    part = b'--e\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n%s\r\n'
    body = part % b"one" + part % b"two" + b"--e--\r\n"
    path = _begin(door, "", body, Content_Type="multipart/form-data; boundary=e")
    assert _ended(door, path)["state"] == "done"
    result = door.ask("GET", f"{path}/result", headers={"Accept": "application/json"})
    assert len(json.loads(result.body)["avatars"]) == 2
    one_file = door.ask("GET", f"{path}/result", headers={"Accept": "*/*"})
    assert (one_file.status, one_file.error["message"]) == (
        406,
        "model/gltf-binary has no room for 2 avatars",
    )


def test_a_refinement_is_a_job_that_tells_its_iterations(door: Door) -> None:
    query = "?pipeline=refine_latent_progress&iterations=2"
    begun = door.ask("POST", f"/v1/refinements{query}", refinement_start(), _ASYNC)
    path = begun.headers["Location"]
    members = _ended(door, path)
    assert (members["state"], members["progress"]["iteration"]) == ("done", 2)
    result = door.ask("GET", f"{path}/result")
    assert result.headers["Content-Type"] == "application/zip"
    with np.load(io.BytesIO(result.body)) as refined:
        assert {name: refined[name].shape for name in refined} == {
            "w_plus": (14, 512),
            "head_to_camera": (3, 4),
            "sh_light": (9, 3),
            "losses": (2, 4),
        }
    as_json = json.loads(door.ask("GET", f"{path}/result", headers={"Accept": "application/json"}).body)
    assert as_json["info"]["ended"] == "iterations"
    assert as_json["tensors"]["REFINED_W_PLUS"]["shape"] == [14, 512]
    (request,) = door.house.requests
    assert request.parameters["iterations"].int64_param == 2
    assert [len(raw) for raw in request.raw_input_contents] == [
        int(np.prod(one.shape)) * (1 if one.dtype == "TYPE_UINT8" else 4) for one in REFINEMENT_INPUTS
    ]


def test_a_refinement_is_answered_directly_and_by_events(door: Door) -> None:
    direct = door.ask("POST", "/v1/refinements", refinement_start(), {"Accept": "application/json"})
    assert json.loads(direct.body)["info"]["iterations"] == 2
    path = "/v1/refinements?pipeline=refine_latent_progress"
    events = _events(door.ask("POST", path, refinement_start(), {"Accept": "text/event-stream"}))
    assert [name for name, _ in events] == ["progress", "progress", "began", "began", "refinement"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/refinements", b"no archive", 422),
        ("/v1/refinements?iterations=0", b"", 400),
        ("/v1/refinements?pipeline=avatar_twin", b"", 400),
    ],
)
def test_what_is_no_refinement_is_refused(door: Door, path: str, body: bytes, status: int) -> None:
    assert door.ask("POST", path, body).status == status
    assert not door.house.calls


def test_an_archive_of_thousands_is_not_opened(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO(refinement_start())
    with zipfile.ZipFile(file, "a") as archive:
        for number in range(101):
            archive.writestr(f"more{number}.npy", b"")
    monkeypatch.setattr(zipfile, "ZipFile", None)
    reply = door.ask("POST", "/v1/refinements", file.getvalue())
    assert (reply.status, reply.error["message"]) == (422, "the body has more than 100 arrays")


def test_a_door_that_closes_ends_its_jobs() -> None:
    settings = RestSettings()
    with open_door(settings) as door:
        door.house.held = True
        _begin(door)
        asyncio.run_coroutine_threadsafe(settings.jobs.close(), door.loop).result(PATIENCE_S)
        assert door.house.cancelled.is_set()
