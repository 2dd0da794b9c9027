"""How ``facewright serve`` runs and ends."""

from __future__ import annotations

import subprocess
import sys

#: Over a server that does nothing; at every line that handles a signal the next one comes.
_PROGRAM = """
import resource, signal, sys
from types import SimpleNamespace
from facewright.cli import serve_command

def again(frame, event, argument):
    if event == "line":
        signal.raise_signal(signal.SIGINT)
    return again

class Server:
    url, settings = "", SimpleNamespace(usable_cores=1)
    def __init__(self, settings):
        pass
    def launch(self):
        sys.settrace(again)
        signal.raise_signal(signal.SIGTERM)
        sys.settrace(None)
    def wait_ready(self, timeout_s):
        return False
    def wait_failed(self, timeout_s):
        pass
    def stop(self):
        print(resource.getrlimit(resource.RLIMIT_CORE))
    def hurry(self):
        pass

serve_command.Server = Server
sys.exit(serve_command.serve(None))
"""


def test_signals_that_follow_each_other_closely_stop_it() -> None:
    """As of `timeout`, which sends one to the program and one to its group, or of Ctrl-C twice."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "stopped"
    assert "(0, 0)" in done.stdout, "photos pass through it, and a core file would hold them"
