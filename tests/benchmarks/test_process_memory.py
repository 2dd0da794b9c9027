"""Memory of a process tree: children count, what they touch counts, and a dead root is an error."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.process_tree import descendants
from benchmarks.serving.process_memory import tree_memory

_CHILD_WITH_GRANDCHILD = """
import subprocess, sys, time
grandchild = "block = bytearray(64 * 10**6); print('ready', flush=True); import time; time.sleep(60)"
with subprocess.Popen([sys.executable, "-c", grandchild]):
    time.sleep(60)
"""


def test_a_grandchild_counts() -> None:
    child = subprocess.Popen([sys.executable, "-c", _CHILD_WITH_GRANDCHILD], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        family = descendants(child.pid)
        assert len(family) == 2
        memory = tree_memory(child.pid)
        assert memory.processes == 2
        assert memory.rss > 64
        assert 64 < memory.pss <= memory.rss
    finally:
        for pid in reversed(descendants(child.pid)):
            os.kill(pid, 9)
        child.wait()
        child.stdout.close()


def test_a_stopped_server_is_an_error() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(ProcessLookupError, match="did the server stop"):
        tree_memory(child.pid)
