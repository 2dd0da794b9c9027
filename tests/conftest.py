"""Fixtures that several test folders share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright.refine.demo_networks import DEMO_NETWORKS
from tests.support.gpu import prepare_gpu


@pytest.fixture(scope="session")
def open_head() -> HeadModel:
    """The open head as `make test` builds it."""
    return HeadModel.load(asset_path("head.npz"))


@pytest.fixture(scope="session", autouse=True)
def networks_of_the_repository() -> Iterator[None]:
    """Refinement takes the committed networks, whatever else was built on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEWRIGHT_REFINEMENT_NETWORKS", str(DEMO_NETWORKS))
        yield


@pytest.fixture(scope="session", autouse=True)
def gpu_before_cupy_is_imported(request: pytest.FixtureRequest) -> None:
    """Where tests for a GPU are among those that run."""
    if any(item.get_closest_marker("gpu") for item in request.session.items):
        prepare_gpu()
