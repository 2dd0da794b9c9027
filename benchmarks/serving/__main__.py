"""Measures the service under load, on this machine.

    .venv/bin/python -m benchmarks.serving
    .venv/bin/python -m benchmarks.serving --requests 20 --memory-requests 0 --no-result   # a quick look

Starts `facewright serve` on free loopback ports, checks one answer against the stages called in this
process, then measures clients that wait for their answers (closed loop), Poisson arrivals (latency from the
scheduled send time), and the memory of all processes during a long run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tritonclient.grpc.aio as triton
from rich.console import Console

from benchmarks.run_conditions import ROOT, run_conditions, write_result
from benchmarks.serving.checked_answer import WrongAnswerError, check_answer
from benchmarks.serving.in_process import InProcessPipeline
from benchmarks.serving.load import LoadResult, closed_loop, poisson_arrivals
from benchmarks.serving.process_memory import tree_memory
from benchmarks.serving.served_process import ServedProcess, served
from benchmarks.serving.server_statistics import stage_times
from facewright.core.options import AvatarOptions
from facewright.server.triton_runtime import VERSION as TRITON_VERSION
from facewright_client import AsyncClient, Connection, RetryPolicy

_CONSOLE = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 1 where the server's answer is wrong, 0 else."""
    options = _parse(arguments)
    photo = options.photo.read_bytes()
    conditions = run_conditions()
    result: dict[str, Any] = {"benchmark": "serving", **conditions, "photo": options.photo.name}

    pipeline = InProcessPipeline()
    expected = pipeline.create(photo, AvatarOptions())
    baseline = LoadResult()
    for _ in range(options.baseline_requests):
        start = time.perf_counter()
        pipeline.create(photo, AvatarOptions())
        baseline.latencies_s.append(time.perf_counter() - start)
    baseline.wall_s = sum(baseline.latencies_s)
    result["in_process"] = baseline.as_row()
    _CONSOLE.print("in one process", result["in_process"])

    with served(options.log) as server:
        result["server"] = f"Triton {TRITON_VERSION}, profile cpu"
        try:
            result |= asyncio.run(_measure(server, photo, expected, options))
        except WrongAnswerError as error:
            _CONSOLE.print(f"refused to time a wrong answer: {error}")
            return 1
        result["restarts"] = server.restarts()
    if not options.no_result:
        _CONSOLE.print(f"wrote {write_result('serving', result)}")
    json.dump(result, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
    return 0


async def _measure(
    server: ServedProcess, photo: bytes, expected: Any, options: argparse.Namespace
) -> dict[str, Any]:
    # A retry would hide a refusal in a long latency.
    connection = Connection(timeout_s=120.0, retries=RetryPolicy(attempts=1))
    async with AsyncClient(server.url, connection) as client:

        async def request() -> None:
            await client.create(photo)

        checked = check_answer(await client.create(photo), expected)
        _CONSOLE.print(checked)
        memory = [{"requests": 1, **tree_memory(server.pid).as_row()}]
        await closed_loop(request, clients=2, requests=4)  # both bake instances warm

        closed: dict[str, Any] = {}
        for clients in options.clients:
            before = await _statistics(server)
            load = await closed_loop(request, clients, max(options.requests, 4 * clients))
            closed[str(clients)] = load.as_row() | {"stages": stage_times(before, await _statistics(server))}
            _CONSOLE.print(f"{clients} clients", load.as_row())
        poisson: dict[str, Any] = {}
        for rate in options.rates:
            load = await poisson_arrivals(request, rate, options.requests)
            poisson[f"{rate:g}"] = load.as_row() | {"send_lag_ms": round(1e3 * load.send_lag_s, 1)}
            _CONSOLE.print(f"{rate:g} arrivals a second", poisson[f"{rate:g}"])

        done = 1 + 4 + sum(row["answered"] for row in (*closed.values(), *poisson.values()))
        memory.append({"requests": done, **tree_memory(server.pid).as_row()})
        steps = max(1, options.memory_requests // 200)
        for _ in range(steps if options.memory_requests else 0):
            load = await closed_loop(request, 2, options.memory_requests // steps)
            done += len(load.latencies_s)
            memory.append({"requests": done, **tree_memory(server.pid).as_row()})
            _CONSOLE.print(memory[-1], dict(load.failures))
        return {"answer": {"checked": checked}, "closed_loop": closed, "poisson": poisson, "memory": memory}


async def _statistics(server: ServedProcess) -> dict[str, Any]:
    async with triton.InferenceServerClient(server.url) as client:
        statistics: dict[str, Any] = await client.get_inference_statistics(as_json=True)
    return statistics


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photo", type=Path, default=ROOT / "tests" / "data" / "astronaut.jpg")
    parser.add_argument("--requests", type=int, default=60, help="of each scenario (default 60)")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 2, 4, 8], help="closed loops")
    parser.add_argument(
        "--rates", type=float, nargs="*", default=[1.0, 2.0, 4.0], help="Poisson arrivals per second"
    )
    parser.add_argument("--baseline-requests", type=int, default=20, help="in one process, without server")
    parser.add_argument("--memory-requests", type=int, default=1000, help="further ones, memory watched")
    parser.add_argument("--log", type=Path, help="file for Triton's log")
    parser.add_argument("--no-result", action="store_true", help="leave benchmarks/results alone")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
