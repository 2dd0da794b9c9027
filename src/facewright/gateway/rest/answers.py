"""An avatar as an HTTP answer: the file itself, JSON, or several parts."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from google.protobuf.message import DecodeError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from tritonclient.grpc import service_pb2

from facewright.core.errors import FacewrightError
from facewright.gateway.rest.errors import JSON, RequestError, wire_form
from facewright.gateway.rest.multipart import mixed
from facewright_client import contract
from facewright_client.contract import ErrorCode

GLB: Final = "model/gltf-binary"
MIXED: Final = "multipart/mixed"
#: The report's warnings, a list of strings (RFC 8941).
WARNINGS_HEADER: Final = "Facewright-Warnings"
_LONGEST_HEADER: Final = 4096
_FILES: Final = {
    contract.GLB: (".glb", GLB),
    contract.REPORT: (".json", JSON),
    contract.PREVIEW: (".png", "image/png"),
    contract.CODE: (".code", "application/octet-stream"),
}


def outputs_of(serialised: bytes) -> tuple[dict[str, bytes], dict[str, tuple[int, ...]]]:
    """Contents and shapes, the batch dimension left out, of a ``ModelInferResponse`` by name.

    Raises:
        DecodeError, ValueError: it is none.
    """
    answer = service_pb2.ModelInferResponse.FromString(serialised)
    names = [tensor.name for tensor in answer.outputs]
    contents = dict(zip(names, answer.raw_output_contents, strict=True))
    return contents, {tensor.name: tuple(tensor.shape[1:]) for tensor in answer.outputs}


def no_answer(what: str) -> FacewrightError:
    """A pipeline answered with something else than its own."""
    return FacewrightError(
        ErrorCode.INTERNAL, f"what the pipeline answered is no {what}", "tell whoever runs the server"
    )


@dataclass(frozen=True)
class Avatar:
    """What a pipeline answered.

    Attributes:
        contents: of each tensor its bytes, by name.
        shapes: of each, the batch dimension left out.
        report: its JSON, read.
    """

    contents: Mapping[str, bytes]
    shapes: Mapping[str, tuple[int, ...]]
    report: Mapping[str, Any]

    @classmethod
    def of(cls, serialised: bytes, wanted: Collection[str] | None = None) -> Avatar:
        """From a ``ModelInferResponse``, of which those outputs count that are ``wanted``; None: all.

        Raises:
            FacewrightError: INTERNAL: it is no avatar.
        """
        try:
            contents, shapes = outputs_of(serialised)
            contents = {n: content for n, content in contents.items() if wanted is None or n in wanted}
            if contract.GLB.name not in contents:
                raise ValueError("it has no GLB")
            return cls(contents, shapes, dict(json.loads(contents[contract.REPORT.name])))
        except (DecodeError, ValueError, TypeError, LookupError) as error:
            raise no_answer("avatar") from error

    @property
    def glb(self) -> bytes:
        """The file."""
        return self.contents[contract.GLB.name]

    def headers(self) -> dict[str, str]:
        """The report's warnings, and its times by stage (``Server-Timing``, W3C)."""
        spent: dict[str, float] = {}
        for step, milliseconds in self.report.get("milliseconds", {}).items():
            stage = step.partition(".")[0]
            if step != "package_avatar.since_accepted":
                spent[stage] = spent.get(stage, 0.0) + milliseconds
        warnings = self.report.get("warnings", ())
        headers = {
            "Server-Timing": ", ".join(f"{stage};dur={spent[stage]:.1f}" for stage in spent),
            WARNINGS_HEADER: ", ".join(map(_structured_string, warnings))[:_LONGEST_HEADER],
        }
        return {name: value for name, value in headers.items() if value}

    event: ClassVar[str] = "avatar"
    forms: ClassVar[tuple[str, ...]] = (GLB, JSON, MIXED)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(len, self.contents.values()))

    def response(self, form: str) -> Response:
        """The file itself; JSON; or ``avatar.glb``, ``avatar.json``, ``avatar.png`` and ``avatar.code``."""
        if form == JSON:
            return PiecesResponse(self.json_line(), JSON, self.headers())
        if form == MIXED:
            return _mixed_response(self.parts("avatar"), self.headers())
        headers = {**self.headers(), "Content-Disposition": 'inline; filename="avatar.glb"'}
        return PiecesResponse((self.glb,), GLB, headers)

    def json_line(self) -> list[bytes]:
        """The answer as one line of JSON, in pieces. For a thread of its own: megabytes take milliseconds."""
        return list(self._json_pieces())

    def _json_pieces(self) -> Iterator[bytes]:
        yield f'{{"report":{json.dumps(self.report)},"glb":"'.encode()
        yield base64.b64encode(self.glb)
        yield b'"'
        for tensor in (contract.PREVIEW, contract.CODE):
            if tensor.name in self.contents:
                content = base64.b64encode(self.contents[tensor.name])
                yield f',"{tensor.name.lower()}":"'.encode() + content + b'"'
        files = {tensor.name for tensor in _FILES}
        yield b',"tensors":'
        yield from tensors_json({n: c for n, c in self.contents.items() if n not in files}, self.shapes)
        yield b"}"

    def parts(self, stem: str) -> Iterator[tuple[str, str, bytes]]:
        """Its files: of each the name, the media type and the content."""
        for tensor, (suffix, media_type) in _FILES.items():
            if tensor.name in self.contents:
                yield stem + suffix, media_type, self.contents[tensor.name]


