"""People between people, by their latents: what is mixed, and what cannot be."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from facewright.asset.mix_codes import CodeMixer, MixedAvatar, shares_of
from facewright.code.avatar_code import NO_LATENTS, AvatarCode
from facewright.code.code_file import written_code
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.refine.maps import MapReader
from facewright_client.contract import ErrorCode
from tests.support.codes import HEAD_SHA256, code_of

MODELS = {"head.npz": HEAD_SHA256, "generator_forward.onnx": "cd" * 32}
LIGHT = np.zeros((9, 3), np.float32)


def _generated(w_plus: np.ndarray) -> np.ndarray:
    """Maps of [B, 14, 512]: the first latent moves all by a centimetre, the second is the albedo."""
    maps = np.zeros((len(w_plus), 6, 256, 256), np.float32)
    maps[:, :3] = 0.01 * w_plus[:, :1, 0, None, None]
    maps[:, 3:] = np.clip(w_plus[:, :1, 1, None, None], 0, 1)
    return maps


def _latents(form: float, albedo: float) -> np.ndarray:
    w_plus = np.zeros((14, 512), np.float32)
    w_plus[:, 0], w_plus[:, 1] = form, albedo
    return w_plus


@pytest.fixture(scope="module")
def mixer(open_head: HeadModel) -> CodeMixer:
    return CodeMixer(open_head, MapReader(_generated, open_head))


@pytest.fixture(scope="module")
def people(open_head: HeadModel) -> tuple[AvatarCode, AvatarCode]:
    """Each has a millimetre that the generator does not say."""
    mean = open_head.vertices_mean
    return (
        code_of(open_head, mean + np.float32(0.001), LIGHT, _latents(0, 0.1), (100, 90, 80), MODELS),
        code_of(open_head, mean + np.float32(0.011), LIGHT, _latents(1, 0.4), (220, 200, 180), MODELS),
    )


def _mix(mixer: CodeMixer, people: tuple[AvatarCode, ...], shares: str = "") -> MixedAvatar:
    return mixer.mix(b"".join(map(written_code, people)), MODELS, shares, 512, "png")


def _colour(mixed: MixedAvatar) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(mixed.texture)))[256, 256].astype(int)


def test_at_either_end_it_is_that_person(mixer: CodeMixer, people: tuple[AvatarCode, AvatarCode]) -> None:
    for shares, person, colour in (("1,0", people[0], (100, 90, 80)), ("0,2", people[1], (220, 200, 180))):
        mixed = _mix(mixer, people, shares)
        assert np.abs(mixed.neutral - person.neutral_vertices).max() < 1e-5
        assert np.abs(_colour(mixed) - colour).max() <= 2
        assert (mixed.w_plus == person.w_plus).all()


def test_between_them_the_generator_says_what_lies_there(
    mixer: CodeMixer, people: tuple[AvatarCode, AvatarCode], open_head: HeadModel
) -> None:
    mixed = _mix(mixer, people)
    assert mixed.neutral == pytest.approx(open_head.vertices_mean + 0.006, abs=1e-4)
    assert mixed.w_plus[0, :2] == pytest.approx([0.5, 0.25])
    # Colours are mixed in logarithms, and the generator's 0.25 is brighter than the 0.2 of 0.1 and 0.4.
    own = [np.log((np.array(c) / 255) ** 2.2) for c in ((100, 90, 80), (220, 200, 180))]
    wanted = np.exp((own[0] + own[1]) / 2) * 1.25
    assert (_colour(mixed) / 255) ** 2.2 == pytest.approx(wanted, rel=0.06)


@pytest.mark.parametrize("shares", ["1", "1,2,3", "1,-1", "0,0", "nan,1", "a,b", "inf,1", "1,,"])
def test_shares_that_are_none_are_refused(shares: str) -> None:
    with pytest.raises(FacewrightError) as caught:
        shares_of(shares, 2)
    assert caught.value.code is ErrorCode.BAD_OPTION


def test_codes_without_latents_or_of_other_weights_are_refused(
    mixer: CodeMixer, people: tuple[AvatarCode, AvatarCode], open_head: HeadModel
) -> None:
    bare = code_of(open_head, open_head.vertices_mean, LIGHT, NO_LATENTS, models=MODELS)
    with pytest.raises(FacewrightError, match="code 2 has no latents") as caught:
        _mix(mixer, (people[0], bare))
    assert caught.value.code is ErrorCode.BAD_CODE
    models = {**MODELS, "generator_forward.onnx": "ef" * 32}
    other = code_of(open_head, open_head.vertices_mean, LIGHT, _latents(0, 0.2), models=models)
    with pytest.raises(FacewrightError, match="code 1 is of another generator") as caught:
        _mix(mixer, (other, people[0]))
    assert caught.value.code is ErrorCode.ENGINE_MISMATCH
