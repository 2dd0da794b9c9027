"""A process group that cannot outlive the process that started it."""

from __future__ import annotations

import fcntl
import os
import signal
from typing import Final


class Lifeline:
    """A pipe: when its writing end closes, the kernel kills the process group tied to its reading end.

    This process has the only writing end, so the group ends with it, however it ends. Nothing in it has to
    run for this: what hangs is killed like the rest, and idle it costs nothing. PR_SET_PDEATHSIG reaches a
    single process, not those that it starts in turn, and takes the end of a thread for that of the parent.

    A fork of this process that keeps its descriptors open keeps the group alive, too.
    """

    def __init__(self) -> None:
        reading, writing = os.pipe()
        #: A descriptor for the group to inherit: it is tied while one of its processes has this.
        self.tied_end: Final = reading
        self._held_end: Final = writing

    def tie_group(self) -> None:
        """In the child, before it runs its program: tie the process group that it leads."""
        # No moment is missed: until the program runs, the child has the writing end, too, and closes it then.
        fcntl.fcntl(self.tied_end, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(self.tied_end, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(self.tied_end, fcntl.F_SETFL, os.O_ASYNC)

    def cut(self) -> None:
        """Kill what still lives of the group."""
        os.close(self._held_end)
        os.close(self.tied_end)
