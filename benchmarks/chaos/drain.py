"""SIGTERM while requests are in flight."""

from __future__ import annotations

import asyncio
import time

from benchmarks.chaos.asking import Asker, Outcome, avatar_request, codes
from benchmarks.chaos.row import Effort, Finding
from benchmarks.serving.served_process import served


def drain(effort: Effort) -> Finding:
    """Twenty-four requests are in the house, whose door lets wait that long, when it is asked to stop."""
    count = effort.pick(24, 8)
    with served(arguments=("--longest-wait", "120", "--drain", "120")) as server:

        async def stopped() -> tuple[list[Outcome], int, float]:
            async with Asker(server.url) as asker:
                await asker.ask(avatar_request())
                asked = [asyncio.create_task(asker.ask(avatar_request())) for _ in range(count)]
                await asyncio.sleep(0.5)
                began = time.monotonic()
                status = await asyncio.to_thread(server.stop)
                took_s = time.monotonic() - began
                return list(await asyncio.gather(*asked)), status, took_s

        outcomes, status, took_s = asyncio.run(stopped())
    figures = {
        "in_flight": count,
        "outcomes": codes(outcomes),
        "lost": sum(bool(outcome.code) for outcome in outcomes),
        "exit_status": status,
        "stopped_after_s": round(took_s, 2),
    }
    said = f"lost {figures['lost']} of {count}, exit status {status} after {took_s:.1f} s"
    return Finding(said, figures["lost"] == 0 and status == 0, figures)
