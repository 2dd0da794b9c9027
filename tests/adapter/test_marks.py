"""What stages say while they work, heard at a real socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from facewright.adapter.marks import MOST_BYTES, NAMELESS, VARIABLE, ExecutionMarks, Mark, marked_id
from facewright.adapter.stage_model import BatchModel, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.pipelines.stages import Stage
from facewright_client.contract import PHOTO, Tensor
from tests.support.triton_stub import Request, load_adapter

_ANSWER = Tensor("ANSWER", "TYPE_UINT8", (1,))
_ROW = Stage("weigh_photo", (PHOTO,), (_ANSWER,), opens=True)
_GIVEN = {"PHOTO": np.ones(3, np.uint8)}
#: An execution's number and its requests to a mark of the stage's.
_mark = partial(Mark, "weigh_photo", "weigh_photo_0_1")
_LOADED = _mark(0)


class Heard:
    """A socket that listens for one stage."""

    def __init__(self, path: Path) -> None:
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(str(path))
        self._listening.listen()
        self._connection: socket.socket | None = None

    def marks(self) -> list[Mark]:
        """All that was said since the last call."""
        if self._connection is None:
            self._connection, _ = self._listening.accept()
            self._connection.setblocking(False)
        marks: list[Mark] = []
        while True:
            try:
                message = self._connection.recv(MOST_BYTES)
            except BlockingIOError:
                return marks
            if not message:
                return marks
            marks.append(Mark.decoded(message))

    def close(self) -> None:
        """As when the gateway ends."""
        self._listening.close()
        if self._connection is not None:
            self._connection.close()


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "marks"))
    listening = Heard(tmp_path / "marks")
    yield listening
    listening.close()


class Weigh(StageModel):
    """Answers with the photo's size; of none, it fails."""

    stage: ClassVar[Stage] = _ROW

    def compute(self, request: StageRequest) -> Outputs:
        if not len(request.photo()):
            raise RuntimeError("nothing to weigh")
        request.still_wanted()
        return {_ANSWER: np.full(1, len(request.photo()), np.uint8)}


class WeighTogether(BatchModel):
    """The same of several photos."""

    stage: ClassVar[Stage] = _ROW

    def accept(self, request: StageRequest) -> int:
        return len(request.photo())

    def compute_batch(self, accepted: Sequence[int]) -> list[Outputs]:
        return [{_ANSWER: np.full(1, size, np.uint8)} for size in accepted]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Any]]:
    """Starts a stage's model as Triton does."""
    load_adapter(monkeypatch, "facewright.adapter.triton_stage")
    models = []

    def start(model: Any) -> Any:
        config = json.dumps({"output": [{"name": "ANSWER"}]})
        model.initialize({"model_config": config, "model_instance_name": "weigh_photo_0_1"})
        models.append(model)
        return model

    yield start
    for model in models:
        model._triton._marks.close()


def _request(name: str, photo: np.ndarray[Any, Any] = _GIVEN["PHOTO"]) -> Request:
    return Request({"PHOTO": photo}, ["ANSWER"], name=name)


def test_a_stage_says_what_it_begins_and_ends(heard: Heard, loaded: Callable[[Any], Any]) -> None:
    stage = loaded(Weigh())
    assert heard.marks() == [_LOADED]
    first, failed = stage.execute([_request("first"), _request("second", np.ones(0, np.uint8))])
    assert first.arrays()["ANSWER"] == 3
    assert failed.error is not None
    assert heard.marks() == [
        _mark(1, ("first",)),
        _mark(1),
        _mark(2, ("second",)),
        _mark(2),
    ]


def test_a_batch_is_held_together(heard: Heard, loaded: Callable[[Any], Any]) -> None:
    stage = loaded(WeighTogether())
    assert len(stage.execute([_request("first"), _request("second")])) == 2
    assert heard.marks() == [
        _LOADED,
        _mark(1, ("first", "second")),
        _mark(1),
    ]


