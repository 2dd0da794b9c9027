"""The table refuses what Triton could not run: missing tensors, two sources of one, steps side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from facewright.core.options import Option
from facewright.pipelines.stages import Network, Pipeline, Stage, reports
from facewright.pipelines.twin import AVATAR_TWIN, FACE_LANDMARKS, FIT_HEAD
from facewright_client.contract import PHOTO, Tensor

A, B, C = (Tensor(name, "TYPE_FP32", (3,)) for name in "ABC")
OPEN = Stage("open", (PHOTO,), (A,), opens=True)
NET = Network("net", (A,), (B,))
END = Stage("end", (B,), (C,))


def _pipeline(*steps: Stage, gives: tuple[Tensor, ...] = (C,), **more: Any) -> Pipeline:
    return Pipeline("p", steps, more.pop("options", {}), gives=gives, **more)


def test_a_sound_pipeline() -> None:
    row = _pipeline(OPEN, NET, END)
    assert row.is_ensemble
    assert row.request_output.name == "REQUEST_p"


@pytest.mark.parametrize(
    ("steps", "gives", "message"),
    [
        ((), (), "has no steps"),
        ((NET,), (B,), "begins with net, which opens no request"),
        ((OPEN, replace(OPEN, name="again", gives=(B,))), (B,), "again opens requests and is not the first"),
        ((OPEN, END), (C,), "end takes B, which no step before gives"),
        ((OPEN, NET, replace(END, gives=(A,))), (A,), "end gives A a second time; rename it"),
        ((OPEN, NET), (C,), "gives C, which no step gives"),
        ((OPEN, replace(NET, takes=(PHOTO,))), (B,), "net could run beside open"),
        ((OPEN, NET, replace(END, takes=(A,))), (C,), "end could run beside net"),
        ((OPEN, replace(END, takes=(A,), options=("shine",))), (C,), "no option shine, which end reads"),
    ],
)
def test_what_cannot_run_is_refused(
    steps: tuple[Stage, ...], gives: tuple[Tensor, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _pipeline(*steps, gives=gives)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../evil"}, "small letters"),
        ({"name": ""}, "small letters"),
        ({"steps": (OPEN,), "gives": (A,)}, "p is one step, and so that stage itself: call it open"),
        ({"options": {"timeout": Option(int, 1)}}, "timeout belongs to the protocol"),
        ({"options": {"shine": Option(float, 2.0, 0.0, 1.0)}}, "a default is not allowed"),
        ({"steps": (OPEN, NET, replace(END, streams=True))}, "end answers several times"),
    ],
)
def test_what_could_not_be_served_is_refused(changes: dict[str, Any], message: str) -> None:
    row = {"name": "p", "steps": (OPEN, NET, END), "options": {}, "gives": (C,)} | changes
    with pytest.raises(ValueError, match=message):
        Pipeline(**row)


def test_what_a_caller_may_leave_out_is_no_stages_need() -> None:
    maybe = replace(B, optional=True)
    with pytest.raises(ValueError, match="end must have B, which a caller may leave out"):
        _pipeline(OPEN, replace(END, takes=(A, B)), takes=(PHOTO, maybe))
    _pipeline(OPEN, replace(END, takes=(A, maybe)), takes=(PHOTO, maybe))


@pytest.mark.parametrize("name", ["REQUEST", "SECTIONS_2", "EARLIER_SECTIONS"])
def test_names_of_what_travels_along_are_taken(name: str) -> None:
    with pytest.raises(ValueError, match="what travels along"):
        Stage("s", (A,), (Tensor(name, "TYPE_FP32", (3,)),))


def test_being_optional_survives_another_name() -> None:
    step = replace(END, takes=(A, replace(B, optional=True))).renamed({B: Tensor("D", "TYPE_FP32", (3,))})
    assert [tensor.optional for tensor in step.takes] == [False, True]


def test_stages_with_sections_wait_for_each_other_without_sharing_tensors() -> None:
    _pipeline(OPEN, replace(END, takes=(PHOTO,)))


def test_optional_tensors_may_be_missing() -> None:
    row = _pipeline(OPEN, replace(END, takes=(A, replace(B, optional=True))))
    assert row.steps[1].takes[1] == B, "being optional belongs to the place, not to the tensor"


def test_an_option_that_a_step_reads_is_the_pipelines() -> None:
    _pipeline(OPEN, replace(END, takes=(A,), options=("shine",)), options={"shine": Option(float, 0.5)})


def test_a_renamed_stage_is_the_same_model() -> None:
    other = Tensor("FIRST_NEUTRAL", "TYPE_FP32", (-1, 3))
    neutral = next(tensor for tensor in FIT_HEAD.gives if tensor.name == "NEUTRAL_VERTICES")
    step = FIT_HEAD.renamed({neutral: other})
    assert other in step.gives
    assert neutral not in step.gives
    assert step.own_name(other) == "NEUTRAL_VERTICES"
    assert step.as_model() == FIT_HEAD


def test_names_of_a_network_are_its_own() -> None:
    network = replace(NET, renames={"input": A, "output": B})
    step = network.renamed({B: C})
    assert (step.own_name(A), step.own_name(C)) == ("input", "output")
    assert [tensor.name for tensor in (*step.as_model().takes, *step.as_model().gives)] == ["input", "output"]


def test_what_is_not_at_a_border_cannot_be_renamed() -> None:
    with pytest.raises(ValueError, match="renames C, which it neither takes nor gives"):
        replace(NET, renames={"x": C})
    with pytest.raises(ValueError, match="two tensors of one name"):
        replace(NET, takes=(A, C), renames={"C": A})
    with pytest.raises(ValueError, match="renames one tensor twice"):
        replace(NET, renames={"x": A, "y": A})


def test_only_steps_up_to_what_is_wanted_run() -> None:
    names = [step.name for step in AVATAR_TWIN.steps_for({FACE_LANDMARKS.gives[0]})]
    assert names == ["find_face", "face_landmarks"]
    assert AVATAR_TWIN.steps_for(AVATAR_TWIN.gives) == AVATAR_TWIN.steps


def _run_by_triton(pipeline: Pipeline, asked: set[str]) -> list[str]:
    """The steps that are left when Triton 2.51 has left out what nobody wants.

    Source: ``EnsembleContext::EnsembleContext`` of triton-inference-server/core.
    """
    steps = [_with_sections(pipeline, step) for step in pipeline.steps]
    givers = {tensor.name: step for step in steps for tensor in step.gives}
    takers = {name: {step.name for step in steps if name in _names(step.takes)} for name in givers}
    counts = {step.name: len(step.gives) for step in steps}
    ignored = {tensor.name for tensor in pipeline.gives} - asked
    left_out: set[str] = set()
    while ignored:
        newly = set()
        for name in sorted(ignored):
            step = givers[name]
            counts[step.name] -= 1
            if counts[step.name] == 0:
                left_out.add(step.name)
                for taken in _names(step.takes) & givers.keys():
                    takers[taken].discard(step.name)
                    if not takers[taken]:
                        newly.add(taken)
        ignored = newly
    return [step.name for step in pipeline.steps if step.name not in left_out]


@dataclass(frozen=True)
class _Border:
    """A step as the ensemble has it: its own tensors, and the sections that it takes and hands on."""

    name: str
    takes: tuple[Tensor, ...]
    gives: tuple[Tensor, ...]


def _with_sections(pipeline: Pipeline, step: Stage) -> _Border:
    reporting = [one.name for one in pipeline.steps if reports(one)]
    takes, gives = step.takes, step.gives
    if step.name in reporting[1:]:
        takes += (Tensor(f"OF_{reporting[reporting.index(step.name) - 1]}", "TYPE_UINT8", (-1,)),)
    if step.name in reporting[:-1]:
        gives += (Tensor(f"OF_{step.name}", "TYPE_UINT8", (-1,)),)
    return _Border(step.name, takes, gives)


def _names(tensors: Iterable[Tensor]) -> set[str]:
    return {tensor.name for tensor in tensors}


def _needed(pipeline: Pipeline, name: str) -> set[str]:
    """The step that gives a tensor, and those that it hangs on."""
    for step in (_with_sections(pipeline, one) for one in pipeline.steps):
        if name in _names(step.gives):
            return {step.name}.union(*(_needed(pipeline, taken) for taken in _names(step.takes)))
    return set()


def test_what_is_asked_for_beside_keeps_the_steps_that_are_needed() -> None:
    lost = 0
    asked = [{tensor.name} for tensor in AVATAR_TWIN.gives]
    asked += [{"GLB", "REPORT"}, {"GLB", "REPORT", "PREVIEW"}, {"GLB", "CODE"}, {"REPORT", "LANDMARKS"}]
    for wanted in asked:
        needed = set().union(*(_needed(AVATAR_TWIN, name) for name in wanted))
        lost += not needed <= set(_run_by_triton(AVATAR_TWIN, wanted))
        also = AVATAR_TWIN.also_wanted(wanted)
        ran = _run_by_triton(AVATAR_TWIN, {*wanted, *also})
        assert needed <= set(ran), wanted
        assert _names(AVATAR_TWIN.gives) >= set(also)
        assert "render_preview" not in ran or "PREVIEW" in wanted
    assert lost > 3, "of what is wanted alone"


def test_weights_are_listed_once() -> None:
    files = [weights.file for weights in AVATAR_TWIN.weights]
    assert sorted(set(files)) == sorted(files)
    assert {"head.npz", "face_landmarks.onnx", "person_mask.onnx"} <= set(files)
