"""Forms and files of several parts, as RFC 7578 and RFC 2046 have them."""

from __future__ import annotations

import email
import email.policy
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from facewright.gateway.rest.errors import RequestError
from facewright.gateway.rest.multipart import boundary_of, form_parts, mixed


def _form(*parts: tuple[bytes, bytes]) -> bytes:
    return b"".join(b"--b\r\n%s\r\n\r\n%s\r\n" % part for part in parts) + b"--b--"


@settings(deadline=None)
@given(some.lists(some.binary(max_size=60), max_size=4))
def test_any_bytes_come_through_a_form(contents: list[bytes]) -> None:
    parts = [(b"Content-Disposition: form-data; name=photo", content) for content in contents]
    found = form_parts(_form(*parts), b"b", 4)
    assert [bytes(part.content) for part in found] == contents


@settings(deadline=None)
@given(some.lists(some.binary(max_size=60), max_size=4))
def test_any_bytes_come_through_mixed_parts(contents: list[bytes]) -> None:
    body = b"".join(mixed([(f"{n}.bin", "image/png", c) for n, c in enumerate(contents)], "edge-of-the-test"))
    head = b"Content-Type: multipart/mixed; boundary=edge-of-the-test\r\n\r\n"
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    parts = list(message.iter_parts()) if contents else []  # type: ignore[attr-defined]
    assert [part.get_filename() for part in parts] == [f"{n}.bin" for n in range(len(contents))]
    assert [int(part["Content-Length"]) for part in parts] == [len(content) for content in contents]
    for content in contents:
        assert b"\r\n\r\n" + content + b"\r\n--edge" in body


@settings(deadline=None)
@given(some.binary(max_size=200))
def test_what_is_no_form_is_refused_or_read(body: bytes) -> None:
    for whole in (
        body,
        b"--b\r\n" + body,
        _form((b"Content-Disposition: form-data; name=a", body))[:-3] + body,
    ):
        with suppress(RequestError):  # and nothing else
            form_parts(whole, b"b", 4)


@pytest.mark.parametrize(
    ("head", "name", "is_file"),
    [
        (b'Content-Disposition: form-data; name="photo"; filename="a; name=b.jpg"', "photo", True),
        (b'content-disposition:form-data;filename="C:\\\\me.jpg";name=photo', "photo", True),
        (b'Content-Type: text/plain\r\nContent-Disposition: form-data; name="lo\\"ds"', 'lo"ds', False),
        ('Content-Disposition: form-data; name=photo; filename="née.jpg"'.encode(), "photo", True),
    ],
)
def test_names_of_parts(head: bytes, name: str, is_file: bool) -> None:
    (part,) = form_parts(_form((head, b"x")), b"b", 4)
    assert (part.name, part.is_file) == (name, is_file)


@pytest.mark.parametrize(
    "body",
    [
        _form((b"Content-Disposition: attachment; name=a", b"")),
        _form((b"Content-Disposition: form-data", b"")),
        _form((b"Content-Type: image/png", b"")),
        _form((b"Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64", b"eA==")),
        _form((b"Content-Disposition: form-data; name=\xff", b"")),
        _form((b"Content-Disposition: form-data; name=a\r\n" + b"X: y\r\n" * 1000, b"")),
        b"--b\r\n\r\nno headers\r\n--b--",
        b"--bother\r\n\r\n--b--",
    ],
)
def test_broken_forms_are_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as refused:
        form_parts(body, b"b", 4)
    assert refused.value.status == 400


def test_what_stands_before_and_behind_a_form_does_not_count() -> None:
    form = b"before\r\n" + _form((b"Content-Disposition: form-data; name=a", b"x")) + b"\r\nbehind"
    assert [part.name for part in form_parts(form, b"b", 1)] == ["a"]
    with pytest.raises(RequestError, match="more than 0 parts"):
        form_parts(form, b"b", 0)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('multipart/form-data; charset=utf-8; Boundary="a;b c"', b"a;b c"),
    ],
)
def test_boundaries(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "a/b; boundary=", "a/b; boundary=" + "x" * 71]
)
def test_boundaries_that_are_none(content_type: str) -> None:
    with pytest.raises(RequestError):
        boundary_of(content_type)
