"""Codes of real photos to one avatar, in this process; and codes that lie."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from facewright.adapter.in_process import PipelineRunner, run_in_process
from facewright.asset.merge_photos import MergedPhotoReport, another_person
from facewright.code.avatar_code import ARRAYS, AvatarCode, impossible
from facewright.code.code_file import read_code, written_code
from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.pipelines.merge import MERGE_AVATARS
from facewright_client.contract import (
    CODE,
    CODES,
    GLB,
    NEUTRAL_VERTICES,
    PREVIEW,
    REPORT,
    SH_LIGHT,
    ErrorCode,
)

ASTRONAUT = Path(__file__).parents[1] / "data" / "astronaut.jpg"
SMALL = {"texture_size": 512}


def _code_of(photo: Image.Image) -> bytes:
    file = io.BytesIO()
    photo.save(file, "PNG")
    return run_in_process("avatar_twin", file.getvalue(), SMALL, (CODE,)).content(CODE)


@pytest.fixture(scope="module")
def codes() -> list[bytes]:
    """A photo, and another of it: darker, turned a little, from nearer."""
    photo = Image.open(ASTRONAUT).convert("RGB")
    other = ImageEnhance.Brightness(photo.rotate(8).crop((90, 0, 380, 300))).enhance(0.7)
    return [_code_of(photo), _code_of(other)]


@pytest.fixture(scope="module")
def runner() -> PipelineRunner:
    return PipelineRunner(MERGE_AVATARS)


def _read(code: bytes) -> AvatarCode:
    head = hashlib.sha256(asset_path("head.npz").read_bytes()).hexdigest()
    return read_code(code, head, 5064)


def test_two_photos_of_one_person(codes: list[bytes], runner: PipelineRunner) -> None:
    run = runner.run({CODES: b"".join(codes)}, SMALL)
    assert run.content(GLB).startswith(b"glTF")
    assert Image.open(io.BytesIO(run.content(PREVIEW))).format == "PNG"
    report = json.loads(run.content(REPORT))
    first, second = report["merge"]["photos"]
    assert second["texture_gain"][0] > 1.2 * first["texture_gain"][0], "it was darker"
    reference = report["merge"]["reference"]
    lit = run.array(SH_LIGHT) * report["merge"]["photos"][reference - 1]["texture_gain"]
    np.testing.assert_allclose(lit, _read(codes[reference - 1]).sh_light, atol=5e-3)
    assert min(first["texture_share"], second["texture_share"]) > 0.2
    assert max(first["shape_distance_mm"], second["shape_distance_mm"]) < 2.0
    assert min(first["likeness"], second["likeness"]) > 0.6
    assert not any(
        "another person" in warning or "different people" in warning for warning in report["warnings"]
    )


def test_two_people_are_told_of(codes: list[bytes], runner: PipelineRunner) -> None:
    """A face of all other proportions, with all other brows and moles."""
    code = _read(codes[0])
    file = io.BytesIO()
    Image.open(io.BytesIO(code.texture)).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(
        file, "JPEG", subsampling=0
    )
    prior = code.identity_prior * np.array([-1.0, 1.0], np.float32)
    other = written_code(replace(code, identity_prior=prior, texture=file.getvalue()))
    report = json.loads(runner.run({CODES: codes[0] + other}, SMALL, (REPORT,)).content(REPORT))
    assert any(
        warning.startswith("photos 1 and 2 may show different people") for warning in report["warnings"]
    )
    assert report["models"].keys() == {"head.npz"}


def test_one_code_gives_the_head_that_it_is_of(codes: list[bytes], runner: PipelineRunner) -> None:
    run = runner.run({CODES: codes[0]}, {"texture_size": 2048}, (REPORT,))
    gap = run.array(NEUTRAL_VERTICES) - _read(codes[0]).neutral_vertices
    assert 1e3 * float(np.linalg.norm(gap, axis=1).mean()) < 0.3, "millimetres"
    report = json.loads(run.content(REPORT))
    assert any("enlarged to 2048" in warning for warning in report["warnings"])
    assert report["texture"]["size"] == 2048


def test_what_is_told_of_a_photo_is_told_with_its_number(codes: list[bytes], runner: PipelineRunner) -> None:
    code = _read(codes[0])
    told = written_code(replace(code, origin=replace(code.origin, warnings=("hard light",))))
    report = json.loads(runner.run({CODES: codes[1] + told}, SMALL, (REPORT,)).content(REPORT))
    assert "photo 2: hard light" in report["warnings"]


def test_a_code_of_another_head_is_named(codes: list[bytes], runner: PipelineRunner) -> None:
    other = written_code(replace(_read(codes[0]), head_sha256="0" * 64))
    with pytest.raises(FacewrightError, match="code 2 is of another head model") as caught:
        runner.run({CODES: codes[1] + other}, SMALL, (REPORT,))
    assert (caught.value.code, caught.value.stage) == (ErrorCode.BAD_CODE, "merge_photos")


def test_numbers_that_are_possible_and_no_face_end_in_words(
    codes: list[bytes], runner: PipelineRunner
) -> None:
    """Whatever a code says, the answer is an avatar or a refusal of the code."""
    code, random = _read(codes[0]), np.random.default_rng(3)
    for number in range(24):
        name = ARRAYS[number % len(ARRAYS)].name
        value = getattr(code, name)
        noise = random.standard_normal(value.shape) * 10.0 ** random.uniform(-1, 3)
        strange = replace(code, **{name: (value + noise).astype(value.dtype)})
        if impossible(strange):
            continue
        try:
            run = runner.run({CODES: codes[1] + written_code(strange)}, SMALL, (REPORT,))
        except FacewrightError as error:
            assert error.code is ErrorCode.BAD_CODE, (name, error)  # noqa: PT017
        else:
            assert np.isfinite(run.array(NEUTRAL_VERTICES)).all()


def test_landmarks_of_no_face_are_refused(codes: list[bytes], runner: PipelineRunner) -> None:
    code = _read(codes[0])
    dot = written_code(replace(code, network_landmarks=0.01 * code.network_landmarks))
    with pytest.raises(FacewrightError, match="code 2 shows no face") as caught:
        runner.run({CODES: codes[1] + dot}, SMALL, (REPORT,))
    assert caught.value.code is ErrorCode.BAD_CODE


def _photo(likeness: float) -> MergedPhotoReport:
    return {
        "pose": {"yaw": 0.0, "pitch": 0.0, "roll": 0.0},
        "error": 0.8,
        "shape_distance_mm": 1.8,
        "texture_share": 0.3,
        "texture_gain": [1.0, 1.0, 1.0],
        "likeness": likeness,
    }


def test_who_differs_from_the_others_is_named() -> None:
    alike, stranger = _photo(0.5), _photo(0.0)
    assert another_person([alike, alike, alike]) == []
    assert another_person([stranger]) == []
    (told,) = another_person([alike, stranger, alike])
    assert told.startswith("photo 2 may show another person")
    (told,) = another_person([alike, stranger])
    assert told.startswith("photos 1 and 2")
