"""Refinement as a stage serves it: single requests in, batched, watched for deadlines and cancellation."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from facewright.core.arrays import Array
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.refine.bindings import BindingsByBatch
from facewright.refine.device import RefinementDevice
from facewright.refine.history import LOSS_NAMES, Ended, Refinement
from facewright.refine.loop import refine
from facewright.refine.networks import RefinementNetworks, open_refinement_networks
from facewright.refine.options import RefinementOptions
from facewright.refine.photos import RefinementPhotos
from facewright.refine.scene import HeadSurface
from facewright.refine.step import RefinementStep
from facewright_client.contract import ErrorCode


@dataclass(frozen=True)
class RefinementProgress:
    """How far a request is.

    Attributes:
        iteration: done so far, from 1.
        iterations: asked for.
        losses: of that iteration, by `LOSS_NAMES`.
        preview: JPEG of the composite; empty where none is due.
    """

    iteration: int
    iterations: int
    losses: Mapping[str, float]
    preview: bytes

    def to_json(self) -> str:
        """REFINEMENT_PROGRESS of the contract: everything but the preview."""
        return json.dumps(
            {"iteration": self.iteration, "iterations": self.iterations, "losses": dict(self.losses)}
        )


@dataclass(frozen=True)
class RefinementInfo:
    """REFINEMENT_INFO.

    Attributes:
        ended: why it ended (`facewright.refine.loop.Ended`).
        deadline: whether the deadline cut it short: the latents are the best so far.
        stopped_early: whether the loss had stopped falling.
        iterations: done.
        best_iteration: whose latents were answered, from 0; −1: the start, no iteration was done.
        first_loss, best_loss: total of the first and of the best iteration; None where none was done.
        ms_per_iteration: of the batch that the request was in.
        batch: photos in it.
        identity: whether the loss had an identity term.
    """

    ended: str
    deadline: bool
    stopped_early: bool
    iterations: int
    best_iteration: int
    first_loss: float | None
    best_loss: float | None
    ms_per_iteration: float
    batch: int
    identity: bool

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(dataclasses.asdict(self))


@dataclass(frozen=True)
class RefinedLatent:
    """What a request is answered with."""

    refinement: Refinement
    info: RefinementInfo


def _nobody_left() -> bool:
    return False


@dataclass(frozen=True)
class RefinementRequest:
    """One photo to refine. Arrays as `RefinementPhotos.from_crops` takes them, without the batch; in either
    memory.

    Attributes:
        face_crop, face_mask, intrinsics, head_to_camera, sh_light, w_plus: see there.
        options: what to do.
        cancelled: whether the caller has left; asked before every iteration.
        report: called after every iteration, where progress is wanted.
        began: when the request's deadline began to run, `time.monotonic` seconds.
        displacement: f32 ``[V, 3]``, what the drawn head has beside the generator's maps; None: nothing.
    """

    face_crop: Array
    face_mask: Array
    intrinsics: Array
    head_to_camera: Array
    sh_light: Array
    w_plus: Array
    options: RefinementOptions
    cancelled: Callable[[], bool] = _nobody_left
    report: Callable[[RefinementProgress], None] | None = None
    began: float = dataclasses.field(default_factory=time.monotonic)
    displacement: Array | None = None

    @property
    def past_deadline(self) -> bool:
        """Whether the time that the caller allowed is over."""
        limit_s = self.options.deadline_ms / 1e3
        return bool(limit_s) and time.monotonic() - self.began >= limit_s


class LatentRefiner:
    """Answers requests, one call at a time; networks and head are loaded once.

    Args:
        networks: engines on ``device``.
        head: whose UV layout the generator's maps have.
        device: where to compute.
    """

    def __init__(self, networks: RefinementNetworks, head: HeadModel, device: RefinementDevice) -> None:
        self._networks, self._device = networks, device
        self._bindings = BindingsByBatch(networks, device)
        self._mean = head.vertices_mean
        with device.queue():
            self._surface = HeadSurface.from_head(head, networks.generator.map_size, device)

    @classmethod
    def load(cls, files: Mapping[str, Path], head: HeadModel, device: RefinementDevice) -> LatentRefiner:
        """A refiner with the networks of some files, see `open_refinement_networks`.

        Raises:
            FacewrightError: ENGINE_MISMATCH when a network is missing or cannot be loaded.
        """
        return cls(open_refinement_networks(files, device.open_engine), head, device)

    @property
    def has_identity(self) -> bool:
        """Whether there is an identity network."""
        return self._networks.identity is not None

    def generated(self, w_plus: Array) -> Array:
        """UV maps f32 ``[B, 6, R, R]`` of latents ``[B, L, 512]``, both on the host.

        Raises:
            FacewrightError: ENGINE_MISMATCH for latents of another shape.
        """
        layers, size = self._networks.generator.latent_shape
        if w_plus.shape[1:] != (layers, size):
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"latents of {list(w_plus.shape[1:])} for a generator of {[layers, size]}",
                "export the regressor and the generator of the same training",
            )
        bound = self._bindings.of(len(w_plus))
        with self._device.queue():
            bound.w_plus[...] = self._device.array(w_plus)
            bound.run_forward()
            maps: Array = np.array(self._device.host(bound.uv_maps))
        return maps

    def refine(self, requests: Sequence[RefinementRequest]) -> list[RefinedLatent | FacewrightError]:
        """Each request's answer, or what was wrong with it; those with equal options are computed together.

        A request that fails does not touch the others. One whose deadline has come is answered with its best
        so far, see `RefinementInfo.deadline`.
        """
        answers: list[RefinedLatent | FacewrightError | None] = [None] * len(requests)
        batches: dict[RefinementOptions, list[tuple[int, RefinementPhotos]]] = {}
        for index, request in enumerate(requests):
            try:
                photos = self._photos(request)
            except FacewrightError as error:
                answers[index] = error
            else:
                batches.setdefault(_shared(request.options), []).append((index, photos))
        for options, members in batches.items():
            rows = [requests[index] for index, _ in members]
            try:
                found = self._refine_batch(rows, [photos for _, photos in members], options)
            except FacewrightError as error:
                found = [error] * len(rows)
            for (index, _), answer in zip(members, found, strict=True):
                answers[index] = answer
        return [answer for answer in answers if answer is not None]

    def _photos(self, request: RefinementRequest) -> RefinementPhotos:
        size = self._networks.perceptual.image_size
        photos = RefinementPhotos.from_crops(
            request.face_crop[None],
            request.face_mask[None],
            (request.intrinsics[None], request.head_to_camera[None]),
            request.sh_light[None],
            request.w_plus[None],
            device=self._device,
            size=size,
            displacement=None if request.displacement is None else request.displacement[None],
        )
        with self._device.queue():
            return photos.checked(self._networks.generator.latent_shape, self._mean, size)

    def _refine_batch(
        self,
        requests: Sequence[RefinementRequest],
        photos: Sequence[RefinementPhotos],
        options: RefinementOptions,
    ) -> Sequence[RefinedLatent | FacewrightError]:
        batch = RefinementPhotos.stacked(photos, self._device)
        bound = self._bindings.of(batch.batch)
        step = RefinementStep(self._networks, self._surface, batch, options, self._device, bound)

        reported = [0] * len(requests)

        def report(row: int) -> None:
            if reported[row] < step.iteration:
                reported[row] = step.iteration
                _report(step, row, requests[row])

        def watch(_step: RefinementStep) -> dict[int, Ended]:
            stops = {}
            for row, request in enumerate(requests):
                if request.cancelled():
                    stops[row] = Ended.CANCELLED
                    continue
                report(row)  # also what was done before the deadline
                if request.past_deadline:
                    stops[row] = Ended.DEADLINE
            return stops

        started = time.perf_counter()
        results = refine(step, watch)
        seconds = time.perf_counter() - started
        for row, result in enumerate(results):
            if result.ended is not Ended.CANCELLED:
                report(row)
        per_iteration = 1e3 * seconds / max(step.iteration, 1)
        return [_answer(result, options, per_iteration, len(requests)) for result in results]


def _shared(options: RefinementOptions) -> RefinementOptions:
    """The options that requests of one batch must have in common."""
    return dataclasses.replace(options, deadline_ms=0, preview_every=0)


def _report(step: RefinementStep, row: int, request: RefinementRequest) -> None:
    """Tells the caller about the iteration that was just done, unless this photo stopped before it."""
    if request.report is None:
        return
    losses = step.history.losses_of(step.iteration - 1, row)
    if not np.isfinite(losses).all():
        return
    every = request.options.preview_every
    preview = _jpeg(step.picture(row)) if every and step.iteration % every == 0 else b""
    named = dict(zip(LOSS_NAMES, losses.tolist(), strict=True))
    request.report(RefinementProgress(step.iteration, request.options.iterations, named, preview))


def _jpeg(picture: Array) -> bytes:
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=80)
    return file.getvalue()


def _answer(
    result: Refinement, options: RefinementOptions, ms_per_iteration: float, batch: int
) -> RefinedLatent | FacewrightError:
    if result.ended is Ended.CANCELLED:
        return FacewrightError(
            ErrorCode.CANCELLED, f"the client left after {len(result.losses)} iterations", "nothing to do"
        )
    if result.ended is Ended.DIVERGED and result.best_iteration < 0:
        return _no_loss(result.losses[0])
    totals = result.losses[:, 0]
    info = RefinementInfo(
        ended=str(result.ended),
        deadline=result.ended is Ended.DEADLINE,
        stopped_early=result.ended is Ended.PLATEAU,
        iterations=len(totals),
        best_iteration=result.best_iteration,
        first_loss=float(totals[0]) if len(totals) else None,
        best_loss=float(totals[result.best_iteration]) if result.best_iteration >= 0 else None,
        ms_per_iteration=ms_per_iteration,
        batch=batch,
        identity=options.identity_weight > 0,
    )
    return RefinedLatent(result, info)


def _no_loss(losses: Array) -> FacewrightError:
    """What is wrong with a start whose losses, f32 ``[4]``, have no finite total."""
    total, *terms = np.asarray(losses).tolist()
    if np.isnan(total) and np.isfinite(terms).all():
        return FacewrightError(
            ErrorCode.BAD_OPTION,
            "nothing of the head is seen under the face mask, or not all of its vertices are finite",
            "send latents that the generator can draw, and the camera and the mask of the same crop",
        )
    return FacewrightError(
        ErrorCode.BAD_OPTION,
        f"the losses of the start are not finite: {[total, *terms]}",
        "send latents that the generator can draw, and weights below 1e4",
    )
