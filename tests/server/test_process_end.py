"""The end of a process is told at once, and its exit status is left to whoever waits for it."""

from __future__ import annotations

import signal
import subprocess
import threading

from facewright.server.process_end import call_at_end


def test_the_end_is_told_and_the_exit_status_is_still_there() -> None:
    ended = threading.Event()
    process = subprocess.Popen(["sleep", "100"])
    call_at_end(process.pid, ended.set)
    assert not ended.wait(0.1)
    process.kill()
    assert ended.wait(20)
    assert process.poll() == -signal.SIGKILL


def test_one_that_was_waited_for_before_is_told_too() -> None:
    ended = threading.Event()
    process = subprocess.Popen(["true"])
    process.wait()
    call_at_end(process.pid, ended.set)
    assert ended.wait(20)
