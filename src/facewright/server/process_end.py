"""The end of a child process, told at once: nobody has to look for it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress


def call_at_end(pid: int, ended: Callable[[], None]) -> None:
    """Call ``ended``, in a thread of its own, as soon as a child of this process has ended, however it did.

    It stays for whoever waits for it to learn its exit status. (``pidfd_open`` would tell the same; kernels
    before 5.3 and older containers' system call filters do without it.)
    """

    def wait() -> None:
        with suppress(ChildProcessError):  # somebody has waited for it before
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        ended()

    threading.Thread(target=wait, name="facewright-process-end", daemon=True).start()
