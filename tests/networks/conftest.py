"""What every test of a network shares."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Torch on one thread: on a busy machine its threads wait for each other, and two are slower than one."""
    torch.set_num_threads(1)
