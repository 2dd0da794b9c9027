"""The serving section of the report: latency and throughput, where the time goes, memory."""

from __future__ import annotations

from typing import Any, Final

_STAGE_COLUMNS: Final = ("total_ms", "queue_ms", "compute_infer_ms")
_MEMORY_COLUMNS: Final = ("requests", "processes", "pss_mb", "rss_mb", "shm_mb")


def serving_section(result: dict[str, Any]) -> str:
    """Markdown of one serving result."""
    answer = result["answer"]
    lines = [
        "## Serving",
        "",
        f"`avatar_twin` on {result['server']}; the photo is {result['photo']}; before timing, the answer was "
        f"checked: {answer['checked']}. The load generator shares the server's {result['cpu_count']} cores.",
        "",
        "```\npython -m benchmarks.serving\n```",
        "",
        "| load | answered | failed | p50 ms | p95 ms | p99 ms | avatars per second |",
        "|---|---|---|---|---|---|---|",
        _row("the same stages called in one process, no server", result["in_process"]),
        *(
            _row(f"closed loop, {clients} client{'s' if clients != '1' else ''}", scenario)
            for clients, scenario in result["closed_loop"].items()
        ),
        *(
            _row(f"Poisson arrivals, {rate} per second, from the scheduled send time", scenario)
            for rate, scenario in result["poisson"].items()
        ),
        "",
        "Goals: one client p50 400 ms (stretch: 250), 4 avatars per second under 4 clients (stretch: 8).",
        "",
        "Where the time goes, one client, by the server's own statistics (mean ms per request):",
        "",
        "| stage | total | queue | compute |",
        "|---|---|---|---|",
        *_stage_rows(result["closed_loop"]),
        "",
    ]
    memory = result["memory"]
    lines += [
        "Memory of the server and all of its processes, the supervisor included (goal: 1.5 GB and flat after "
        "1,000 requests; stretch: 1 GB). PSS counts shared pages once:",
        "",
        "| after requests | processes | PSS MB | RSS MB | of it shared memory MB |",
        "|---|---|---|---|---|",
        *("| " + " | ".join(str(row[key]) for key in _MEMORY_COLUMNS) + " |" for row in memory),
        "",
    ]
    return "\n".join(lines)


def _row(name: str, scenario: dict[str, Any]) -> str:
    failed = ", ".join(f"{count} {code}" for code, count in scenario["failed"].items()) or "0"
    cells = [scenario.get(key, "–") for key in ("p50_ms", "p95_ms", "p99_ms", "per_second")]
    return f"| {name} | {scenario['answered']} | {failed} | " + " | ".join(map(str, cells)) + " |"


def _stage_rows(closed_loop: dict[str, Any]) -> list[str]:
    stages = closed_loop.get("1", {}).get("stages", {})
    return [
        f"| {name} | " + " | ".join(str(row.get(key, "–")) for key in _STAGE_COLUMNS) + " |"
        for name, row in stages.items()
    ]
