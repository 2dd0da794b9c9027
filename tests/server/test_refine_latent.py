"""Refinement through a real Triton: results, progress, deadlines, cancellation, bad input, metrics."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facewright.cli import main
from facewright.head.head_model import HeadModel
from facewright.render.light import STUDIO
from facewright.render.render_head import HeadRenderer, View
from facewright.server import Server
from facewright_client import (
    BadOptionError,
    BadRequestError,
    Client,
    DeadlineExceededError,
    FacewrightClientError,
    NoFaceError,
    RefinementProgress,
    RefinementStart,
)
from tests.server.doors import metric, over_rest

pytestmark = pytest.mark.server

FOREVER = {"iterations": 2000, "preview_every": 0}


@pytest.fixture(scope="module")
def start(open_head: HeadModel) -> RefinementStart:
    """A picture of a stranger's head, and the mean latents."""
    view = View.turned(8, 4, size=1024, span=0.26)
    rng = np.random.default_rng(3)
    identity = rng.normal(size=160).astype(np.float32)
    speckle = rng.uniform(0.25, 0.45, (64, 64, 1)) * np.array([1.0, 0.7, 0.6])
    texture = np.kron(speckle, np.ones((8, 8, 1))).astype(np.float32)
    crop = HeadRenderer(open_head, texture).render(open_head.neutral(identity), view).over()
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


@pytest.fixture(autouse=True)
def _server_lives_on(server: Server, client: Client, start: RefinementStart) -> Iterator[None]:
    """After each test the very same server process still refines, both ways."""
    pid = server.pid
    yield
    assert client.refine(start, iterations=1).info["iterations"] == 1
    assert client.refine(start, lambda _progress: None, iterations=1).info["iterations"] == 1
    assert server.pid == pid
    assert server.restarts == 0


Refine = Callable[..., Any]


@pytest.fixture(params=["once", "with progress"])
def refine(request: pytest.FixtureRequest, client: Client) -> Refine:
    """Both stages by one signature."""
    if request.param == "once":
        return client.refine
    return lambda start, **options: client.refine(start, lambda _progress: None, **options)


def test_latents_are_refined(client: Client, start: RefinementStart) -> None:
    refined = client.refine(start, iterations=8)
    assert refined.info["ended"] == "iterations"
    assert refined.losses.shape == (8, 4)
    assert refined.info["best_loss"] == pytest.approx(refined.losses[:, 0].min())
    assert refined.info["best_loss"] < 0.95 * refined.info["first_loss"]
    assert np.abs(refined.w_plus).max() > 0.01
    np.testing.assert_array_equal(refined.head_to_camera, start.head_to_camera)
    np.testing.assert_array_equal(refined.sh_light, start.sh_light)
    moved = client.refine(start, iterations=4, optimize_camera=True, optimize_light=True)
    assert (moved.head_to_camera != start.head_to_camera).any()
    assert (moved.sh_light != start.sh_light).any()


def test_progress_tells_of_every_iteration(client: Client, start: RefinementStart) -> None:
    seen: list[RefinementProgress] = []
    refined = client.refine(start, seen.append, iterations=6, preview_every=3)
    assert [progress.iteration for progress in seen] == [1, 2, 3, 4, 5, 6]
    assert {progress.iterations for progress in seen} == {6}
    totals = [progress.losses["total"] for progress in seen]
    np.testing.assert_allclose(totals, refined.losses[:, 0], rtol=1e-6)
    pictures = [progress.preview for progress in seen]
    assert [picture is not None for picture in pictures] == [False, False, True] * 2
    preview = Image.open(BytesIO(pictures[-1] or b""))
    assert (preview.format, preview.size) == ("JPEG", (256, 256))
    face = np.asarray(preview)[110:150, 110:150].mean(axis=(0, 1))
    assert face[0] > face[2] > 30  # skin, lit
    again = client.refine(start, iterations=6)
    np.testing.assert_allclose(again.losses, refined.losses, rtol=1e-4, atol=1e-5)


def test_over_rest_it_is_a_job(server: Server, client: Client, start: RefinementStart) -> None:
    file = BytesIO()
    np.savez(file, **{one.name: getattr(start, one.name) for one in dataclasses.fields(start)})
    path = "/v1/refinements?pipeline=refine_latent_progress&iterations=6"
    begun = over_rest(server, path, file.getvalue(), prefer="respond-async")
    assert begun.status == 202
    ended = json.loads(over_rest(server, begun.headers["Location"], prefer="wait=60").body)
    assert (ended["state"], ended["progress"]["iteration"]) == ("done", 6)
    with np.load(BytesIO(over_rest(server, ended["links"]["result"]).body)) as refined:
        same = client.refine(start, iterations=6)
        np.testing.assert_allclose(refined["losses"], same.losses, rtol=1e-4, atol=1e-5)
        assert refined["w_plus"].shape == same.w_plus.shape


def test_a_deadline_answers_with_the_best_so_far(refine: Refine, start: RefinementStart) -> None:
    refined = refine(start, deadline_ms=1500, **FOREVER)
    assert refined.info["deadline"]
    assert refined.info["ended"] == "deadline"
    assert 0 <= refined.info["iterations"] < 2000
    assert len(refined.losses) == refined.info["iterations"]
    assert np.isfinite(refined.w_plus).all()


def test_stops_early_on_a_plateau(client: Client, start: RefinementStart) -> None:
    refined = client.refine(start, iterations=50, patience=3, learning_rate=1e-6)
    assert refined.info["stopped_early"]
    assert refined.info["iterations"] < 10


