"""Forty photos that are small files and take seconds to read, from one caller; another asks for avatars."""

from __future__ import annotations

import asyncio
import http.client
import struct
import time
import zlib
from typing import Any, Final

from benchmarks.chaos.asking import PHOTO, Asker, avatar_request, codes
from benchmarks.chaos.row import Effort, Finding
from benchmarks.serving.served_process import ServedProcess, served

#: 59 megapixels, just within what a photo may have.
SIDE: Final = 7700
_TRIES: Final = 50
#: Of loopback, too: for the server it is another caller than 127.0.0.1.
_SOMEBODY_ELSE: Final = "127.0.0.2"


def slow_photo(side: int = SIDE, interlaced: bool = False) -> bytes:
    """A black PNG of side × side RGB pixels; a thousandth of that in size. Interlaced ones take longer."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, int(interlaced))
    # Interlaced rows are cut into seven passes, each with a filter's byte of its own (RFC 2083, section 2.6).
    size = side * (3 * side + 1) + (interlaced * 8 * side)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(min(2**20, size - at))) for at in range(0, size, 2**20))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", pixels + packer.flush()),
            _chunk(b"IEND", b""),
        )
    )


def slow_photos(effort: Effort) -> Finding:
    """What becomes of them, and of the other caller."""
    count = effort.pick(40, 6)
    photos = [avatar_request(slow_photo(interlaced=interlaced)) for interlaced in (False, True)]
    with served() as server:

        async def attack() -> tuple[list[Any], list[dict[str, Any]]]:
            over = asyncio.Event()
            async with Asker(server.url) as asker:
                await asker.ask(avatar_request())
                other = asyncio.create_task(asyncio.to_thread(_other_caller, server, over.is_set))
                flood = await asyncio.gather(*(asker.ask(photos[n % 2]) for n in range(count)))
                over.set()
                return flood, await other

        flood, others = asyncio.run(attack())
        restarts = server.restarts()
    refused = sum(row["status"] == 503 for row in others)
    served_others = [row["seconds"] for row in others if row["status"] == 200]
    figures = {
        "slow_photos": count,
        "kilobytes_each": [len(photo) // 1000 for photo in photos],
        "outcomes": codes(flood),
        "slowest_s": round(max(outcome.took_s for outcome in flood), 1),
        "others_answered": len(served_others),
        "others_refused": refused,
        "others_failed": len(others) - refused - len(served_others),
        "others_slowest_s": max(served_others, default=None),
        "restarts": restarts,
    }
    said = (
        f"restarts {restarts}; {figures['outcomes']} in {figures['slowest_s']} s; of the other caller's "
        f"{len(others)} requests {len(served_others)} answered (the slowest {figures['others_slowest_s']} s),"
        f" {refused} refused, {figures['others_failed']} failed"
    )
    met = restarts == 0 and figures["others_failed"] == 0 and bool(served_others)
    return Finding(said, met, figures)


def _other_caller(server: ServedProcess, over: Any) -> list[dict[str, Any]]:
    """Asks for one avatar after the other over REST, until the flood is over and the last was answered."""
    rows: list[dict[str, Any]] = []
    while not over() or (len(rows) < _TRIES and (not rows or rows[-1]["status"] != 200)):
        began = time.monotonic()
        connection = http.client.HTTPConnection(
            "127.0.0.1", server.rest_port, timeout=180, source_address=(_SOMEBODY_ELSE, 0)
        )
        connection.request("POST", "/v1/avatars", PHOTO)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        rows.append({"status": answer.status, "seconds": round(time.monotonic() - began, 2)})
        if answer.status != 200:
            time.sleep(float(answer.getheader("Retry-After", "1")))
    return rows


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
