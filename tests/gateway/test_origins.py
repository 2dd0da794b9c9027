"""Which web pages may call a server, by the headers that browsers send."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from facewright.core.errors import FacewrightError
from facewright.gateway.origins import OwnPagesOnly, PageRules, page_rules

KEYLESS = page_rules("127.0.0.1", guarded=False)
GUARDED = page_rules("0.0.0.0", guarded=True)
GAME = "https://play.example"
CROSS_SITE = {"sec-fetch-site": "cross-site"}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


async def _app(scope: Scope, _receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    elif scope["type"] == "lifespan":
        await send({"type": "lifespan.startup.complete"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"hi"})


def _sent(rules: PageRules, scope: Scope) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("a body was read of a request that is refused by its head")

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(OwnPagesOnly(_app, rules)(scope, receive, send))
    return sent


def ask(
    rules: PageRules,
    headers: dict[str, str] | Iterable[tuple[str, str]],
    method: str = "POST",
    scheme: str = "http",
) -> Answer:
    """Send a request without a body."""
    pairs = headers.items() if isinstance(headers, dict) else headers
    scope = {
        "type": "http",
        "method": method,
        "scheme": scheme,
        "path": "/v1/avatars",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs],
    }
    start, *rest = _sent(rules, scope)
    shown = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], shown, b"".join(message["body"] for message in rest))


OWN_HOSTS = ["localhost:8000", "127.0.0.1", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:8000", "localhost.:80"]
OTHER_HOSTS = [
    "attacker.example",
    "attacker.example:8000",
    "localhost.attacker.example",
    "0.0.0.0:8000",
    "localhost:8000@attacker.example",
    "127.0.0.1:x",
    "",
]


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_a_keyless_server_answers_to_its_own_names(host: str) -> None:
    assert ask(KEYLESS, {"host": host}).status == 200


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_a_page_whose_name_was_made_to_point_here_is_misdirected(host: str) -> None:
    """DNS rebinding: to the browser the page and the server are one origin."""
    headers = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    answer = ask(KEYLESS, headers)
    assert answer.status == 421
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["connection"] == "close"
    error = json.loads(answer.body)
    assert error.keys() == {"code", "stage", "message", "hint"}
    assert error["code"] == "BAD_REQUEST"
    assert "--allow-host" in error["hint"]


def test_a_request_has_one_host() -> None:
    assert ask(KEYLESS, {}).status == 421
    assert ask(KEYLESS, [("host", "localhost"), ("host", "localhost")]).status == 421


def test_hosts_are_checked_where_nothing_else_is_or_where_it_is_asked_for() -> None:
    """Behind a proxy a server goes by names that it does not know; it is guarded by keys, or meant for
    all.
    """
    proxied = {"host": "avatars.example"}
    assert ask(GUARDED, proxied).status == 200
    named = page_rules("0.0.0.0", guarded=True, hosts=["Avatars.example"])
    assert ask(named, proxied).status == 200
    assert ask(named, {"host": "localhost:8000"}).status == 200, "for probes"
    assert ask(named, {"host": "attacker.example"}).status == 421
    assert ask(KEYLESS, proxied).status == 421
    assert ask(page_rules("127.0.0.1", guarded=False, hosts=["avatars.example"]), proxied).status == 200


def test_a_keyless_server_answers_to_the_address_that_it_listens_on() -> None:
    for listens_on, host in (("127.0.0.9", "127.0.0.9:8000"), ("::1", "[::1]:8000"), ("[::1]", "[::1]")):
        assert ask(page_rules(listens_on, guarded=False), {"host": host}).status == 200
        assert ask(page_rules(listens_on, guarded=False), {"host": "127.0.0.8"}).status == 421


def test_a_request_without_a_host_is_told_so() -> None:
    """HTTP/1.0 asks for none."""
    answer = ask(KEYLESS, {})
    assert (answer.status, json.loads(answer.body)["message"]) == (421, "there is no Host header, or several")


@pytest.mark.parametrize(
    ("host", "origin", "scheme"),
    [
        ("localhost:8000", "http://localhost:8000", "http"),
        ("LocalHost:8000", "http://localhost:8000", "http"),
        ("localhost", "http://localhost", "http"),
        ("localhost", "http://localhost:80", "http"),
        ("[::1]:8000", "http://[::1]:8000", "http"),
        ("localhost:8000", "https://localhost:8000", "https"),
        ("localhost:443", "https://localhost", "http"),  # TLS ended at a proxy
    ],
)
def test_our_own_pages_may_call(host: str, origin: str, scheme: str) -> None:
    assert ask(KEYLESS, {"host": host, "origin": origin}, scheme=scheme).status == 200


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("rules", [KEYLESS, GUARDED], ids=["keyless", "guarded"])
@pytest.mark.parametrize(
    ("origin", "scheme"),
    [
        ("https://attacker.example", "http"),
        ("http://localhost:3000", "http"),  # another program's page on this machine
        ("http://localhost:8000.attacker.example", "http"),
        ("http://localhost:8000@attacker.example", "http"),
        ("http://attacker.example/localhost:8000", "http"),
        ("http://localhost:8000", "https"),  # anybody on the way may have written that page
        ("file://localhost:8000", "http"),
        ("null", "http"),
        ("", "http"),
    ],
)
def test_other_pages_may_not_call(origin: str, scheme: str, rules: PageRules, method: str) -> None:
    answer = ask(rules, {"host": "localhost:8000", "origin": origin}, method, scheme)
    assert answer.status == 403
    assert json.loads(answer.body)["code"] == "BAD_REQUEST"
    assert "access-control-allow-origin" not in answer.headers


def test_a_request_has_one_origin() -> None:
    twice = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://localhost")]
    assert ask(KEYLESS, twice).status == 403


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything-new"])
def test_what_browsers_say_of_another_site_is_enough(site: str, method: str) -> None:
    """An image's address, a script's, a form: requests without an Origin, or with one that a proxy makes
    ours.
    """
    headers = {"host": "localhost:8000", "sec-fetch-site": site}
    assert ask(KEYLESS, {**headers, "sec-fetch-mode": "no-cors"}, method).status == 403
    assert ask(KEYLESS, {**headers, "origin": "http://localhost:8000"}, method).status == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_what_browsers_say_of_our_own_pages_is_enough(site: str) -> None:
    assert ask(KEYLESS, {"host": "localhost:8000", "sec-fetch-site": site}).status == 200


def test_our_own_page_may_call_through_a_proxy_that_changes_the_host() -> None:
    headers = {"host": "10.0.0.7:8000", "origin": "https://avatars.example"}
    assert ask(GUARDED, {**headers, "sec-fetch-site": "same-origin"}).status == 200
    assert ask(GUARDED, headers).status == 403


def test_a_link_from_another_site_may_be_followed() -> None:
    followed = {"host": "localhost:8000", **CROSS_SITE, "sec-fetch-mode": "navigate"}
    page = {**followed, "sec-fetch-dest": "document"}
    assert ask(KEYLESS, page, "GET").status == 200
    assert ask(KEYLESS, page, "POST").status == 403, "a form"
    assert ask(KEYLESS, {**page, "origin": "null"}, "GET").status == 403
    assert ask(KEYLESS, {**followed, "sec-fetch-dest": "iframe"}, "GET").status == 403


def test_programs_that_are_no_browsers_say_nothing_and_may_call() -> None:
    for rules in (KEYLESS, GUARDED):
        assert ask(rules, {"host": "localhost:8000", "user-agent": "curl/8"}).body == b"hi"


def test_pages_that_are_allowed_call_and_read_the_answers() -> None:
    rules = page_rules("127.0.0.1", guarded=False, origins=["https://Play.example"])
    headers = {"host": "localhost:8000", "origin": GAME, **CROSS_SITE}
    answer = ask(rules, headers)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == GAME
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers
    asked = {
        **headers,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
        "access-control-request-private-network": "true",
    }
    preflight = ask(rules, asked, "OPTIONS")
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == GAME
    assert preflight.headers["access-control-allow-headers"] == "authorization,content-type"
    assert preflight.headers["access-control-allow-private-network"] == "true"
    assert ask(rules, {**headers, "origin": "https://play.example.attacker.example"}).status == 403
    assert ask(rules, {"host": "attacker.example", "origin": GAME}).status == 421, "rebound all the same"
    assert ask(rules, {"host": "localhost:8000", **CROSS_SITE}).status == 403


def test_every_page_may_be_allowed() -> None:
    rules = page_rules("0.0.0.0", guarded=True, origins=["*"])
    for origin in (GAME, "null"):
        answer = ask(rules, {"host": "avatars.example", "origin": origin, **CROSS_SITE})
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")


@pytest.mark.parametrize(("origin", "kind"), [("http://localhost", "accept"), (GAME, "close")])
def test_websockets_are_no_way_round(origin: str, kind: str) -> None:
    headers = [(b"host", b"localhost"), (b"origin", origin.encode())]
    (message,) = _sent(KEYLESS, {"type": "websocket", "scheme": "ws", "path": "/", "headers": headers})
    assert message["type"] == f"websocket.{kind}"


def test_the_server_starts_and_stops() -> None:
    assert _sent(KEYLESS, {"type": "lifespan"}) == [{"type": "lifespan.startup.complete"}]


@pytest.mark.parametrize("host", ["http://a.example", "a.example:8000", "*", "", "a b", "a..b"])
def test_what_is_no_host_cannot_be_allowed(host: str) -> None:
    with pytest.raises(FacewrightError, match="--allow-host"):
        page_rules("127.0.0.1", guarded=False, hosts=[host])


@pytest.mark.parametrize(
    "origin", ["play.example", "https://play.example/", "null", "", "https://*.example/a"]
)
def test_what_is_no_origin_cannot_be_allowed(origin: str) -> None:
    with pytest.raises(FacewrightError, match="--allow-origin"):
        page_rules("127.0.0.1", guarded=False, origins=[origin])


def test_a_refused_body_is_not_taken_for_the_next_request() -> None:
    """Over a real socket: the connection ends with the refusal, whatever is still on its way."""
    smuggled = b"GET /v1/secret HTTP/1.1\r\nHost: localhost\r\n\r\n"

    async def answered() -> bytes:
        listening = socket.create_server(("127.0.0.1", 0))
        app: Any = OwnPagesOnly(_app, KEYLESS)
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, http="h11"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        head = b"POST / HTTP/1.1\r\nHost: attacker.example\r\nContent-Length: 1000000\r\n\r\n"
        writer.write(head + smuggled)
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        server.should_exit = True
        await serving
        return answer

    answer = asyncio.run(answered())
    assert answer.startswith(b"HTTP/1.1 421 ")
    assert answer.count(b"HTTP/1.1") == 1


class _Reached(grpc.GenericRpcHandler):
    """Notes which methods are called."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        self.methods.append(details.method)

        async def answer(request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
            return request

        return grpc.unary_unary_rpc_method_handler(answer)


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _call(path: str, *headers: tuple[str, str]) -> bytes:
    """One gRPC call with an empty message, from the first byte of a connection; headers are literals of HPACK
    (RFC 7541, 6.2.2).
    """
    pseudo = ((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"))
    texts = [text.encode() for pair in (*pseudo, *headers) for text in pair]
    fields = [bytes((len(text),)) + text for text in texts]
    block = b"".join(b"\x00" + name + value for name, value in zip(fields[::2], fields[1::2], strict=True))
    settings, head, message = _frame(4, 0, 0), _frame(1, 4, 1, block), _frame(0, 1, 1, bytes(5))
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + head + message


async def _first_answer(reader: asyncio.StreamReader) -> int:
    """The kind of the first frame that answers the call: 1 (HEADERS) or 3 (RST_STREAM)."""
    while True:
        head = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(head[:3], "big"))
        if head[3] in (1, 3):
            return head[3]


def test_what_a_page_can_send_reaches_no_grpc_method() -> None:
    """Why that door checks no origins: pages may not set ``te``, whatever content type they send."""
    content = ("content-type", "application/grpc")
    calls = {
        _call("/page/plain", ("content-type", "text/plain")): 3,
        _call("/page/grpc", content): 3,
        _call("/client/call", content, ("te", "trailers")): 1,
    }
    reached = _Reached()

    async def scene() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((reached,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        for call, answer in calls.items():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(call)
            assert await asyncio.wait_for(_first_answer(reader), 20) == answer
            writer.close()
            await writer.wait_closed()
        await server.stop(None)

    asyncio.run(scene())
    assert reached.methods == ["/client/call"]
