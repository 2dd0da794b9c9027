"""What the REST door says about itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from facewright.core.options import Option
from facewright.gateway.call import Caller
from facewright.gateway.origins import OwnPagesOnly, page_rules
from facewright.gateway.rest import RestSettings, rest_application
from facewright.gateway.rest.errors import RequestError, error_response
from facewright.gateway.rest.limits import RestLimits
from facewright.gateway.rest.openapi import openapi
from facewright.gateway.statuses import STATUS
from facewright.pipelines.refinement import REFINEMENT
from facewright.pipelines.registry import pipelines
from facewright.pipelines.stages import Pipeline
from facewright.pipelines.twin import AVATAR_TWIN
from tests.gateway.rest_door import Door, open_door
from tests.support.scripted_house import ScriptedHouse, refinement_start


class _Readiness:
    ready = True

    def __call__(self) -> bool:
        return self.ready


READINESS = _Readiness()


async def _metrics() -> bytes:
    return b"facewright_up 1\n"


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    settings = RestSettings(
        ready=READINESS,
        metrics=_metrics,
        middleware=[
            Middleware(OwnPagesOnly, page_rules("127.0.0.1", guarded=False, origins=["https://game.example"]))
        ],
    )
    with open_door(settings) as opened:
        yield opened


def test_health(door: Door) -> None:
    assert door.ask("GET", "/v1/health/live").status == 200
    assert door.ask("GET", "/v1/health/ready").status == 200
    READINESS.ready = False
    try:
        assert door.ask("GET", "/v1/health/ready").status == 503
        assert door.ask("GET", "/v1/health/live").status == 200
    finally:
        READINESS.ready = True


def test_version_and_metrics(door: Door) -> None:
    assert json.loads(door.ask("GET", "/v1/version").body)["api"] == "v1"
    metrics = door.ask("GET", "/v1/metrics")
    assert metrics.body == b"facewright_up 1\n"
    assert metrics.headers["Content-Type"] == "text/plain; version=0.0.4"


def test_metrics_are_for_keys_that_say_so() -> None:
    def authenticate(headers: Mapping[str, str], _peer: str) -> Caller:
        return Caller("ann", reads_metrics=headers.get("authorization") == "Bearer prometheus")

    with open_door(RestSettings(authenticate=authenticate, metrics=_metrics)) as door:
        refused = door.ask("GET", "/v1/metrics")
        assert (refused.status, refused.error["code"]) == (403, "BAD_REQUEST")
        assert "metrics = true" in refused.error["hint"]
        assert door.works()
        assert door.ask("GET", "/v1/metrics", headers={"Authorization": "Bearer prometheus"}).status == 200


def test_pipelines_have_their_options_with_ranges(door: Door) -> None:
    rows = {row["name"]: row for row in json.loads(door.ask("GET", "/v1/pipelines").body)["pipelines"]}
    assert rows.keys() == pipelines().keys()
    # Light is an input of its own, which gRPC has.
    assert [name for name, row in rows.items() if not row["rest"]] == ["relight_avatar"]
    twin = rows["avatar_twin"]
    assert twin["takes"] == [{"name": "PHOTO", "datatype": "UINT8", "shape": [-1], "optional": False}]
    options = {option["name"]: option for option in twin["options"]}
    assert options.keys() == AVATAR_TWIN.options.keys()
    assert options["texture_size"]["enum"] == [512, 1024, 2048, 4096]
    lods = options["lods"]
    assert (lods["type"], lods["default"], lods["minimum"], lods["maximum"]) == ("integer", 0, 0, 2)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _references(inner)


def test_openapi_describes_every_route_option_and_status(door: Door) -> None:
    document = json.loads(door.ask("GET", "/v1/openapi.json").body)
    assert document["openapi"].startswith("3.1.")
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len({operation["operationId"] for _, _, operation in operations}) == len(operations)
    job = door.create(Idempotency_Key="k").headers["Content-Location"].split("/")[3]
    operations.sort(key=lambda row: row[1] == "delete")
    for path, method, operation in operations:
        there = path.replace("{id}", job)
        body = {"/v1/avatars": b"p", "/v1/refinements": refinement_start()}.get(path)
        answer = door.ask(method.upper(), there, body)
        assert answer.status == (204 if method == "delete" else 200)
        assert all(re.fullmatch("[1-5][0-9]{2}|default", status) for status in operation["responses"])
        assert all(response["description"] for response in operation["responses"].values())
    for reference in _references(document):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    create = document["paths"]["/v1/avatars"]["post"]
    form = create["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    query = {row["name"]: row["schema"] for row in create["parameters"] if row["in"] == "query"}
    for name, option in AVATAR_TWIN.options.items():
        assert query[name] == form[name]
        assert query[name]["default"] == option.default
    assert query["pipeline"]["enum"] == [
        "avatar_twin",
        "avatar_normalized",
        "avatar_rerenderable",
        "merge_avatars",
        "interpolate_avatars",
    ]
    assert {str(status.http) for status in STATUS.values()} <= create["responses"].keys()


def test_options_that_differ_between_pipelines_are_told_apart() -> None:
    options = {**AVATAR_TWIN.options, "lods": Option(int, 1, 0, 5), "mood": Option(str, "calm")}
    other = Pipeline("avatar_other", AVATAR_TWIN.steps, options)
    document = openapi({"avatar_twin": AVATAR_TWIN, "avatar_other": other}, {}, RestLimits(), "1.2.3")
    create = document["paths"]["/v1/avatars"]["post"]
    query = {row["name"]: row["schema"] for row in create["parameters"] if row["in"] == "query"}
    assert [variant["title"] for variant in query["lods"]["anyOf"]] == ["avatar_twin", "avatar_other"]
    assert query["mood"]["description"].endswith("(avatar_other)")
    assert query["pipeline"]["enum"] == ["avatar_twin", "avatar_other"]


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]


def test_the_page_needs_nothing_from_elsewhere(door: Door) -> None:
    reply = door.ask("GET", "/v1/docs")
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = reply.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    elements = _Elements()
    elements.feed(reply.body.decode())
    assert elements.addresses == ["openapi.json"]
    assert not elements.tags & {"script", "img", "iframe", "link", "form"}
    for name in AVATAR_TWIN.options:
        assert f"<td>{name}</td>" in reply.body.decode()


def test_a_wrong_path_or_method_is_said_in_the_one_form(door: Door) -> None:
    assert door.ask("GET", "/v1/nothing").error["code"] == "BAD_REQUEST"
    assert door.ask("GET", "/v1/nothing").status == 404
    assert door.ask("GET", "/v1/avatars/").status == 404
    reply = door.ask("DELETE", "/v1/avatars", b"body")
    assert (reply.status, reply.headers["Allow"], reply.error["hint"]) == (405, "POST", "use POST")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2"),
        ("GET", "/v2/health/ready"),
        ("POST", "/v2/models/avatar_twin/infer"),
        ("POST", "/v1/models/avatar_twin:predict"),
    ],
)
def test_kserve_over_http_is_told_where_it_is_served(method: str, path: str) -> None:
    """Triton's HTTP client shows the member "error" of a failure, and nothing else."""
    with open_door(RestSettings(grpc_port=18001)) as door:
        reply = door.ask(method, path, b"photo" if method == "POST" else None)
    members = json.loads(reply.body)
    told = members.pop("error")
    assert (reply.status, members["code"]) == (404, "BAD_REQUEST")
    assert told == f"{members['message']}; {members['hint']}"
    for words in ("gRPC only", "port 18001", "POST", "/v1/avatars"):
        assert words in told


