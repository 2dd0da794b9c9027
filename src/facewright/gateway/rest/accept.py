"""Which of several forms a client wants its answer in: ``Accept``, RFC 9110, section 12.5.1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_WEIGHT: Final = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def preferred(accept: str, offered: Sequence[str]) -> str | None:
    """The media type, of those offered, that the header likes best; of two, the one offered first.

    Args:
        accept: the header's value; "" takes anything.
        offered: such as ``application/json``, in small letters.
    """
    ranges = [_range(part) for part in accept.lower().split(",") if part.strip()]
    if not ranges:
        return offered[0]
    weights = [_weight(ranges, kind) for kind in offered]
    best = max(weights)
    return offered[weights.index(best)] if best > 0 else None


def _range(part: str) -> tuple[str, float]:
    """A media range and its weight; a weight that is none is 0."""
    kind, *parameters = (piece.strip() for piece in part.split(";"))
    weight = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            value = value.strip()
            weight = float(value) if _WEIGHT.fullmatch(value) else 0.0
    return kind, weight


def _weight(ranges: Sequence[tuple[str, float]], kind: str) -> float:
    """Of the most specific range that covers a media type."""
    for wanted in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        weights = [weight for covered, weight in ranges if covered == wanted]
        if weights:
            return max(weights)
    return 0.0
