"""A process group ends with the process that holds its lifeline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from facewright.server.lifeline import Lifeline

#: A group of two, deaf to whatever can be ignored. Its output ends when both have.
_DEAF = "trap '' HUP INT TERM IO; sleep 100 & echo $$; wait"

#: Starts that group in a thread that ends, then waits to be killed.
_SUPERVISOR = """
import subprocess, sys, threading
from facewright.server.lifeline import Lifeline
lifeline = Lifeline()
start = threading.Thread(target=subprocess.Popen, args=(["bash", "-c", sys.argv[1]],), kwargs=dict(
    start_new_session=True, pass_fds=(lifeline.tied_end,), preexec_fn=lifeline.tie_group))
start.start()
start.join()
sys.stdin.read()
"""


def test_a_killed_process_takes_the_group_along() -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", _SUPERVISOR, _DEAF], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert supervisor.stdout
    group = int(supervisor.stdout.readline())
    os.killpg(group, 0)
    supervisor.kill()
    # The end of the output: no process of the group has it any more.
    supervisor.communicate(timeout=20)


def test_cutting_kills_the_group_and_nobody_else() -> None:
    lifeline = Lifeline()
    group = subprocess.Popen(
        ["bash", "-c", _DEAF],
        stdout=subprocess.PIPE,
        start_new_session=True,
        pass_fds=(lifeline.tied_end,),
        preexec_fn=lifeline.tie_group,
    )
    bystander = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert group.stdout
    group.stdout.readline()
    lifeline.cut()
    group.communicate(timeout=20)
    assert group.returncode == -signal.SIGKILL
    bystander.communicate()
    assert bystander.returncode == 0