def test_browsers_may_call_from_the_pages_that_were_named(door: Door) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    good = door.ask("OPTIONS", "/v1/avatars", headers={"Origin": "https://game.example", **asked})
    assert good.headers["Access-Control-Allow-Origin"] == "https://game.example"
    answer = door.create(Origin="https://game.example")
    # Of answers without credentials that is every header (WHATWG Fetch, 3.3.3), X-Request-Id too.
    assert answer.headers["Access-Control-Expose-Headers"] == "*"
    bad = door.ask("OPTIONS", "/v1/avatars", headers={"Origin": "https://evil.example", **asked})
    assert bad.headers["Access-Control-Allow-Origin"] is None
    assert door.create("?lods=9", Origin="https://game.example").headers["Access-Control-Allow-Origin"]


def test_checks_of_others_stand_before_the_routes() -> None:
    class OnlyLocal:
        def __init__(self, application: ASGIApp) -> None:
            self.application = application

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            ours = Headers(scope=scope).get("host", "").startswith("127.0.0.1")
            refused = error_response(RequestError(400, "another host", "use 127.0.0.1"))
            await (self.application if ours else refused)(scope, receive, send)

    with open_door(RestSettings(middleware=[Middleware(OnlyLocal)])) as door:
        assert door.works()
        refused = door.create(Host="evil.example")
        assert (refused.status, refused.error["message"]) == (400, "another host")
        assert refused.headers["X-Request-Id"]


def test_a_server_without_avatars_says_so() -> None:
    with open_door(served={row.name: row for row in REFINEMENT}) as door:
        assert door.ask("GET", "/v1/health/ready").status == 200
        assert door.ask("GET", "/v1/openapi.json").status == 200
        for query in ("", "?pipeline=avatar_twin"):
            assert (door.create(query).status, door.create(query).error["code"]) == (404, "BAD_REQUEST")


def test_an_option_may_not_be_called_as_the_doors_own_are() -> None:
    row = Pipeline("avatar_other", AVATAR_TWIN.steps, {**AVATAR_TWIN.options, "preview": Option(bool, True)})
    with pytest.raises(ValueError, match="avatar_other has an option preview"):
        rest_application(ScriptedHouse(), {row.name: row})
