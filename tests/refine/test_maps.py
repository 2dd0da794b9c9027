"""A fitted head and latents to a person's own maps: what is the fit's, and what the generator's."""

from __future__ import annotations

import time

import numpy as np
import pytest

from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.refine.device import RefinementDevice
from facewright.refine.maps import FittedFace, MapRefiner, RefinedMaps
from facewright.refine.options import RefinementOptions
from facewright.refine.service import LatentRefiner
from facewright.render.light import STUDIO
from facewright.render.render_head import HeadRenderer, View
from facewright_client.contract import ErrorCode
from tests.support.small_refinement_networks import LATENT_SHAPE, MAP_SIZE, small_networks

VIEW = View.turned(5, 2, size=1024, span=0.26)
FEW = RefinementOptions(iterations=12, learning_rate=0.1)


@pytest.fixture(scope="module")
def refiner(open_head: HeadModel, tmp_path_factory: pytest.TempPathFactory) -> MapRefiner:
    networks = small_networks(open_head, tmp_path_factory.mktemp("networks"))
    return MapRefiner(LatentRefiner(networks, open_head, RefinementDevice.cpu()), open_head)


@pytest.fixture(scope="module")
def face(open_head: HeadModel) -> FittedFace:
    """A face with an open mouth: its fit is two millimetres off what the generator can say."""
    rng = np.random.default_rng(4)
    neutral = open_head.neutral(rng.normal(size=160)) + np.float32(0.002)
    jaw = list(open_head.expression_names).index("jawOpen")
    fitted = (neutral + 0.8 * open_head.expression_basis[jaw]).astype(np.float32)
    texture = np.full((8, 8, 3), (0.4, 0.3, 0.25), np.float32)
    return FittedFace(
        HeadRenderer(open_head, texture).render(fitted, VIEW).over(),
        np.full((256, 256), 255, np.uint8),
        VIEW.intrinsics,
        VIEW.head_to_camera,
        STUDIO.coefficients,
        fitted,
        neutral.astype(np.float32),
        rng.normal(size=LATENT_SHAPE).astype(np.float32),
    )


def _refined(
    refiner: MapRefiner,
    face: FittedFace,
    options: RefinementOptions | None = FEW,
    share: float = 1.0,
    until: float | None = None,
) -> RefinedMaps:
    return refiner.refine(face, options, share, lambda: False, until)


def test_without_iterations_latents_pass_through(refiner: MapRefiner, face: FittedFace) -> None:
    kept = _refined(refiner, face, None)
    assert kept.info is None
    assert kept.report() == {"iterations": 0}
    assert (kept.w_plus == face.w_plus).all()
    assert np.abs(kept.neutral - face.neutral).max() < 1e-6
    assert kept.albedo.shape == (3, MAP_SIZE, MAP_SIZE)
    alone = _refined(refiner, face, None, share=0.0).neutral
    assert np.abs(alone - face.neutral).max() > 1e-3
    half = _refined(refiner, face, None, share=0.5).neutral
    assert np.abs(half - (alone + face.neutral) / 2).max() < 1e-6


def test_a_refinement_moves_the_fit_by_what_the_generator_moved(
    refiner: MapRefiner, face: FittedFace
) -> None:
    alone = {name: _refined(refiner, face, name, share=0.0).neutral for name in (None, FEW)}
    refined = _refined(refiner, face)
    assert refined.info is not None
    assert refined.report()["iterations"] == 12
    assert refined.info.best_loss is not None
    assert refined.info.first_loss is not None
    assert refined.info.best_loss < 0.97 * refined.info.first_loss
    moved = refined.neutral - face.neutral
    assert 1e-5 < np.abs(moved).max() < 0.02
    # Both start from other pictures, and go the same way.
    other = alone[FEW] - alone[None]
    assert np.corrcoef(moved.ravel(), other.ravel())[0, 1] > 0.3


def test_an_expression_is_compared_with_the_same_expression(refiner: MapRefiner, face: FittedFace) -> None:
    """The mouth that is open in the photo is no reason to change the neutral."""
    shut = FittedFace(**{**vars(face), "fitted": face.neutral})
    once = RefinementOptions(iterations=1)
    with_it, without = (_refined(refiner, one, once).info for one in (face, shut))
    assert with_it is not None
    assert without is not None
    assert with_it.first_loss < 0.95 * without.first_loss


def test_at_the_deadline_the_best_so_far_is_taken(refiner: MapRefiner, face: FittedFace) -> None:
    many = RefinementOptions(iterations=2000)
    info = _refined(refiner, face, many, until=time.monotonic() + 0.3).info
    assert info is not None
    assert info.deadline
    assert 0 <= info.iterations < 2000
    late = _refined(refiner, face, many, until=time.monotonic() - 5)
    assert late.info is not None
    assert late.info.iterations < 5


def test_latents_of_other_weights_are_refused(refiner: MapRefiner, face: FittedFace) -> None:
    other = FittedFace(**{**vars(face), "w_plus": np.zeros((18, 512), np.float32)})
    with pytest.raises(FacewrightError) as caught:
        _refined(refiner, other)
    assert caught.value.code is ErrorCode.ENGINE_MISMATCH
