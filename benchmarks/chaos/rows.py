"""The table of attacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.chaos.broken_processes import hung, killed
from benchmarks.chaos.crafted import crafted
from benchmarks.chaos.departures import departures
from benchmarks.chaos.door_overhead import door_latency, pass_through
from benchmarks.chaos.drain import drain
from benchmarks.chaos.long_work import long_work
from benchmarks.chaos.overload import crowd, open_loop
from benchmarks.chaos.oversized import oversized
from benchmarks.chaos.reloads import reload
from benchmarks.chaos.rolling import rolling
from benchmarks.chaos.row import Row
from benchmarks.chaos.slow_photos import slow_photos

ROWS: Final[Mapping[str, Row]] = {
    "crafted": Row(
        "requests like those of known CVEs, and 5,000 mutated ones",
        "3 kinds crash Triton",
        "0 crashes, 0 restarts",
        crafted,
    ),
    "open-loop": Row(
        "open loop at 5 × capacity for 60 s",
        "next to nothing answered in time, nothing refused, the next lone request after 39 s",
        "≥ 90 % of capacity answered within wait + 2 × unloaded; refusals' p99 ≤ 50 ms; the next lone one "
        "≤ 1.5 × unloaded",
        open_loop,
    ),
    "crowd": Row(
        "closed loop, 200 clients who come back when they are told to",
        "126 of 404 answered, none within 2 s",
        "≥ 90 % of capacity answered within wait + 2 × unloaded; refusals' p99 ≤ 50 ms",
        crowd,
    ),
    "killed": Row(
        "SIGKILL of Triton and of each kind of stage under 4 clients",
        "2–4 of 4 lost, back after 28–36 s",
        "0 lost, back within 12 s, and within 1 s with a spare",
        killed,
    ),
    "hung": Row(
        "SIGSTOP of one of two bakes, 90 s",
        "104 of 285 lost, not noticed",
        "0 lost, noticed within 15 s",
        hung,
    ),
    "drain": Row("SIGTERM with 24 in flight", "23 lost", "0 lost, exit status 0", drain),
    "reload": Row(
        "weights and configurations read anew under 4 clients, five times", "–", "0 failed", reload
    ),
    "long-work": Row(
        "a refinement of minutes, as a job, while another Triton takes over; and one when SIGTERM comes",
        "the first lost ten seconds after the takeover",
        "0 lost, exit status 0",
        long_work,
    ),
    "rolling": Row(
        "three servers behind HAProxy restarted one after the other, at 35 % of what they can do together",
        "–",
        "0 failed",
        rolling,
    ),
    "slow-photos": Row(
        "40 photos of 7,700² pixels",
        "a restart, 105 s without service",
        "no restart, others served",
        slow_photos,
    ),
    "oversized": Row(
        "messages of 500 MB and 1.5 GB, gzip bombs, tensors of 500 MB",
        "1.2 → 5.7 GB, for good",
        "refused unbuffered, ≤ +5 % after",
        oversized,
    ),
    "departures": Row(
        "40 cancelled, 20 disconnected requests",
        "all computed",
        "no photo read after its caller left, but what is at work",
        departures,
    ),
    "door-latency": Row(
        "a request through the door and straight to Triton, in turns",
        "–",
        "≤ 3 ms more, ≤ 2 % less throughput, idle gateway ≤ 90 MB",
        door_latency,
    ),
    "pass-through": Row(
        "answers of 100 kB from a scripted Triton through a gateway on one core",
        "–",
        "≥ 800 a second",
        pass_through,
    ),
}
