"""One request as a stage sees it, and what becomes of the stage's answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from facewright.adapter.stage_request import (
    MOST_JSON_BYTES,
    Place,
    StageRequest,
    as_sent,
    continued,
    finished,
)
from facewright.core.errors import FacewrightError
from facewright.core.provenance import Provenance
from facewright.pipelines.request import Request
from facewright.pipelines.section import Section, sections_from_json, sections_to_json
from facewright.pipelines.stages import EARLIER_SECTIONS, REQUEST, SECTIONS, Stage
from facewright.pipelines.tensors import TEXTURE
from facewright.pipelines.twin import AVATAR_TWIN, BAKE_TEXTURE, FIND_FACE, FIT_HEAD
from facewright_client.contract import IDENTITY, MAX_PHOTO_BYTES, PHOTO, ErrorCode, Tensor

TWIN = {AVATAR_TWIN.name: AVATAR_TWIN}


class _Sender:
    def __init__(
        self, tensors: Mapping[str, Any] | None = None, parameters: str = "", left: bool = False
    ) -> None:
        self._tensors, self._parameters, self._left = tensors or {}, parameters, left

    def tensor(self, name: str) -> Any:
        return self._tensors.get(name)

    def parameters(self) -> str:
        return self._parameters

    def cancelled(self) -> bool:
        return self._left


def _request(**options: Any) -> Request:
    return Request.accepted(AVATAR_TWIN, options, Provenance("1.2.3"))


def _travelling(request: Request, earlier: list[Section]) -> dict[str, Any]:
    return {
        REQUEST.name: as_sent(request.to_json().encode()),
        EARLIER_SECTIONS.name: as_sent(sections_to_json(earlier).encode()),
    }


def _outputs(stage: Stage) -> dict[Tensor, Any]:
    """What a stage gives, all zeros."""
    kinds = {"TYPE_FP32": np.float32, "TYPE_UINT8": np.uint8}
    return {t: np.zeros([5 if n == -1 else n for n in t.shape], kinds[t.dtype]) for t in stage.gives}


def test_arrays_come_without_their_batch_and_uncopied() -> None:
    sent = np.arange(160, dtype=np.float32)[None]
    array = StageRequest(_Sender({"IDENTITY": sent})).array(IDENTITY)
    assert array.shape == (160,)
    assert np.shares_memory(array, sent)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "IDENTITY was not sent"),
        ({"IDENTITY": np.zeros((2, 160), np.float32)}, "IDENTITY holds 2 photos"),
    ],
)
def test_what_is_not_one_photo_is_refused(tensors: dict[str, Any], message: str) -> None:
    with pytest.raises(FacewrightError, match=message) as caught:
        StageRequest(_Sender(tensors)).array(IDENTITY)
    assert caught.value.code is ErrorCode.BAD_OPTION


def test_an_optional_tensor_may_be_missing() -> None:
    assert not StageRequest(_Sender()).given(IDENTITY)
    assert StageRequest(_Sender({"IDENTITY": np.zeros((1, 160), np.float32)})).given(IDENTITY)


def test_too_many_bytes_are_no_photo() -> None:
    with pytest.raises(FacewrightError) as caught:
        StageRequest(_Sender({PHOTO.name: np.zeros((1, MAX_PHOTO_BYTES + 1), np.uint8)})).photo()
    assert caught.value.code is ErrorCode.PHOTO_TOO_LARGE


def test_parameters_are_the_callers_without_the_protocols() -> None:
    text = json.dumps({"delight": 0.5, "priority": 1, "headers": "x"})
    assert StageRequest(_Sender(parameters=text)).parameters == {"delight": 0.5}
    assert StageRequest(_Sender()).parameters == {}
    with pytest.raises(FacewrightError, match="not a finite number"):
        _ = StageRequest(_Sender(parameters='{"delight": NaN}')).parameters


def test_a_stage_is_told_its_place_and_options() -> None:
    earlier = [Section({"photo": {}}, stage="find_face", ended_unix_s=1.0)]
    request = continued(_Sender(_travelling(_request(texture_size=512), earlier)), FIT_HEAD, TWIN)
    assert request.option("texture_size") == 512
    assert request.option("delight") == AVATAR_TWIN.options["delight"].default
    assert request.place.networks_before == ["face_landmarks", "face_shape"]
    later = replace(request.place, earlier=(*request.place.earlier, Section(stage="fit_head")))
    assert later.networks_before == []


def test_a_request_that_comes_too_late_is_turned_away() -> None:
    old = replace(_request(), accepted_unix_s=1.0)
    continued(_Sender(_travelling(old, [])), FIT_HEAD, TWIN)
    with pytest.raises(FacewrightError) as caught:
        continued(_Sender(_travelling(replace(old, deadline_unix_s=2.0), [])), FIT_HEAD, TWIN)
    assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED


def test_a_request_of_another_pipeline_is_refused() -> None:
    stranger = replace(FIT_HEAD, name="stranger")
    with pytest.raises(FacewrightError, match="avatar_twin has no step stranger") as caught:
        continued(_Sender(_travelling(_request(), [])), stranger, TWIN)
    assert caught.value.code is ErrorCode.BAD_OPTION


@pytest.mark.parametrize("name", [REQUEST.name, EARLIER_SECTIONS.name])
def test_json_that_is_too_long_is_not_even_read(name: str) -> None:
    tensors = _travelling(_request(), [])
    tensors[name] = np.full((1, MOST_JSON_BYTES + 1), ord("["), np.uint8)
    with pytest.raises(FacewrightError, match=f"{name} has {MOST_JSON_BYTES + 1} bytes") as caught:
        continued(_Sender(tensors), FIT_HEAD, TWIN)
    assert caught.value.code is ErrorCode.BAD_OPTION


def test_the_wait_ends_when_the_stage_takes_over() -> None:
    """What the stage computes itself is not the network's time."""
    earlier = (Section(stage="find_face", ended_unix_s=1000.0),)
    place = Place(AVATAR_TWIN, _request(), earlier, arrived_unix_s=1000.25)
    assert place.completed(Section(), "fit_head").milliseconds == {
        "face_landmarks+face_shape.network_and_waiting": 250.0
    }


