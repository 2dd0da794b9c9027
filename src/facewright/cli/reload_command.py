"""``facewright reload``: another Triton takes over in a server that runs."""

from __future__ import annotations

import argparse
import os
import signal
import time
from typing import Any, Final

from facewright.cli import arguments
from facewright.cli.messages import complain, say
from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

_LOOK_EVERY_S: Final = 0.25


def add_reload(commands: Any) -> None:
    """The arguments of ``facewright reload``."""
    reload = commands.add_parser(
        "reload",
        help="load new weights in a server that runs",
        description="Let a second Triton load beside the one that serves, with the weights and "
        "configurations that are there now, and take over without a refused request. Where it does not come "
        "up, the one before serves on. The server is one of this user on this machine; SIGUSR1 asks it for "
        "the same.",
    )
    reload.add_argument("--pid", type=arguments.count, metavar="PID", help="which server, where several run")
    reload.set_defaults(run=_reload)


def _reload(parsed: argparse.Namespace) -> int:
    from facewright.server.running_servers import ServerStatus, running_servers

    def status(pid: int | None) -> ServerStatus:
        running = list(running_servers())
        named = ", ".join(f"{server.pid} ({server.url})" for server in running)
        found = [server for server in running if pid in (None, server.pid)]
        if not found:
            which = "" if pid is None else f" as process {pid}"
            raise FacewrightError(
                ErrorCode.UNAVAILABLE,
                f"no server of this user runs here{which}",
                f"name one that runs: {named}" if running else "facewright serve starts one",
            )
        if len(found) > 1:
            raise FacewrightError(
                ErrorCode.BAD_OPTION, f"{len(found)} servers run here: {named}", "name one by --pid"
            )
        return found[0]

    before = status(parsed.pid)
    os.kill(before.pid, signal.SIGUSR1)
    say(f"{before.url} loads a second Triton …")
    while True:
        time.sleep(_LOOK_EVERY_S)
        now = status(before.pid)
        if now.reloaded > before.reloaded:
            say("it has taken over")
            return 0
        if now.not_reloaded > before.not_reloaded:
            complain(now.why_not, "the one before serves on; the server's log says more")
            return 1
