"""What real people's fits have in common, and the head that is moved by it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from facewright.fit.fit_info import FitInfo, HeadFit
from facewright.head.head_model import HeadModel
from facewright_export.open_head.ict_prior.prior import ShapePrior
from facewright_export.open_head.real_mean import RealMean, common_field

MIRROR = np.array([-1, 1, 1])


def fit_of(
    head: HeadModel, field: npt.NDArray[np.floating], smile: float, rng: np.random.Generator
) -> HeadFit:
    """A person of ``head`` whose corrective field was ``field`` and who smiled; eyes turned anywhere."""
    identity = rng.normal(0, 1, 160).astype(np.float32)
    expression = np.zeros(52, np.float32)
    for name in ("mouthSmileLeft", "mouthSmileRight"):
        expression[list(head.expression_names).index(name)] = smile
    fitted = head.neutral(identity) + np.tensordot(expression, head.expression_basis, 1) + field
    fitted[np.unique(head.triangles[head.part_triangles("eye_left")])] += 0.004
    none = np.zeros(0, np.float32)
    return HeadFit(none, identity, expression, none, none, none, fitted, none, cast(FitInfo, None))


def test_what_fits_have_in_common_is_symmetric_and_no_pose(open_head: HeadModel) -> None:
    rng = np.random.default_rng(3)
    mean = open_head.vertices_mean.astype(np.float64)
    brows = open_head.region("brow_left") + open_head.region("brow_right")
    common = np.stack([0 * brows, -0.002 * brows, 0 * brows], axis=1)
    lopsided = np.stack([0.001 * open_head.region("cheeks"), 0 * brows, 0 * brows], axis=1)
    pose = 0.01 * mean + [0.0, 0.001, 0.0]  # larger, and higher up
    fits = [fit_of(open_head, common + lopsided + pose, smile, rng) for smile in (0.0, 0.2, 0.5, 0.9)]
    found = common_field(open_head, fits)
    assert np.abs(found - found[open_head.mirror_vertex] * MIRROR).max() < 1e-6
    lips, brow = open_head.region("lips") > 0.5, open_head.region("brow_left") > 0.9
    # The face as a whole does not move, so all of it rises a little for the brows' sake.
    assert np.abs(found[lips]).max() < 2e-4
    assert abs(np.mean(found[brow, 1]) + 0.002) < 2e-4
    eyes = np.unique(open_head.triangles[open_head.part_triangles("eye_left")])
    assert np.ptp(found[eyes], axis=0).max() < 1e-4
    assert np.abs(found[eyes]).max() < 1e-3


def test_a_mean_is_read_as_it_was_written(tmp_path: Path) -> None:
    displacement = np.random.default_rng(0).normal(0, 1e-3, (50, 3))
    RealMean(displacement, 293).save(tmp_path / "mean.npz")
    read = RealMean.load(tmp_path / "mean.npz")
    assert read.faces == 293
    assert np.abs(read.displacement - displacement).max() < 8e-6


def test_the_open_head_has_real_peoples_mean(open_head: HeadModel) -> None:
    moved = open_head.vertices_mean - ShapePrior.load().mean
    apart = moved - RealMean.load().displacement
    assert np.ptp(apart, axis=0).max() < 1e-6  # but for where its origin is
    brow = open_head.region("brow_left") > 0.9
    assert moved[brow, 1].mean() < -0.001
