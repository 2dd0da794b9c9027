"""Measures the service under load, on this machine.

    .venv/bin/python -m benchmarks.serving                       # the astronaut, which is in this repository
    .venv/bin/python -m benchmarks.serving --photos ~/portraits  # and thirty photos of a folder
    .venv/bin/python -m benchmarks.serving --requests 8 --memory-requests 0 --no-result   # a quick look

Starts `facewright serve` on free loopback ports, checks one answer of each set of photos against the stages
called in this process, then measures clients that wait for their answers (closed loop), for the astronaut
also Poisson arrivals (latency from the scheduled send time), and the memory of all processes at the end.
Photos of one person share the part of their names before a double underscore: ann__sea.jpg, ann__office.jpg.
The result says nothing of a folder's photos but their number and size.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import tritonclient.grpc.aio as triton
from rich.console import Console

from benchmarks.machine_load import MachineLoad
from benchmarks.run_conditions import RunConditions, write_result
from benchmarks.serving.checked_answer import WrongAnswerError, check_answer
from benchmarks.serving.load import LoadResult, Request, closed_loop, poisson_arrivals
from benchmarks.serving.photo_set import PhotoSet, astronaut, portraits
from benchmarks.serving.process_memory import tree_memory
from benchmarks.serving.served_process import ServedProcess, served
from benchmarks.serving.server_statistics import stage_times
from facewright.adapter.in_process import Run, run_in_process
from facewright.core.errors import FacewrightError
from facewright.pipelines.twin import AVATAR_TWIN
from facewright.server.triton_runtime import VERSION as TRITON_VERSION
from facewright_client import AsyncClient, Connection, RetryPolicy
from facewright_client.contract import GLB

#: Closed loops with the portraits; the astronaut is measured with more.
_CLIENTS_WITH_PORTRAITS = (1, 4)
_CONSOLE = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 1 where the server's answer is wrong, 2 for a folder of no use, 0 else."""
    options = _parse(arguments)
    sets = [astronaut()]
    if options.photos:
        try:
            sets.append(portraits(options.photos, options.portraits))
        except (OSError, ValueError) as error:
            _CONSOLE.print(f"--photos: {error}")
            return 2
    conditions = RunConditions()
    rows: dict[str, dict[str, Any]] = {}
    known: dict[str, tuple[bytes, Run]] = {}
    for photos in sets:
        try:
            known[photos.name] = _first_avatar(photos)
        except ValueError as error:
            _CONSOLE.print(error)
            return 2
        load = MachineLoad()
        baseline = _in_process(photos, options.baseline_requests)
        rows[photos.name] = photos.as_row() | {"in_process": baseline.as_row() | load.as_row()}
        _CONSOLE.print(photos.description, "in one process", rows[photos.name]["in_process"])

    with served(options.log) as server:
        try:
            memory = asyncio.run(_measure(server, sets, known, rows, options))
        except WrongAnswerError as error:
            _CONSOLE.print(f"refused to time a wrong answer: {error}")
            return 1
        # The machine's load, too, while the server's processes still count as this run's.
        result = {
            "benchmark": "serving",
            **conditions.as_row(),
            "server": f"Triton {TRITON_VERSION}, profile cpu",
            "photo_sets": rows,
            "memory": memory,
            "restarts": server.restarts(),
        }
    if not options.no_result:
        _CONSOLE.print(f"wrote {write_result('serving', result)}")
    json.dump(result, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
    return 0


def _first_avatar(photos: PhotoSet) -> tuple[bytes, Run]:
    """The first photo that gives an avatar, and that avatar.

    Raises:
        ValueError: there is none.
    """
    for photo in photos.photos:
        try:
            return photo, run_in_process(AVATAR_TWIN.name, photo, wanted=(GLB,))
        except FacewrightError as error:
            refused = error
    raise ValueError(
        f"none of the {len(photos.photos)} {photos.name} gives an avatar; the last one: {refused}"
    )


def _in_process(photos: PhotoSet, requests: int) -> LoadResult:
    result = LoadResult()
    source = cycle(photos.photos)
    for _ in range(photos.rounds(requests)):
        photo = next(source)
        start = time.perf_counter()
        try:
            run_in_process(AVATAR_TWIN.name, photo, wanted=(GLB,))
        except FacewrightError as error:
            result.failures[str(error.code)] += 1
        else:
            result.latencies_s.append(time.perf_counter() - start)
        result.wall_s += time.perf_counter() - start
    return result


async def _measure(
    server: ServedProcess,
    sets: Sequence[PhotoSet],
    known: dict[str, tuple[bytes, Run]],
    rows: dict[str, dict[str, Any]],
    options: argparse.Namespace,
) -> list[dict[str, float | int]]:
    """Completes the rows of each set; the memory of the server's processes."""
    # A retry would hide a refusal in a long latency.
    connection = Connection(timeout_s=120.0, retries=RetryPolicy(attempts=1))
    async with AsyncClient(server.url, connection) as client:
        memory: list[dict[str, float | int]] = []
        done = 0
        for photos in sets:
            row = rows[photos.name]
            photo, expected = known[photos.name]
            row["checked"] = check_answer(await client.create(photo), expected)
            _CONSOLE.print(row["checked"])
            memory = memory or [{"requests": 1, **tree_memory(server.pid).as_row()}]
            await closed_loop(_requests(client, photos), clients=2, requests=4)  # both bake instances warm
            row["closed_loop"] = await _closed_loops(server, client, photos, options)
            row["poisson"] = await _poisson(client, photos, options) if photos.public else {}
            loads = [*row["closed_loop"].values(), *row["poisson"].values()]
            done += 1 + 4 + sum(load["answered"] for load in loads)
        memory.append({"requests": done, **tree_memory(server.pid).as_row()})
        while done < options.memory_requests:
            step = min(200, options.memory_requests - done)
            load = await closed_loop(_requests(client, sets[-1]), min(4, step), step)
            done += step
            memory.append({"requests": done, **tree_memory(server.pid).as_row()})
            _CONSOLE.print(memory[-1], dict(load.failures))
    return memory


def _requests(client: AsyncClient, photos: PhotoSet) -> Request:
    """Sends one photo after the other, from the first."""
    source = cycle(photos.photos)

    async def request() -> None:
        await client.create(next(source))

    return request


async def _closed_loops(
    server: ServedProcess, client: AsyncClient, photos: PhotoSet, options: argparse.Namespace
) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for clients in options.clients if photos.public else _CLIENTS_WITH_PORTRAITS:
        before = await _statistics(server)
        machine = MachineLoad()
        requests = photos.rounds(max(options.requests, 4 * clients))
        load = await closed_loop(_requests(client, photos), clients, requests)
        row = load.as_row() | machine.as_row()
        rows[str(clients)] = row | {"stages": stage_times(before, await _statistics(server))}
        _CONSOLE.print(f"{photos.name}, {clients} clients", row)
    return rows


async def _poisson(client: AsyncClient, photos: PhotoSet, options: argparse.Namespace) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for rate in options.rates:
        machine = MachineLoad()
        load = await poisson_arrivals(_requests(client, photos), rate, photos.rounds(options.requests))
        row = load.as_row() | {"send_lag_ms": round(1e3 * load.send_lag_s, 1)} | machine.as_row()
        rows[f"{rate:g}"] = row
        _CONSOLE.print(f"{photos.name}, {rate:g} arrivals a second", row)
    return rows


async def _statistics(server: ServedProcess) -> dict[str, Any]:
    async with triton.InferenceServerClient(**Connection().triton_arguments(server.url)) as client:
        statistics: dict[str, Any] = await client.get_inference_statistics(as_json=True)
    return statistics


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="portraits (JPEG, PNG, WebP)")
    parser.add_argument("--portraits", type=int, default=30, help="how many of the folder (default 30)")
    parser.add_argument(
        "--requests",
        type=int,
        default=40,
        help="least number in each scenario; each photo is sent equally often (default 40)",
    )
    parser.add_argument(
        "--clients", type=int, nargs="*", default=[1, 2, 4, 8], help="closed loops with the astronaut"
    )
    parser.add_argument(
        "--rates", type=float, nargs="*", default=[2.0, 4.0], help="Poisson arrivals per second"
    )
    parser.add_argument("--baseline-requests", type=int, default=20, help="in one process, without server")
    parser.add_argument(
        "--memory-requests",
        type=int,
        default=1000,
        help="how many in all, those of the scenarios included, before memory is read last (default 1000)",
    )
    parser.add_argument("--log", type=Path, help="file for Triton's log")
    parser.add_argument("--no-result", action="store_true", help="leave benchmarks/results alone")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
