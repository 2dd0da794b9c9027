"""Requests of ``refine_latent`` and ``refine_latent_progress`` to arrays, answers to tensors, and metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.pipelines.maps import REFINING
from facewright.pipelines.refinement import REFINE_OPTIONS
from facewright.pipelines.section import Section
from facewright.pipelines.stages import Stage
from facewright.refine.options import RefinementOptions
from facewright.refine.service import RefinedLatent, RefinementInfo, RefinementProgress, RefinementRequest
from facewright_client import contract

_ITERATIONS: Final = [1.0, 10.0, 25.0, 50.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0, 2000.0]
_SECONDS: Final = [0.001, 0.002, 0.004, 0.008, 0.016, 0.03, 0.06, 0.125, 0.25, 0.5, 1.0]
_SHARES: Final = [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def refinement_request(
    request: StageRequest,
    has_identity: bool,
    report: Callable[[RefinementProgress], None] | None = None,
) -> RefinementRequest:
    """What to refine.

    Args:
        request: Triton's.
        has_identity: whether there is an identity network, for the default of its weight.
        report: is told of every iteration.

    Raises:
        FacewrightError: BAD_OPTION for an option that is not allowed.
    """
    return RefinementRequest(
        request.array(contract.FACE_CROP),
        request.array(contract.FACE_MASK),
        request.array(contract.INTRINSICS),
        request.array(contract.HEAD_TO_CAMERA),
        request.array(contract.SH_LIGHT),
        request.array(contract.W_PLUS),
        RefinementOptions.from_parameters(request.parameters, has_identity),
        request.cancelled,
        report,
    )


def refinement_options(request: StageRequest, has_identity: bool) -> RefinementOptions | None:
    """The refinement that a pipeline's options ask for; None: no iteration.

    Raises:
        FacewrightError: BAD_OPTION for an option that is not allowed.
    """
    asked = {name: request.option(name) for name in REFINING}
    if asked["iterations"] == 0:
        return None
    if not has_identity and asked["identity_weight"] == REFINE_OPTIONS["identity_weight"].default:
        asked["identity_weight"] = 0.0
    return RefinementOptions(**asked)


def best_before(request: StageRequest, stage: Stage) -> float | None:
    """`time.monotonic` until which a stage may go on and the caller's deadline still be kept: the steps after
    it take half as long again as is expected. None: there is no deadline.
    """
    place = request.place
    deadline = place.request.deadline_unix_s
    if not deadline:
        return None
    names = [step.name for step in place.pipeline.steps]
    after = place.pipeline.steps[names.index(stage.name) + 1 :]
    reserve = 1.5 * sum(step.expected_s for step in after)
    return time.monotonic() + deadline - reserve - time.time()


def refined_outputs(refined: RefinedLatent) -> Outputs:
    """The tensors of an answer."""
    best = refined.refinement.best
    return {
        contract.REFINED_W_PLUS: best.w_plus,
        contract.REFINED_HEAD_TO_CAMERA: best.head_to_camera,
        contract.REFINED_SH_LIGHT: best.sh_light,
        contract.REFINEMENT_LOSSES: np.ascontiguousarray(refined.refinement.losses),
        contract.REFINEMENT_INFO: refined.info.to_json().encode(),
    }


def progress_outputs(progress: RefinementProgress) -> Outputs:
    """The tensors of an answer before the last."""
    outputs: dict[contract.Tensor, NDArray[Any] | bytes | Section] = {
        contract.REFINEMENT_PROGRESS: progress.to_json().encode()
    }
    if progress.preview:
        outputs[contract.REFINEMENT_PREVIEW] = progress.preview
    return outputs


class RefinementMetrics:
    """``facewright_refinement_iterations``, ``_iteration_seconds`` and ``_loss_drop`` (share of the first
    loss that the best one is lower), histograms by stage. Without Triton nobody reads them.
    """

    def __init__(self, stage: str) -> None:
        histograms = {
            "iterations": ("Iterations of a refinement", _ITERATIONS),
            "iteration_seconds": ("Time of one iteration of the batch that a photo was in", _SECONDS),
            "loss_drop": ("Share of the first loss by which the best is lower", _SHARES),
        }
        self._metrics: dict[str, Any] = {}
        try:
            import triton_python_backend_utils as pb_utils
        except ImportError:  # not in Triton
            return
        # A family must outlive its metrics.
        self._families = {
            name: pb_utils.MetricFamily(
                name=f"facewright_refinement_{name}",
                description=description,
                kind=pb_utils.MetricFamily.HISTOGRAM,
            )
            for name, (description, _) in histograms.items()
        }
        self._metrics = {
            name: self._families[name].Metric(labels={"stage": stage}, buckets=buckets)
            for name, (_, buckets) in histograms.items()
        }

    def refined(self, info: RefinementInfo) -> None:
        """Count a photo that was answered."""
        if not self._metrics:
            return
        self._metrics["iterations"].observe(float(info.iterations))
        if info.iterations:
            self._metrics["iteration_seconds"].observe(info.ms_per_iteration / 1e3)
        if info.first_loss and info.best_loss is not None:
            self._metrics["loss_drop"].observe(1 - info.best_loss / info.first_loss)