def test_work_ends_where_nobody_waits() -> None:
    place = Place(AVATAR_TWIN, replace(_request(), deadline_unix_s=2.0))
    for request, code in (
        (StageRequest(_Sender(left=True)), ErrorCode.CANCELLED),
        (StageRequest(_Sender(), place), ErrorCode.DEADLINE_EXCEEDED),
    ):
        with pytest.raises(FacewrightError) as caught:
            request.still_wanted()
        assert caught.value.code is code


def test_a_stage_adds_its_section_behind_the_earlier_ones() -> None:
    earlier = (Section({"photo": {"width": 7}}, ["small"], {"decode": 1.0}, "find_face", 1.0),)
    request = StageRequest(_Sender(), Place(AVATAR_TWIN, _request(), earlier))
    outputs = _outputs(FIT_HEAD) | {SECTIONS: Section({"fit": {}}, milliseconds={"optimise": 2.0})}
    answer = finished(FIT_HEAD, request, outputs)
    written = answer[SECTIONS]
    assert isinstance(written, bytes)
    first, own = sections_from_json(written)
    assert first == earlier[0]
    assert (own.stage, own.members) == ("fit_head", {"fit": {}})
    assert list(own.milliseconds) == ["face_landmarks+face_shape.network_and_waiting", "optimise"]
    assert own.ended_unix_s > 1e9
    assert answer[IDENTITY] is outputs[IDENTITY]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _outputs: None, "fit_head gave a NoneType"),
        (lambda outputs: {IDENTITY: outputs[IDENTITY]}, "fit_head gave no EXPRESSION, "),
        (lambda outputs: outputs | {TEXTURE: b"x"}, "fit_head gave TEXTURE"),
        (lambda outputs: outputs | {IDENTITY: np.zeros(160)}, r"IDENTITY as float64 \[160\]"),
        (lambda outputs: outputs | {IDENTITY: np.zeros(7, np.float32)}, r"IDENTITY as float32 \[7\]"),
        (lambda outputs: outputs | {SECTIONS: {"fit": {}}}, "gave a dict as its section"),
        (lambda outputs: outputs | {SECTIONS: Section({"x": float("nan")})}, "a section that is no JSON"),
        (lambda outputs: outputs | {SECTIONS: Section({"x": np.float32(1)})}, "a section that is no JSON"),
    ],
)
def test_a_stages_mistakes_are_told_where_they_are_made(change: Any, message: str) -> None:
    request = StageRequest(_Sender(), Place(AVATAR_TWIN, _request()))
    with pytest.raises(FacewrightError, match=message) as caught:
        finished(FIT_HEAD, request, change(_outputs(FIT_HEAD)))
    assert (caught.value.code, caught.value.stage) == (ErrorCode.INTERNAL, "fit_head")


def test_an_option_that_the_pipeline_lacks_is_named() -> None:
    request = StageRequest(_Sender(), Place(AVATAR_TWIN, _request()))
    with pytest.raises(FacewrightError, match="option 'shine', which avatar_twin does not have"):
        request.option("shine")


def test_a_stage_that_says_nothing_still_hands_the_sections_on() -> None:
    request = StageRequest(_Sender(), Place(AVATAR_TWIN, _request(), (Section(stage="find_face"),)))
    answer = finished(BAKE_TEXTURE, request, _outputs(BAKE_TEXTURE))
    written = answer[SECTIONS]
    assert isinstance(written, bytes)
    assert [section.stage for section in sections_from_json(written)] == ["find_face", "bake_texture"]
    assert not [tensor for tensor in answer if tensor.name.startswith(REQUEST.name)]


def test_the_first_stage_writes_the_request() -> None:
    opened = _request(lods=2)
    answer = finished(FIND_FACE, StageRequest(_Sender(), Place(AVATAR_TWIN, opened)), _outputs(FIND_FACE))
    written = answer[AVATAR_TWIN.request_output]
    assert isinstance(written, bytes)
    assert Request.from_json(written, TWIN) == opened
