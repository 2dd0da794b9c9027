"""``Accept``, by RFC 9110, section 12.5.1."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from facewright.gateway.rest.accept import preferred

_OFFERED = ("model/gltf-binary", "application/json", "multipart/mixed")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "model/gltf-binary"),
        (" , ", "model/gltf-binary"),
        ("*/*", "model/gltf-binary"),
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("application/*;q=0.5, multipart/*", "multipart/mixed"),
        ("*/*, model/gltf-binary;q=0", "application/json"),
        ("model/*;q=0.2, application/json;q=0.201", "application/json"),
        ("text/html", None),
        ("*/*;q=0", None),
        ("application/json;q=2", None),
        ("application/json;q=", None),
        ("json", None),
    ],
)
def test_the_best_liked_form_is_chosen(accept: str, chosen: str | None) -> None:
    assert preferred(accept, _OFFERED) == chosen


@settings(deadline=None)
@given(some.text(max_size=60))
def test_any_header_is_understood_or_refused(accept: str) -> None:
    assert preferred(accept, _OFFERED) in (*_OFFERED, None)
