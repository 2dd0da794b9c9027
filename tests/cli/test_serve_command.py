"""How ``facewright serve`` runs and ends, and which server ``facewright reload`` means."""

from __future__ import annotations

import subprocess
import sys

import pytest

from facewright.server.running_servers import ServerStatus
from tests.cli.conftest import Say

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


def test_reload_names_the_servers_that_run(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = [ServerStatus(pid, f"127.0.0.1:{pid}", ready=True) for pid in (41, 42)]
    monkeypatch.setattr("facewright.server.running_servers.running_servers", lambda: iter(servers))
    named = "41 (127.0.0.1:41), 42 (127.0.0.1:42)"
    none = "no server of this user runs here as process 7; mend: name one that runs: "
    assert say("reload --pid 7") == (1, f"error: {none}{named}\n")
    assert say("reload") == (2, f"error: 2 servers run here: {named}; mend: name one by --pid\n")
    del servers[:]
    assert say("reload --pid 7")[1].endswith("facewright serve starts one\n")
