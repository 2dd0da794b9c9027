"""Refinements, which are jobs of minutes, while their server is told to reload, and to stop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any, Final

import numpy as np

from benchmarks.chaos.row import Effort, Finding
from benchmarks.chaos.server_processes import TRITON, eventually, processes
from benchmarks.serving.served_process import ServedProcess, served
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright.render.light import STUDIO
from facewright.render.render_head import HeadRenderer, View
from facewright_client import Client, Connection, Refinement, RefinementProgress, RefinementStart, RetryPolicy

#: So many take far longer than the loading of a Triton, and the ten seconds in which one that is told to stop
#: finishes what it has.
_ITERATIONS: Final = 400
_FEWER: Final = 60
_PATIENCE_S: Final = 600.0
_DRAIN_S: Final = 300.0


def long_work(effort: Effort) -> Finding:
    """Of two refinements, one is at work when another Triton takes over, the other when SIGTERM comes; one
    client hears of progress, the other only of the end, and neither sends anything again."""
    iterations = effort.pick(_ITERATIONS, _FEWER)
    connection = Connection(_PATIENCE_S, RetryPolicy(attempts=1))
    with served(arguments=("--drain", f"{_DRAIN_S:g}")) as server, ThreadPoolExecutor(1) as pool:
        with Client(f"http://127.0.0.1:{server.rest_port}", connection) as client:

            def begun() -> Future[Refinement]:
                heard = Event()

                def told(_progress: RefinementProgress) -> None:
                    heard.set()

                refining = pool.submit(
                    client.refine, start(), told, iterations=iterations, patience=0, priority=0
                )
                while not heard.wait(0.1) and not refining.done():
                    continue
                return refining

            outcomes = {"reload": _outcome(begun(), lambda: _reload(server))}
            outcomes["stop"] = _outcome(begun(), lambda: os.kill(server.pid, signal.SIGTERM))
        began = time.monotonic()
        status = server.stop()
        left_s = time.monotonic() - began
    figures: dict[str, Any] = {"iterations": iterations, "exit_status": status, **outcomes}
    lost = [name for name, outcome in outcomes.items() if outcome["iterations"] != iterations]
    said = ", ".join(f"{name}: {outcome['said']}" for name, outcome in outcomes.items())
    figures["left_after_s"] = round(left_s, 1)
    return Finding(f"{said}; exit status {status}", not lost and status == 0, figures)


def start() -> RefinementStart:
    """A picture of a drawn head, and the mean latents."""
    head = HeadModel.load(asset_path("head.npz"))
    view = View.turned(8, 4, size=1024, span=0.26)
    identity = np.random.default_rng(3).normal(size=160).astype(np.float32)
    skin = np.full((512, 512, 3), (0.35, 0.25, 0.2), np.float32)
    crop = HeadRenderer(head, skin).render(head.neutral(identity), view).over()
    rows, columns = np.mgrid[0:256, 0:256]
    mask = ((columns - 128) / 70) ** 2 + ((rows - 132) / 95) ** 2 < 1
    return RefinementStart(
        crop,
        (255 * mask).astype(np.uint8),
        view.intrinsics,
        view.head_to_camera,
        STUDIO.coefficients,
        np.zeros((14, 512), np.float32),
    )


def _outcome(refining: Future[Refinement], trouble: Callable[[], object]) -> dict[str, Any]:
    """What becomes of a refinement that is at work when something happens."""
    began = time.monotonic()
    trouble()
    try:
        info = refining.result(_PATIENCE_S).info
    except Exception as error:
        return {"iterations": 0, "said": f"lost ({error})"}
    took_s = time.monotonic() - began
    return {
        "iterations": info["iterations"],
        "said": f"ended {took_s:.1f} s later",
        "later_s": round(took_s, 1),
    }


def _reload(server: ServedProcess) -> None:
    """Ask for another Triton, and wait until it is there."""
    before = set(processes(server.pid)[TRITON])
    os.kill(server.pid, signal.SIGUSR1)
    if not eventually(lambda: bool(set(processes(server.pid)[TRITON]) - before), _PATIENCE_S):
        raise TimeoutError("no second Triton was started")
