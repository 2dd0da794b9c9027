"""What the report and the README say of the service: latency, throughput, where the time goes, memory."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.machine_load import busy_mark

_STAGE_COLUMNS: Final = ("total_ms", "queue_ms", "compute_infer_ms")
_MEMORY_COLUMNS: Final = ("requests", "processes", "pss_mb", "rss_mb", "shm_mb")
#: README's goals: one client's median, avatars a second under four, RSS of all processes.
_GOAL_MS, _GOAL_PER_SECOND, _GOAL_MB = 400, 4, 1500


def serving_section(result: dict[str, Any]) -> str:
    """Markdown of one serving result."""
    sets = result["photo_sets"]
    lines = [
        "## Serving",
        "",
        f"`avatar_twin` on {result['server']}. The load generator shares the server's {result['cpu_count']} "
        "cores.",
        "",
        f"```\npython -m benchmarks.serving{'' if len(sets) == 1 else ' --photos FOLDER'}\n```",
        "",
    ]
    for photos in sets.values():
        lines += _photo_set(photos)
    lines += [
        "Goals: one client p50 400 ms (stretch: 250), 4 avatars per second under 4 clients (stretch: 8).",
        "",
        "Memory of the server and all of its processes, the supervisor included (goal: 1.5 GB and flat after "
        "1,000 requests; stretch: 1 GB). PSS counts shared pages once:",
        "",
        "| after requests | processes | PSS MB | RSS MB | of it shared memory MB |",
        "|---|---|---|---|---|",
        *("| " + " | ".join(str(row[key]) for key in _MEMORY_COLUMNS) + " |" for row in result["memory"]),
        "",
    ]
    return "\n".join(lines)


def readme_rows(result: dict[str, Any]) -> list[str]:
    """The rows of the README's table that a serving result gives.

    Memory grew by what processes hold (PSS) after all that loads do and before the run's last request.
    """
    rows = []
    for photos in result["photo_sets"].values():
        one, four = photos["closed_loop"]["1"], photos["closed_loop"]["4"]
        which = _described(photos)
        half, rate = _bold(f"{one['p50_ms']:.0f} ms", one["p50_ms"] <= _GOAL_MS), f"{four['per_second']:.1f}"
        rows += [
            f"| photo → GLB, 1024² texture, over gRPC, one client, p50 (p95) | {which} | 400 ms | 250 ms "
            f"| {half} ({one['p95_ms']:.0f}){busy_mark(one)} |",
            f"| avatars per second, 4 clients | {which} | 4 | 8 "
            f"| {_bold(rate, four['per_second'] >= _GOAL_PER_SECOND)}{busy_mark(four)} |",
        ]
    _, loaded, *_, last = result["memory"]
    further, grown = last["requests"] - loaded["requests"], last["pss_mb"] - loaded["pss_mb"]
    memory = f"{last['rss_mb'] / 1e3:.1f} GB"
    rows.append(
        f"| memory of all server processes after {last['requests']:,} requests (RSS), refinement loaded too "
        f"| the same | 1.5 GB, flat | 1 GB "
        f"| {_bold(memory, last['rss_mb'] <= _GOAL_MB)}, "
        f"{grown:+} MB (PSS) in the last {further} |"
    )
    return rows


def _bold(measured: str, reached: bool) -> str:
    """As README shows what reached its goal."""
    return f"**{measured}**" if reached else measured


def _described(photos: dict[str, Any]) -> str:
    return f"{photos['description']}, {'public' if photos['public'] else 'private'}"


def _photo_set(photos: dict[str, Any]) -> list[str]:
    return [
        f"### {_described(photos)}",
        "",
        f"{'' if photos['photos'] == 1 else 'Each is sent equally often. '}Before timing, an answer was "
        f"checked: {photos['checked']}.",
        "",
        "| load | answered | failed | p50 ms | p95 ms | p99 ms | avatars per second |",
        "|---|---|---|---|---|---|---|",
        _row("the same stages called in one process, no server", photos["in_process"]),
        *(
            _row(f"closed loop, {clients} client{'s' if clients != '1' else ''}", load)
            for clients, load in photos["closed_loop"].items()
        ),
        *(
            _row(f"Poisson arrivals, {rate} per second, from the scheduled send time", load)
            for rate, load in photos["poisson"].items()
        ),
        "",
        "Where the time goes, one client, by the server's own statistics (mean ms per request):",
        "",
        "| stage | total | queue | compute |",
        "|---|---|---|---|",
        *_stage_rows(photos["closed_loop"]),
        "",
    ]


def _row(name: str, load: dict[str, Any]) -> str:
    failed = ", ".join(f"{count} {code}" for code, count in load["failed"].items()) or "0"
    cells = [load.get(key, "–") for key in ("p50_ms", "p95_ms", "p99_ms", "per_second")]
    return (
        f"| {name}{busy_mark(load)} | {load['answered']} | {failed} | " + " | ".join(map(str, cells)) + " |"
    )


def _stage_rows(closed_loop: dict[str, Any]) -> list[str]:
    stages = closed_loop.get("1", {}).get("stages", {})
    return [
        f"| {name} | " + " | ".join(str(row.get(key, "–")) for key in _STAGE_COLUMNS) + " |"
        for name, row in stages.items()
    ]