def test_a_stage_that_asks_whether_it_is_wanted_says_that_it_lives(
    heard: Heard, loaded: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = loaded(Weigh())
    monkeypatch.setattr("facewright.adapter.marks.STILL_HERE_EVERY_S", 0.0)
    stage.execute([_request("first")])
    held = _mark(1, ("first",))
    # It is asked when the request is accepted, and by the model.
    assert heard.marks() == [_LOADED, held, held, held, _mark(1)]


def test_it_says_so_once_a_second_at_most(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("facewright.adapter.marks.time.monotonic", lambda: now[0])
    with closing(ExecutionMarks("weigh_photo", "weigh_photo_0_1")) as marks:
        marks.still_here()
        assert heard.marks() == [_LOADED]
        with marks.holding(["first"]):
            for now[0] in (0.5, 0.9, 1.1, 1.5, 2.0, 2.2):
                marks.still_here()
        held = _mark(1, ("first",))
        assert heard.marks() == [held, held, held, _mark(1)]


def test_nobody_need_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("", str(tmp_path / "nobody"), str(tmp_path / ("long" * 50))):
        monkeypatch.setenv(VARIABLE, path)
        marks = ExecutionMarks("weigh_photo", "weigh_photo_0_1")
        with marks.holding(["first"]):
            marks.still_here()


def test_who_listens_may_end(heard: Heard) -> None:
    marks = ExecutionMarks("weigh_photo", "weigh_photo_0_1")
    heard.marks()
    heard.close()
    for _ in range(2):
        with marks.holding(["first"]):
            marks.still_here()


def test_who_does_not_listen_is_not_waited_for_and_hears_what_holds_later(heard: Heard) -> None:
    with closing(ExecutionMarks("weigh_photo", "weigh_photo_0_1")) as marks:
        for _ in range(2000):
            with marks.holding(["first"]):
                pass
        early = heard.marks()
        assert early[0] == _LOADED
        assert len(early) < 2000, "the kernel keeps some hundreds; the rest is lost"
        with marks.holding(["last"]):
            assert heard.marks() == [_mark(2001, ("last",))]


@pytest.mark.parametrize(
    ("given", "marked"),
    [
        ("3f2a-1", "3f2a-1"),
        ("", NAMELESS),
        ("two words", NAMELESS),
        ("line\nline", NAMELESS),
        ("ü", NAMELESS),
        ("x" * 128, "x" * 128),
        ("x" * 129, NAMELESS),
    ],
)
def test_ids_that_callers_chose(given: str, marked: str) -> None:
    assert marked_id(given) == marked
    mark = _mark(1, (marked_id(given),))
    assert Mark.decoded(mark.encoded()) == mark


def test_the_largest_batch_of_the_longest_ids_is_a_mark() -> None:
    mark = _mark(10**17, tuple(f"{number:0128}" for number in range(32)))
    assert Mark.decoded(mark.encoded()) == mark


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"1",
        b"1 bake_texture bake_texture_0_0",
        b"2 bake_texture bake_texture_0_0 1",
        b"1 bake_texture bake_texture_0_0 one",
        b"1 bake_texture bake_texture_0_0 -1",
        b"1 bake_texture bake_texture_0_0 9999999999999999999",
        b"1 bake_texture  1",
        b"1 bake_texture bake_texture_0_0 1 ",
        b"1 bake_texture bake_texture_0_0 1 a\nb",
        b"1 bake_texture bake_texture_0_0 1 a\0",
        "1 bake_texture bake_texture_0_0 1 ü".encode(),
        "1 bake_texture bake_texture_0_0 ١".encode(),
        b"1 bake_texture bake_texture_0_0 1 " + b"x" * 129,
        b"1 bake_texture bake_texture_0_0 1" + b" x" * MOST_BYTES,
        bytes(range(256)),
    ],
)
def test_what_is_no_mark(message: bytes) -> None:
    with pytest.raises(ValueError, match="no mark"):
        Mark.decoded(message)
