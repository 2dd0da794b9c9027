"""Names of the entries of nested dicts and lists: each once, none without end."""

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facewright_export.checkpoints import (
    CheckpointError,
    LayoutError,
)
from facewright_export.checkpoints._reading import read_checkpoint
from facewright_export.checkpoints._torch_files import read_entries
from facewright_export.checkpoints.state_dict import import_state_dict

_NAMES = st.sampled_from(
    [
        "module",
        "state_dict",
        "model",
        "ema",
        "g",
        "weight",
        "bias",
        "0",
        "",
        ".",
        "a.weight",
        "x/y",
        "é",
        3,
        None,
        (1, 2),
    ]
)

_LEAVES = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=3),
    st.sampled_from(
        [torch.ones(2, 3), torch.ones(2).half(), torch.tensor(1), torch.zeros(0), argparse.Namespace(a=1)]
    ),
)

_CONTENT = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=_CONTENT, zipped=st.booleans())
def test_whatever_is_nested_in_whatever_is_read_or_refused(
    tmp_path: Path, content: Any, zipped: bool
) -> None:
    path = tmp_path / "x.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with suppress(CheckpointError):
        import_state_dict(torch.nn.Linear(3, 2), path)


def test_names_without_number_and_end_are_read_or_refused_at_once(tmp_path: Path) -> None:
    """The work grows with the names, not with their square, and stops at what no network is called."""
    weight = torch.ones(1)
    cases: list[Any] = [
        {f"part{i}.weight": weight for i in range(20_000)},
        {"module" + ".module" * 100_000 + ".weight": weight},
        {"weight": weight, "counts": list(range(500_000))},
        {"weight": weight, "config": {f"key{i}": i for i in range(100_000)}},
    ]
    deep: dict[str, Any] = {"weight": weight}
    for _ in range(5000):
        deep = {"model": deep}
    for content in (*cases, deep):
        try:
            torch.save(content, tmp_path / "x.pt")
        except RecursionError:
            continue
        with suppress(CheckpointError):
            import_state_dict(torch.nn.Linear(3, 2), tmp_path / "x.pt")


def test_keys_of_plain_values_and_flat_tuples_are_read(tmp_path: Path) -> None:
    weight = torch.ones(1)
    content = {3: weight, None: weight, b"b": weight, (1, "x"): weight, 0.5: weight, "a\nb\x1b": weight}
    torch.save({**content, torch.float16: weight}, tmp_path / "x.pt")
    names = ["3", "None", "b'b'", "(1, 'x')", "0.5", "a\\nb\\x1b", "torch.float16"]
    assert list(read_entries(tmp_path / "x.pt")) == names


_FIRST, _SECOND = torch.zeros(2), torch.ones(2)


@pytest.mark.parametrize(
    ("content", "first", "second"),
    [
        ({"module": {"a": _FIRST}, "module.a": _SECOND}, "module/a", "module.a"),
        ({"m": {"a": _FIRST}, "m.a": _SECOND}, "m/a", "m.a"),
        ({"module.a": _FIRST, "module": {"a": _SECOND}}, "module/a", "module.a"),
        ({1: _FIRST, "1": _SECOND}, "[1]", "['1']"),
        ({"a|b": _FIRST, "a/b": _SECOND}, "['a|b']", "['a/b']"),
        ({"x": {"a|b": {"c": _FIRST}, "a/b": {"c": _SECOND}}}, "['x']['a|b']['c']", "['x']['a/b']['c']"),
        ({None: _FIRST, "None": _SECOND.double()}, "[None]", "['None']"),
        ({"": {"a": _FIRST}, "a": _SECOND}, "['']['a']", "['a']"),
        ({"a": _FIRST, "": {"a": "text"}}, "['']['a']", "['a']"),
        ({"l": [_FIRST], "l.0": _SECOND}, "l/0", "l.0"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_two_tensors_of_one_name_are_refused_with_both_names(
    tmp_path: Path, content: dict[Any, Any], first: str, second: str
) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(LayoutError, match="which are one name, with other content") as caught:
        read_checkpoint(tmp_path / "x.pt")
    assert first in str(caught.value)
    assert second in str(caught.value)


def test_equal_tensors_of_one_name_are_one(tmp_path: Path) -> None:
    content = {"module": {"a": _SECOND}, "module.a": _SECOND.clone(), 1: _FIRST, "1": _FIRST.clone()}
    torch.save({**content, 2: "text", "2": "another"}, tmp_path / "x.pt")
    assert set(read_checkpoint(tmp_path / "x.pt").tensors) >= {"1"}
