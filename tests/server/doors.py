"""How tests knock at a running server: at its REST door, and behind it at Triton, where no stranger comes."""

from __future__ import annotations

import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any, Final

from benchmarks.inner_stages import triton_target
from facewright.server import Server

_PATIENCE_S: Final = 60.0


@dataclass(frozen=True)
class Answer:
    """What came over HTTP.

    Attributes:
        status: the status code.
        headers: names in any case.
        body: all of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def over_rest(
    server: Server, path: str, body: bytes | None = None, method: str | None = None, **headers: str
) -> Answer:
    """Ask the REST door; what it refuses is an answer, too."""
    certificate = server.settings.tls_certificate
    origin = f"{'https://localhost' if certificate else 'http://127.0.0.1'}:{server.settings.http_port}"
    request = urllib.request.Request(f"{origin}{path}", body, headers, method=method)
    tls = ssl.create_default_context(cafile=certificate) if certificate else None
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_S, context=tls) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return Answer(refusal.code, refusal.headers, refusal.read())


def metrics(server: Server) -> str:
    """Prometheus' text, as a scrape sees it."""
    return over_rest(server, "/v1/metrics").body.decode()


def metric(server: Server, name: str, stage: str, label: str = "") -> float:
    """A stage's figure; ``label``: what must be among its labels."""
    for line in metrics(server).splitlines():
        found = re.fullmatch(rf"{name}\{{(.*)\}} (\S+)", line)
        if found and f'stage="{stage}"' in found[1] and label in found[1]:
            return float(found[2])
    raise AssertionError(f"the server exports no {name} of {stage} {label}")


@contextmanager
def events(server: Server, path: str, photo: bytes) -> Iterator[Iterator[tuple[str, Any]]]:
    """Server-sent events as they come, name and data; leaving hangs up, whatever is still to come."""
    connection = HTTPConnection("127.0.0.1", server.settings.http_port, timeout=_PATIENCE_S)
    connection.request("POST", path, photo, {"Accept": "text/event-stream"})
    with closing(connection), connection.getresponse() as answer:
        assert answer.status == 200, answer.read()
        yield _events(answer)


def _events(answer: HTTPResponse) -> Iterator[tuple[str, Any]]:
    name = ""
    while line := answer.readline():
        field, _, value = line.decode().strip().partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def behind(server: Server) -> str:
    """The gRPC target of the Triton behind a server's doors: in a folder of this user alone."""
    return triton_target(server.pid)
