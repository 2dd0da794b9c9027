"""The ``facewright`` command."""

from __future__ import annotations

from collections.abc import Sequence

from facewright.cli.interrupts import leaving_at_once


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 1 failed, 2 wrong usage, 128 and the
    signal's number where one ended it (130: Ctrl-C)."""
    with leaving_at_once():
        from facewright.cli import command_line
    return command_line.main(arguments)
