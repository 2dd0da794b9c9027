"""What the metrics page says of the door, and of the Triton behind it."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Iterator
from typing import Final

from facewright.gateway.admission import AdmissionFigures
from facewright.gateway.exposition import family

_PATIENCE_S: Final = 3.0
#: A machine's proxy settings are not for calls to itself.
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def house_text(ready: bool, replaced: int) -> Iterator[str]:
    """Lines about what answers calls.

    Args:
        ready: whether calls are taken.
        replaced: Tritons whose place another took, since the start.
    """
    yield from family("facewright_ready", "gauge", "Whether calls are taken.", [({}, float(ready))])
    yield from family(
        "facewright_tritons_replaced_total",
        "counter",
        "Tritons whose place another took: they died, did not move, or were loaded anew.",
        [({}, float(replaced))],
    )


def door_text(figures: AdmissionFigures, replayed: int) -> Iterator[str]:
    """Lines about admission.

    Args:
        figures: of the moment.
        replayed: calls that were sent again since the start.
    """
    by_pipeline = (
        ("inside", "Calls that are computed.", figures.inside),
        ("waiting", "Calls that wait to be let in.", figures.waiting),
        ("wait_seconds", "How long one more call might wait.", figures.wait_s),
        (
            "service_seconds",
            "One call's time inside, with all slots taken.",
            figures.service_s,
        ),
    )
    for name, description, values in by_pipeline:
        samples = [({"pipeline": pipeline}, float(value)) for pipeline, value in values.items()]
        yield from family(f"facewright_door_{name}", "gauge", description, samples)
    refused = [({"reason": str(reason)}, float(count)) for reason, count in figures.refused.items()]
    yield from family("facewright_door_refused_total", "counter", "Calls that were not let in.", refused)
    yield from family(
        "facewright_door_replayed_total",
        "counter",
        "Calls that were computed again, because what worked on them ended.",
        [({}, float(replayed))],
    )
    yield from family(
        "facewright_door_held_bytes", "gauge", "Of requests in the house.", [({}, float(figures.held_bytes))]
    )


async def triton_text(port: int | None) -> bytes:
    """Triton's own metrics, of its stages, too; nothing where none is there.

    Args:
        port: on this machine; None: no Triton.
    """
    if port is None:
        return b""

    def fetched() -> bytes:
        with _DIRECT.open(f"http://127.0.0.1:{port}/metrics", timeout=_PATIENCE_S) as answer:
            content: bytes = answer.read()
            return content

    try:
        return await asyncio.to_thread(fetched)
    except OSError:  # it is being replaced
        return b""
