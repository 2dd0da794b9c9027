"""What each caller has used, for the metrics page and for whoever writes bills."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Final

from facewright.gateway.exposition import family


@dataclass
class Usage:
    """Totals of one caller since the server started. They only grow.

    Attributes:
        requests: for a pipeline, whatever came of them.
        refused: of those, that were not let in: its limits, or no room.
        failures: of those, that were let in and not answered with a result.
        photo_bytes: of encoded photos that it sent.
        inside_seconds: from being let in to the end, seconds.
    """

    requests: int = 0
    refused: int = 0
    failures: int = 0
    photo_bytes: int = 0
    inside_seconds: float = 0.0


_HELP: Final = {
    "requests": "Requests for a pipeline.",
    "refused": "Requests that were not let in.",
    "failures": "Requests that were let in and got no result.",
    "photo_bytes": "Bytes of encoded photos.",
    "inside_seconds": "Seconds from being let in to the end.",
}


def usage_text(usages: Mapping[str, Usage]) -> Iterator[str]:
    """Lines of Prometheus' text format (exposition format 0.0.4), each with its newline.

    Args:
        usages: by caller.
    """
    for field in fields(Usage):
        samples = [({"caller": name}, getattr(usage, field.name)) for name, usage in usages.items()]
        yield from family(f"facewright_caller_{field.name}_total", "counter", _HELP[field.name], samples)
