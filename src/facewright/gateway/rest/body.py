"""The body of a request for avatars: a photo, codes, or a form with them and options; read within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from starlette.requests import ClientDisconnect, Request

from facewright.core.errors import FacewrightError
from facewright.gateway.rest.errors import RequestError
from facewright.gateway.rest.limits import RestLimits
from facewright.gateway.rest.memory import Share
from facewright.gateway.rest.multipart import boundary_of, form_parts
from facewright_client.contract import PHOTO_FORMATS, ErrorCode

#: The form's field that is a photo, and the one that is a code.
PHOTO_FIELD: Final = "photo"
CODE_FIELD: Final = "code"
_FORM: Final = "multipart/form-data"


class Body(NamedTuple):
    """What a request brought: files, each in pieces, and the form's other fields.

    Photos are a file each, a form's codes one file together; ``named`` has the form's name of them.
    """

    files: tuple[Sequence[bytes | memoryview], ...]
    fields: Sequence[tuple[str, str]]
    named: str = ""


async def read_body(request: Request, limits: RestLimits, share: Share) -> Body:
    """Read a request's body: a form where ``Content-Type`` says so, else it is the photo itself.

    ``curl --data-binary`` calls a photo ``application/x-www-form-urlencoded``, so that is no form.

    Args:
        request: whose body was not read.
        limits: see there.
        share: what the body takes of the door's memory.

    Raises:
        RequestError: 400, 408, 415.
        FacewrightError: OVERLOADED; PHOTO_TOO_LARGE: nothing was read where ``Content-Length`` said so.
        ClientDisconnect: it will not come any more.
    """
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    _check_kind(media_type, request.headers)
    if media_type != _FORM:
        return Body((await _pieces(request, limits, limits.photo_bytes, share),), ())
    boundary = boundary_of(content_type)
    pieces = await _pieces(request, limits, limits.photo_bytes + limits.form_bytes, share)
    return await asyncio.to_thread(_form, pieces, boundary, limits)


async def read_file(request: Request, limits: RestLimits, share: Share) -> list[bytes]:
    """Read a body that is one file, in pieces; arguments and errors as of `read_body`."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    _check_kind(media_type, request.headers)
    if media_type == _FORM:
        raise RequestError(415, "the body is a form", "send the file itself: curl --data-binary @start.npz")
    return await _pieces(request, limits, limits.photo_bytes, share)


def _check_kind(media_type: str, headers: Mapping[str, str]) -> None:
    """Refuse what is no photo by its own words, and what could be two bodies (RFC 9112, section 6.1)."""
    hint = f"send the photo itself ({PHOTO_FORMATS}) or {_FORM} with a file {PHOTO_FIELD!r}"
    structured = media_type == "application/json" or media_type.endswith("+json")
    if structured or (media_type.startswith("multipart/") and media_type != _FORM):
        raise RequestError(415, f"the body is {media_type[:64]}, not a photo", hint)
    if headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise RequestError(
            415,
            "the body is compressed",
            "send the photo as it is: its format is compressed already",
            {"Accept-Encoding": "identity"},
        )
    if "content-length" in headers and "transfer-encoding" in headers:
        raise RequestError(400, "Content-Length and Transfer-Encoding contradict each other", "send one")


async def _pieces(request: Request, limits: RestLimits, most: int, share: Share) -> list[bytes]:
    """The body as it came in, in pieces."""
    length = request.headers.get("content-length")
    if length is not None and int(length) > most:
        raise _too_large(f"{length} bytes", limits)
    clock = asyncio.get_running_loop()
    until = clock.time() + limits.body_s
    received = 0
    pieces: list[bytes] = []
    while True:
        try:
            async with asyncio.timeout_at(until):
                message = await request.receive()
        except TimeoutError:
            raise RequestError(
                408,
                f"the body comes too slowly: {received} bytes are here",
                f"send {limits.least_bytes_per_s} bytes a second and more, or a smaller photo",
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        received += len(message["body"])
        if received > most:
            raise _too_large(f"more than {most} bytes", limits)
        share.take(len(message["body"]))
        pieces.append(message["body"])
        until = min(until + len(message["body"]) / limits.least_bytes_per_s, clock.time() + limits.body_s)
        if not message["more_body"]:
            return pieces


def _form(pieces: Sequence[bytes], boundary: bytes, limits: RestLimits) -> Body:
    """The photos and the other fields of a form."""
    body = b"".join(pieces)
    parts = form_parts(body, boundary, limits.photos + limits.parameters)
    photos = [part.content for part in parts if part.name == PHOTO_FIELD]
    # "code" is an option, too, where it is no file
    codes = [part.content for part in parts if part.name == CODE_FIELD and part.is_file]
    others = [
        part for part in parts if part.name != PHOTO_FIELD and not (part.name == CODE_FIELD and part.is_file)
    ]
    if not photos and not codes:
        raise RequestError(400, "the form has no photo", f"add a file called {PHOTO_FIELD!r}")
    if photos and codes:
        raise RequestError(400, "the form has photos and codes", "send one or the other")
    if len(photos) > limits.photos:
        raise RequestError(400, f"the form has {len(photos)} photos", f"send at most {limits.photos}")
    files = [part.name for part in others if part.is_file]
    if files:
        raise RequestError(
            400,
            f"the form has a file {files[0][:64]!r}",
            f"photos are called {PHOTO_FIELD!r}, codes {CODE_FIELD!r}",
        )
    if sum(map(len, photos + codes)) > limits.photo_bytes:
        raise _too_large(f"{sum(map(len, photos + codes))} bytes", limits)
    if sum(len(part.content) for part in others) > limits.form_bytes:
        raise RequestError(400, f"the form has more than {limits.form_bytes} bytes of options", "send fewer")
    try:
        fields = [(part.name, str(part.content, "utf-8")) for part in others]
    except UnicodeDecodeError:
        raise RequestError(400, "a field of the form is not UTF-8", "send options as text") from None
    if codes:
        return Body((codes,), fields, CODE_FIELD)
    return Body(tuple((photo,) for photo in photos), fields, PHOTO_FIELD)


def _too_large(size: str, limits: RestLimits) -> FacewrightError:
    return FacewrightError(
        ErrorCode.PHOTO_TOO_LARGE,
        f"the body has {size}; the limit is {limits.photo_bytes / 2**20:g} MiB",
        "scale the photo down: a face 1000 pixels wide is as much as the texture can use",
    )
