"""What a check of the doctor found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One check's outcome.

    Args:
        subject: what was looked at.
        problem: what is wrong; "" when nothing is.
        mend: the command that mends it.
        warning: whether everything works all the same, as long as little is asked for.
    """

    subject: str
    problem: str = ""
    mend: str = ""
    warning: bool = False