def test_the_command_line_shows_a_bar_and_writes_the_result(
    server: Server, start: RefinementStart, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output, preview = (tmp_path / name for name in ("start.npz", "refined.npz", "face.jpg"))
    np.savez(path, **{field.name: getattr(start, field.name) for field in dataclasses.fields(start)})
    arguments = ["refine", str(path), "-o", str(output), "--preview", str(preview), "--server", server.url]
    assert main([*arguments, "--iterations", "4", "--preview-every", "2"]) == 0
    printed = capsys.readouterr()
    assert "after 4 iterations (iterations)" in printed.out
    assert "4/4" in printed.err
    with np.load(output) as refined:
        assert refined["losses"].shape == (4, 4)
        assert refined["w_plus"].shape == (14, 512)
    with Image.open(preview) as picture:
        assert picture.size == (256, 256)


class _EnoughError(Exception):
    pass


def test_the_server_stops_when_the_client_has_seen_enough(
    server: Server, client: Client, start: RefinementStart
) -> None:
    def enough(progress: RefinementProgress) -> None:
        if progress.iteration == 3:
            raise _EnoughError

    before = _cancelled(server, "refine_latent_progress")
    with pytest.raises(_EnoughError):
        client.refine(start, enough, **FOREVER)
    # One instance: this answer comes only once the other request has been given up.
    assert client.refine(start, lambda _progress: None, iterations=1).info["iterations"] == 1
    assert _cancelled(server, "refine_latent_progress") == before + 1


def test_the_server_stops_when_the_client_gives_up_waiting(
    server: Server, client: Client, start: RefinementStart
) -> None:
    before = _cancelled(server, "refine_latent")
    with pytest.raises(DeadlineExceededError):
        client.refine(start, timeout_s=1.0, **FOREVER)
    assert client.refine(start, iterations=1).info["iterations"] == 1
    assert _cancelled(server, "refine_latent") == before + 1


BAD_STARTS: dict[str, tuple[dict[str, Any], type[FacewrightClientError], str]] = {
    "latents": ({"w_plus": np.nan}, BadOptionError, "w_plus holds 1 of 7168 values that are not finite"),
    "light": ({"sh_light": np.inf}, BadOptionError, "sh_light holds 1 of 27 values"),
    "camera": ({"head_to_camera": np.nan}, BadOptionError, "head_to_camera holds 1 of 12 values"),
    "lens": ({"intrinsics": -1000.0}, BadOptionError, "focal lengths -250, "),
    "mask": ({"face_mask": np.zeros((256, 256), np.uint8)}, NoFaceError, "face mask covers 0.000 %"),
    "shape": (
        {"w_plus": np.zeros((18, 512), np.float32)},
        BadRequestError,
        r"w_plus has shape \[18, 512\] \(it takes \[14, 512\]\)",
    ),
}


@pytest.mark.parametrize("name", sorted(BAD_STARTS))
def test_bad_starts(refine: Refine, start: RefinementStart, name: str) -> None:
    changes, kind, words = BAD_STARTS[name]
    for field, value in changes.items():
        array = np.array(getattr(start, field))
        if isinstance(value, float):
            array.flat[0] = value
        else:
            array = value
        start = dataclasses.replace(start, **{field: array})
    with pytest.raises(kind, match=words) as caught:
        refine(start, iterations=2)
    assert caught.value.hint


def test_a_head_behind_the_camera(refine: Refine, start: RefinementStart) -> None:
    pose = np.array(start.head_to_camera)
    pose[2, 3] = -1.6
    with pytest.raises(BadOptionError, match="nearest point at a depth of -1") as caught:
        refine(dataclasses.replace(start, head_to_camera=pose), iterations=2)
    assert caught.value.stage.startswith("refine_latent")


@pytest.mark.parametrize(
    "options",
    [
        {"iterations": 0},
        {"iterations": -5},
        {"iterations": 2001},
        {"learning_rate": float("nan")},
        {"learning_rate": 0.0},
        {"perceptual_weight": -1.0},
        {"steps": 10},
        {"identity_weight": 1.0},  # the open networks have none
    ],
    ids=str,
)
def test_bad_options(refine: Refine, start: RefinementStart, options: dict[str, Any]) -> None:
    with pytest.raises(FacewrightClientError, match=next(iter(options))) as caught:
        refine(start, **options)
    assert caught.value.code == ("ENGINE_MISMATCH" if "identity_weight" in options else "BAD_OPTION")
    assert caught.value.hint


def test_histograms_of_refinement(server: Server, client: Client, start: RefinementStart) -> None:
    names = ("iterations", "iteration_seconds", "loss_drop")

    def totals() -> dict[str, float]:
        return {
            f"{name}_{kind}": metric(server, f"facewright_refinement_{name}_{kind}", "refine_latent")
            for name in names
            for kind in ("count", "sum")
        }

    before = totals()
    refined = client.refine(start, iterations=3)
    after = totals()
    grown = {name: after[name] - before[name] for name in after}
    assert [grown[f"{name}_count"] for name in names] == [1, 1, 1]
    assert grown["iterations_sum"] == 3
    assert grown["iteration_seconds_sum"] == pytest.approx(refined.info["ms_per_iteration"] / 1e3, rel=0.01)
    drop = 1 - refined.info["best_loss"] / refined.info["first_loss"]
    assert grown["loss_drop_sum"] == pytest.approx(drop, abs=1e-3)


def _cancelled(server: Server, stage: str) -> float:
    """How many requests of a stage were given up, once that number has settled."""
    counts = [-1.0, -2.0]
    while counts[-1] != counts[-2]:
        time.sleep(0.3)
        counts.append(metric(server, "facewright_failures_total", stage, 'code="CANCELLED"'))
    return counts[-1]
