"""Bars and spinners on standard error while a command works."""

from __future__ import annotations

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def progress_on_log(console: Console, *columns: ProgressColumn, disable: bool = False) -> Progress:
    """rich's bar on a console that writes to `messages.LOG`.

    rich does not take the place of standard error meanwhile, as it would by default: what it writes goes
    there through LOG, and would come back to it for ever.
    """
    return Progress(*columns, console=console, disable=disable, redirect_stdout=False, redirect_stderr=False)
