"""What a row of the table of attacks is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True)
class Effort:
    """How hard to try.

    Args:
        full: the sizes of the table; else small ones, which show only that the row works.
    """

    full: bool

    def pick(self, full: _T, quick: _T) -> _T:
        """Of two sizes, that of this effort."""
        return full if self.full else quick


@dataclass(frozen=True)
class Finding:
    """What a row measured.

    Attributes:
        said: the figures in words, for the table.
        met: whether what is to be reached was.
        figures: for the result file.
    """

    said: str
    met: bool
    figures: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One attack.

    Attributes:
        title: what is done to the server.
        before: what came of it before there was a gateway.
        reach: what is to come of it.
        measure: does it.
    """

    title: str
    before: str
    reach: str
    measure: Callable[[Effort], Finding]
