"""How far ``facewright create`` is, and what is told of it on standard error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from facewright.cli.live_bar import progress_on_log
from facewright.cli.messages import LOG, printable
from facewright.core.invocation import runnable
from facewright_client import Connection, FacewrightClientError, ServerUnavailableError

#: Seconds of silence after which it is told what is waited for, and after which it is told again.
_PATIENCE_S: Final = 1.0
_TOLD_AGAIN_S: Final = 30.0
#: Seconds between lines that say how far a batch is, off a terminal.
_TELL_EVERY_S: Final = 30.0
_OF_MANY: Final[tuple[ProgressColumn, ...]] = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeRemainingColumn(),
)
#: A bar of one photo would stand still; its stages are seen to go by.
_OF_ONE: Final[tuple[ProgressColumn, ...]] = (
    SpinnerColumn(),
    TimeElapsedColumn(),
    TextColumn("{task.fields[stage]}"),
)


class BatchProgress:
    """To be used on the event loop that the photos are made on.

    Args:
        photos: how many there are.
        url: the server that is asked.
        connection: how it is asked.

    Attributes:
        made, skipped, failed: photos so far.
        answered: whether the server has answered anything.
    """

    def __init__(self, photos: int, url: str, connection: Connection) -> None:
        self.made = self.skipped = self.failed = 0
        self.answered = False
        self._photos, self._url, self._connection = photos, url, connection
        self._console = Console(file=LOG, markup=False, emoji=False, highlight=False)
        self._waits: asyncio.TimerHandle | None = None
        self._patience_s = _PATIENCE_S
        self._waits_for: FacewrightClientError | None = None

    @property
    def many(self) -> bool:
        """Whether there are several photos, each of which is named where something is said of it."""
        return self._photos > 1

    def __str__(self) -> str:
        left = self._photos - self.made - self.skipped - self.failed
        not_tried = f", {left} not tried" if left else ""
        return f"{self.made} made, {self.skipped} already there, {self.failed} failed{not_tried}"

    def say(self, line: str) -> None:
        """Tell one line, above the bar."""
        self._console.print(printable(runnable(line)), soft_wrap=True)

    @contextmanager
    def shown(self) -> Iterator[tuple[Callable[[], None], Callable[[str], None] | None]]:
        """A bar on a terminal, and off it a line now and then.

        Gives what is to be called after each photo, and what is to be told the stages, where those are shown.
        """
        on_terminal = self._console.is_terminal
        lines = asyncio.create_task(self._tell_now_and_then()) if self.many and not on_terminal else None
        try:
            columns = _OF_MANY if self.many else _OF_ONE
            with progress_on_log(self._console, *columns, disable=not on_terminal) as bar:
                task = bar.add_task("avatars", total=self._photos, stage="")

                def tell(stage: str) -> None:
                    bar.update(task, stage=stage.replace("_", " "))

                yield lambda: bar.advance(task), tell if on_terminal and not self.many else None
        finally:
            self.stop_waiting()
            if lines is not None:
                lines.cancel()

    async def _tell_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_TELL_EVERY_S)
            self.say(f"{self.made + self.skipped + self.failed} of {self._photos} photos done")

    def waiting(self, error: FacewrightClientError) -> None:
        """A photo is to be sent again; what for is told when nothing has been heard for a while, and later
        for a longer while: a batch before a busy server has many such moments.
        """
        self._waits_for = error
        if self._waits is None:
            self._waits = asyncio.get_running_loop().call_later(self._patience_s, self._tell_waiting)

    def _tell_waiting(self) -> None:
        self._patience_s = _TOLD_AGAIN_S
        longest = self._connection.timeout_s
        if isinstance(self._waits_for, ServerUnavailableError):
            longest = self._connection.retries.unavailable_s or longest
        self.say(f"waiting up to {longest:g} s for the server at {self._url}: {self._waits_for}")

    def heard(self) -> None:
        """The server has answered."""
        self.answered = True
        self.stop_waiting()
        self._waits = None

    def stop_waiting(self) -> None:
        """What is waited for is not told any more."""
        if self._waits is not None:
            self._waits.cancel()
