"""Options: what a pipeline's table allows is taken, everything else is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facewright.core.errors import FacewrightError
from facewright.core.options import options_with_defaults
from facewright.pipelines.registry import pipelines
from facewright.pipelines.twin import AVATAR_TWIN
from facewright_client.contract import ErrorCode

OPTIONS = AVATAR_TWIN.options


def test_defaults_pass_their_own_validation() -> None:
    for row in pipelines().values():
        defaults = {name: option.default for name, option in row.options.items()}
        assert (
            options_with_defaults(defaults, row.options) == options_with_defaults({}, row.options) == defaults
        )
        assert all(type(option.default) is option.kind for option in row.options.values())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("delight", "0.25", 0.25),
        ("delight", "1e-1", 0.1),
        ("texture_size", "512", 512),
        ("visemes", "False", False),
    ],
)
def test_numbers_and_booleans_travel_as_strings(name: str, text: str, value: object) -> None:
    parsed = options_with_defaults({name: text}, OPTIONS)[name]
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("texture_sise", 1024),
        ("", 1),
        ("texture_size", 1000),
        ("texture_size", 1024.0),
        ("texture_size", True),
        ("texture_size", "1024.5"),
        ("texture_size", "1_024"),
        ("texture_format", "gif"),
        ("texture_format", 3),
        ("delight", math.nan),
        ("delight", "nan"),
        ("delight", "inf"),
        ("delight", "1e999"),
        ("delight", -0.001),
        ("delight", 1.001),
        ("delight", True),
        ("delight", ""),
        ("delight", 10**400),
        ("visemes", 1),
        ("visemes", "yes"),
        ("lods", 3),
        ("lods", -1),
        ("face_index", -2),
        ("face_index", 2**70),
        ("focal_px", math.inf),
        ("deadline_ms", 600001),
    ],
)
def test_anything_else_is_a_bad_option(name: str, value: object) -> None:
    with pytest.raises(FacewrightError) as caught:
        options_with_defaults({name: value}, OPTIONS)  # type: ignore[dict-item]
    assert caught.value.code is ErrorCode.BAD_OPTION
    assert caught.value.hint
    if name:
        assert name in caught.value.message


def test_a_misspelt_name_gets_the_right_one_as_hint() -> None:
    with pytest.raises(FacewrightError) as caught:
        options_with_defaults({"texture_sise": 1024}, OPTIONS)
    assert "texture_size" in caught.value.hint


def test_a_long_value_is_not_echoed_whole() -> None:
    with pytest.raises(FacewrightError) as caught:
        options_with_defaults({"texture_format": "x" * 100_000}, OPTIONS)
    assert len(caught.value.message) < 200


@given(
    st.sampled_from([*OPTIONS, "unknown"]),
    st.one_of(st.text(max_size=12), st.integers(), st.floats(), st.booleans()),
)
def test_what_is_accepted_is_within_the_contract(name: str, value: object) -> None:
    try:
        options = options_with_defaults({name: value}, OPTIONS)  # type: ignore[dict-item]
    except FacewrightError as error:
        if error.code is not ErrorCode.BAD_OPTION:
            raise
        return
    option = OPTIONS[name]
    parsed = options[name]
    assert type(parsed) is option.kind
    assert not option.choices or parsed in option.choices
    if option.minimum is not None and option.maximum is not None:
        assert option.minimum <= float(parsed) <= option.maximum
