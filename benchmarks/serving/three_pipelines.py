"""Photo to GLB by each pipeline of one server that serves three: time, memory, start.

    .venv/bin/python -m benchmarks.serving.three_pipelines [--requests 20]

Calls alternate between the pipelines, with `avatar_twin` as what the others are compared with. An answer is
looked into before it is timed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

from benchmarks.run_conditions import RunConditions, write_result
from benchmarks.serving.photo_set import astronaut
from benchmarks.serving.process_memory import tree_memory
from benchmarks.serving.served_process import served
from facewright_client import Avatar, Client

_NAME: Final = "three_pipelines"
#: What is asked of each, by the row's name; and the milliseconds that it is to stay below.
_ASKED: Final[Mapping[str, tuple[str, Mapping[str, Any], float | None]]] = {
    "avatar_twin": ("avatar_twin", {}, None),
    "avatar_normalized, no iteration": ("avatar_normalized", {"iterations": 0}, 450.0),
    "avatar_rerenderable": ("avatar_rerenderable", {}, 600.0),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command of the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=20, help="of each pipeline (default: %(default)s)")
    requests = parser.parse_args(arguments).requests
    conditions, photo = RunConditions(), astronaut().photos[0]
    names = dict.fromkeys(pipeline for pipeline, _, _ in _ASKED.values())
    started = time.perf_counter()
    with served(arguments=("--pipelines", ",".join(names))) as server, Client(server.url) as client:
        ready_s = time.perf_counter() - started
        spent: dict[str, list[float]] = {name: [] for name in _ASKED}
        for turn in range(requests + 1):
            for name, (pipeline, options, _) in _ASKED.items():
                began = time.perf_counter()
                avatar = client.create(photo, pipeline, **options)
                if turn:  # the first makes the texture's tables
                    spent[name].append(1e3 * (time.perf_counter() - began))
                _check(avatar, pipeline)
        began = time.perf_counter()
        refined = client.create(photo, "avatar_normalized")
        refined_s = time.perf_counter() - began
        memory = tree_memory(server.pid)
    rows = {
        name: {"p50_ms": round(median(times)), "most_ms": round(max(times)), "reach_ms": _ASKED[name][2]}
        for name, times in spent.items()
    }
    result = {
        "benchmark": _NAME,
        "requests": requests,
        "ready_s": round(ready_s, 1),
        "rows": rows,
        "refined": {
            "seconds": round(refined_s, 1),
            "iterations": refined.report["refinement"]["iterations"],
            "ms_per_iteration": round(refined.report["refinement"]["ms_per_iteration"], 1),
        },
        "memory": memory.as_row(),
        **conditions.as_row(),
    }
    print(three_pipelines_section(result))
    write_result(_NAME, result)


def _check(avatar: Avatar, pipeline: str) -> None:
    """Refuse to time what is no avatar of the pipeline."""
    if not avatar.glb.startswith(b"glTF") or avatar.report["pipeline"] != pipeline:
        raise RuntimeError(f"{pipeline} answered with something else")


def three_pipelines_section(result: dict[str, Any]) -> str:
    """Markdown of one result."""
    lines = [
        "## Three pipelines on one server",
        "",
        "A 512 × 512 portrait through each in turns, over gRPC, one caller.",
        "",
        "`.venv/bin/python -m benchmarks.serving.three_pipelines`",
        "",
        "| photo to GLB, ms | p50 | longest | reach |",
        "|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        reach = "–" if row["reach_ms"] is None else f"≤ {row['reach_ms']:.0f}"
        lines.append(f"| {name} | {row['p50_ms']} | {row['most_ms']} | {reach} |")
    refined, memory = result["refined"], result["memory"]
    lines += [
        "",
        f"avatar_normalized with {refined['iterations']} iterations: {refined['seconds']} s (reach: 25), "
        f"{refined['ms_per_iteration']} ms each, without an identity term. Ready after {result['ready_s']} s "
        f"(reach: 18). {memory['processes']} processes: {memory['rss_mb']} MB resident, "
        f"{memory['pss_mb']} MB with what they share counted once (reach: 2,400).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
