"""Fixtures that several test folders share."""

from __future__ import annotations

import pytest

from facewright.head_model import HeadModel
from facewright.open_assets_location import asset_path


@pytest.fixture(scope="session")
def open_head() -> HeadModel:
    """The open head as `make test` builds it."""
    return HeadModel.load(asset_path("head.npz"))