@dataclass(frozen=True)
class Code:
    """The code of a photo, without an avatar.

    Attributes:
        content: see docs/avatar_code.md.
    """

    content: bytes

    event: ClassVar[str] = "code"
    forms: ClassVar[tuple[str, ...]] = (JSON,)

    @classmethod
    def of(cls, serialised: bytes) -> Code:
        """From a ``ModelInferResponse``.

        Raises:
            FacewrightError: INTERNAL: it has none.
        """
        try:
            return cls(outputs_of(serialised)[0][contract.CODE.name])
        except (DecodeError, ValueError, LookupError) as error:
            raise no_answer("code") from error

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content)

    def response(self, form: str) -> Response:
        """JSON."""
        return PiecesResponse(self.json_line(), form)

    def json_line(self) -> list[bytes]:
        """``{"code": …}``, in base64."""
        return [b'{"code":"', base64.b64encode(self.content), b'"}']


@dataclass(frozen=True)
class Avatars:
    """Of several photos, in order, what became of each.

    Attributes:
        outcomes: avatars, or why there is none.
    """

    outcomes: Sequence[Avatar | FacewrightError]

    event: ClassVar[str] = "avatars"
    forms: ClassVar[tuple[str, ...]] = (GLB, MIXED, JSON)  # who takes anything means one file, and is refused

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(outcome.size for outcome in self.outcomes if isinstance(outcome, Avatar))

    def response(self, form: str) -> Response:
        """JSON; or ``0.glb``, ``0.json`` and ``0.png``, or ``0.error.json``, and so on.

        Raises:
            RequestError: 406: the form is of one avatar.
        """
        if form not in (JSON, MIXED):
            raise no_room_for(len(self.outcomes), form)
        return PiecesResponse(self.json_line(), JSON) if form == JSON else _mixed_response(self._parts())

    def json_line(self) -> list[bytes]:
        """``{"avatars": […]}``: of each its avatar, or ``{"error": …}``."""
        pieces = [b'{"avatars":[']
        for number, outcome in enumerate(self.outcomes):
            pieces.append(b"," * (number > 0))
            if isinstance(outcome, Avatar):
                pieces += outcome.json_line()
            else:
                pieces.append(b'{"error":' + wire_form(outcome) + b"}")
        return [*pieces, b"]}"]

    def _parts(self) -> Iterator[tuple[str, str, bytes]]:
        for number, outcome in enumerate(self.outcomes):
            if isinstance(outcome, Avatar):
                yield from outcome.parts(str(number))
            else:
                yield f"{number}.error.json", JSON, wire_form(outcome)


def no_room_for(avatars: int, form: str) -> RequestError:
    """The refusal of several avatars in a form of one: no viewer opens ``both.glb`` that has many parts."""
    return RequestError(
        406, f"{form} has no room for {avatars} avatars", f"send Accept: {JSON} or {MIXED} for an avatar each"
    )


def tensors_json(contents: Mapping[str, bytes], shapes: Mapping[str, tuple[int, ...]]) -> Iterator[bytes]:
    """Float tensors as a JSON object of ``{"shape": …, "data": …}`` by name, in pieces."""
    yield b"{"
    for number, (name, content) in enumerate(contents.items()):
        yield f'{"," * (number > 0)}"{name}":{{"shape":{json.dumps(shapes[name])},"data":['.encode()
        # Nine digits name a float32; written one by one, so that the event loop gets its turns.
        yield ",".join([f"{value:.9g}" for value in np.frombuffer(content, "<f4").tolist()]).encode()
        yield b"]}"
    yield b"}"


class PiecesResponse(Response):
    """A body in pieces, which are sent as they are: a file of megabytes is not copied to stand among them."""

    def __init__(
        self, pieces: Iterable[bytes], media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self._pieces = list(pieces)
        length = {"Content-Length": str(sum(map(len, self._pieces)))}
        super().__init__(None, 200, {**(headers or {}), **length}, media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _mixed_response(
    parts: Iterable[tuple[str, str, bytes]], headers: Mapping[str, str] | None = None
) -> Response:
    boundary = f"facewright-{secrets.token_hex(16)}"
    return PiecesResponse(mixed(list(parts), boundary), f"{MIXED}; boundary={boundary}", headers)


def _structured_string(text: str) -> str:
    """A string as RFC 8941 writes it: printable ASCII, ``"`` and ``\\`` escaped."""
    printable = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
