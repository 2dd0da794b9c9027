"""What the log and the caller are told of an error that no stage expects."""

from __future__ import annotations

import importlib
import sys

import pytest

from tests.support.triton_stub import triton_python_backend_utils


def test_the_log_says_that_it_withholds_an_errors_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which may quote what came from a photo; the frames and the kind of error are there."""
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", triton_python_backend_utils())
    monkeypatch.delitem(sys.modules, "facewright.adapter.failure", raising=False)
    failure_of = importlib.import_module("facewright.adapter.failure").failure_of
    monkeypatch.delitem(sys.modules, "facewright.adapter.failure")
    quoted = "Copyright: Ada Lovelace"
    try:
        raise KeyError(quoted)
    except KeyError as error:
        failure = failure_of(error, "find_face")
    shown = capsys.readouterr().out
    first, *frames = shown.splitlines()
    assert first.startswith("find_face: KeyError (its text is left out of the log")
    assert any("test_failure.py" in line for line in frames)
    assert "Lovelace" not in shown + failure.to_json()
