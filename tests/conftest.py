"""Fixtures that several test folders share, and how tests are shared out among workers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

# OpenBLAS reads this once, at import: sums are in one order, however many cores there are.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

from facewright.core.assets import asset_path, open_assets_folder
from facewright.head.head_model import HeadModel
from facewright.refine.network_files import refinement_files
from tests.support.gpu import prepare_gpu

# Tests ask servers on this machine, whatever proxy it has for others.
for _name in ("no_proxy", "NO_PROXY"):
    os.environ[_name] = ",".join(filter(None, (os.environ.get(_name), "127.0.0.1", "localhost")))

#: Files whose tests start Triton: all in one worker, so that they share a server and do not slow each other.
_STARTING_SERVERS = ("tests/server/", "tests/contract/test_scripts.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With workers (``-n``): the tests of a file stay in one, which makes their fixtures once."""
    from xdist.scheduler import LoadFileScheduling

    class ServersInOneWorker(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "servers" if nodeid.startswith(_STARTING_SERVERS) else super()._split_scope(nodeid)

    return ServersInOneWorker(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why tests were skipped: a line for each reason, where ``-rs`` has one for each place."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count}: {reason}")


@pytest.fixture(scope="session")
def open_head() -> HeadModel:
    """The open head as `make test` builds it."""
    return HeadModel.load(asset_path("head.npz"))


@pytest.fixture(scope="session", autouse=True)
def open_refinement_networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Refinement takes the open networks that set-up makes, whether or not an identity network was built."""
    folder = tmp_path_factory.mktemp("refinement")
    for name, path in refinement_files(open_assets_folder()).items():
        if "identity" not in name:
            (folder / path.name).symlink_to(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEWRIGHT_REFINEMENT_NETWORKS", str(folder))
        yield


@pytest.fixture(scope="session", autouse=True)
def gpu_before_cupy_is_imported(request: pytest.FixtureRequest) -> None:
    """Where tests for a GPU are among those that run."""
    if any(item.get_closest_marker("gpu") for item in request.session.items):
        prepare_gpu()
