"""Several parts in one body: forms that come in (RFC 7578), and files that go out (RFC 2046, section 5.1).

A form is taken apart where it lies, in memory: the photos in it are views. Starlette's forms spool files to a
disk, where no photo may be, and hold the event loop up for most of a second for 32 MiB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from facewright.gateway.rest.errors import RequestError

_LARGEST_PART_HEAD: Final = 2048
_LONGEST_BOUNDARY: Final = 70  # RFC 2046
#: A parameter of a header: ``; name=value`` or ``; name="value"``.
_PARAMETER: Final = re.compile(r';[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^;"]*)')
_HINT: Final = "send what HTML forms and curl -F send (RFC 7578)"


class Part(NamedTuple):
    """One part of a form: the field's name, whether it is a file, and what it holds."""

    name: str
    is_file: bool
    content: memoryview


def boundary_of(content_type: str) -> bytes:
    """The boundary that a ``Content-Type`` names.

    Raises:
        RequestError: 400: it names none that RFC 2046 allows.
    """
    boundary = dict(_parameters(content_type)).get("boundary", "")
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii():
        raise RequestError(400, "the form has no boundary of 1 to 70 characters", _HINT)
    return boundary.encode()


def form_parts(body: bytes, boundary: bytes, most: int) -> list[Part]:
    """The parts of a form, in order.

    Args:
        body: the whole of it.
        boundary: see `boundary_of`.
        most: how many parts it may have.

    Raises:
        RequestError: 400: it is no form, is cut off, or has more parts.
    """
    view, delimiter = memoryview(body), b"\r\n--" + boundary
    parts: list[Part] = []
    first = delimiter[2:]
    at = len(first) if body.startswith(first) else _end_of(body, delimiter, 0, len(body))
    while not body.startswith(b"--", at):
        if len(parts) == most:
            raise RequestError(400, f"the form has more than {most} parts", "send fewer photos and options")
        line_end = body.find(b"\r\n", at, at + _LARGEST_PART_HEAD)
        if line_end < 0 or body[at:line_end].strip(b" \t"):
            raise RequestError(400, "something stands behind a boundary of the form", _HINT)
        # The search begins at that line's end, for a part may have no headers at all.
        start = _end_of(body, b"\r\n\r\n", line_end, line_end + _LARGEST_PART_HEAD)
        end = _end_of(body, delimiter, start - 2, len(body)) - len(delimiter)
        name, is_file = _described(body[line_end + 2 : start - 2])
        parts.append(Part(name, is_file, view[start : max(start, end)]))
        at = end + len(delimiter)
    return parts


def mixed(parts: Sequence[tuple[str, str, bytes]], boundary: str) -> Iterator[bytes]:
    """The pieces of a ``multipart/mixed`` body.

    Args:
        parts: of each the file's name, its media type and its content.
        boundary: one that no part contains.
    """
    for name, media_type, content in parts:
        yield (
            f"--{boundary}\r\nContent-Type: {media_type}\r\n"
            f'Content-Disposition: attachment; filename="{name}"\r\n'
            f"Content-Length: {len(content)}\r\n\r\n"
        ).encode()
        yield content
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _end_of(body: bytes, mark: bytes, start: int, end: int) -> int:
    """Where the next mark ends."""
    at = body.find(mark, start, end)
    if at < 0:
        raise RequestError(400, "the form is cut off, or is none", _HINT)
    return at + len(mark)


def _described(head: bytes) -> tuple[str, bool]:
    """The name that a part's headers give it, and whether they call it a file."""
    try:
        lines = head.decode().split("\r\n")
    except UnicodeDecodeError:
        raise RequestError(400, "a part of the form has headers that are not UTF-8", _HINT) from None
    headers = {name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    if headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
        raise RequestError(400, "a part of the form is encoded", "send photos as they are (RFC 7578, 4.7)")
    disposition = headers.get("content-disposition", "")
    parameters = dict(_parameters(disposition))
    if not disposition.lower().startswith("form-data") or not parameters.get("name"):
        raise RequestError(400, "a part of the form has no name", _HINT)
    return parameters["name"], "filename" in parameters


def _parameters(value: str) -> Iterator[tuple[str, str]]:
    """The parameters of a header's value, by names in small letters."""
    for match in _PARAMETER.finditer(value):
        name, text = match.group(1).lower(), match.group(2)
        quoted = text.startswith('"')
        yield name, re.sub(r"\\(.)", r"\1", text[1:-1]) if quoted else text.strip()
