"""``facewright create``, ``refine`` and the probe: with an API key, before a full server, and what is seen
meanwhile."""

from __future__ import annotations

import random
import shlex
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from facewright.cli import batch_progress
from facewright.core.errors import FacewrightError
from facewright.server import probe
from facewright_client.contract import REFINEMENT_INPUTS, ErrorCode
from tests.cli.conftest import Say
from tests.gateway.rest_door import Door, open_door
from tests.support.scripted_house import FILES, refinement_start
from tests.support.scripted_triton import Scripted, wire_error

KEY = "fw_" + "k" * 43


@pytest.fixture
def keyed(scripted: tuple[Scripted, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The address of a server that asks for a key, which lies in the file ``key``."""
    script, url = scripted
    script.key = KEY
    monkeypatch.delenv("FACEWRIGHT_KEY", raising=False)
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "wrong").write_text(KEY[::-1])
    arrays = {
        tensor.name.lower(): np.zeros(tensor.shape, "u1" if tensor.dtype == "TYPE_UINT8" else "f4")
        for tensor in REFINEMENT_INPUTS
    }
    np.savez(tmp_path / "start.npz", **arrays)
    return url


@pytest.mark.parametrize("command", ["create me.jpg -o me.glb", "refine start.npz -o end.npz"])
def test_a_key_is_given_by_a_file_or_the_environment(
    command: str, keyed: str, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"{command} --server {keyed}"
    status, said = say(line)
    assert status == 1
    assert said.count("\n") == 1
    assert "UNAUTHENTICATED: no such key" in said
    assert "--key-file FILE or $FACEWRIGHT_KEY" in said
    status, said = say(f"{line} --key-file wrong")
    assert status == 1
    assert "check the key" in said
    assert KEY[::-1] not in said
    if command.startswith("create"):  # zeros are no refinement that could be told of
        assert say(f"{line} --key-file key")[0] == 0
        monkeypatch.setenv("FACEWRIGHT_KEY", KEY)
        assert say(f"{line} --again")[0] == 0


def test_a_key_that_is_refused_is_told_once_for_all_photos(keyed: str, say: Say) -> None:
    status, said = say(f"create me.jpg you.jpg -o out --parallel 1 --server {keyed}")
    assert status == 1
    assert said.splitlines()[0].startswith("me.jpg: UNAUTHENTICATED: no such key (give the key")
    assert said.splitlines()[1:] == ["0 made, 0 already there, 1 failed, 1 not tried"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--key-file nowhere", "--key-file nowhere cannot be read"),
        ("--key-file pipe.jpg", "--key-file pipe.jpg is no file"),
        ("--key-file empty.jpg", "empty.jpg holds no API key"),
        ("--key-file key --server gpu.example:8001", "to gpu.example:8001 in plain text"),
    ],
)
@pytest.mark.parametrize("command", ["create me.jpg -o me.glb", "refine start.npz -o end.npz"])
def test_a_key_that_cannot_be_shown_is_told_before_anything_is_sent(
    options: str, words: str, command: str, keyed: str, say: Say
) -> None:
    status, said = say(f"{command} --server {keyed} {options}")
    assert status != 0
    assert said.count("\n") == 1
    assert words in said
    assert KEY not in said


@pytest.mark.parametrize(
    "given", ["--key ", "--key=", "--api-key ", "--api-key=", "--key-file ", "--key-file="]
)
def test_no_key_is_an_argument(given: str, keyed: str, say: Say) -> None:
    status, said = say(f"create me.jpg -o me.glb --server {keyed} {given}{KEY}")
    assert status == 2
    assert (
        "a key on a command line is seen by every user of this machine; give it in a file, --key-file" in said
    )
    assert KEY not in said


def test_a_batch_loses_no_photo_to_a_full_server(
    scripted: tuple[Scripted, str], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More refusals than all photos together have attempts."""
    monkeypatch.setattr(random, "uniform", lambda _low, _high: 0.0)  # no pauses
    script, url = scripted
    full = wire_error("OVERLOADED").removesuffix("}") + ', "retry_after_s": 2.5}'
    script.failures = [(grpc.StatusCode.UNAVAILABLE, full)] * 60
    status, said = say(f"create me.jpg you.jpg afile -o out --parallel 3 --server {url}")
    assert status == 0
    assert said.splitlines()[-1] == "3 made, 0 already there, 0 failed"
    assert len(script.requests) == 63


def test_a_photo_whose_time_is_over_is_the_only_one_lost(scripted: tuple[Scripted, str], say: Say) -> None:
    script, url = scripted
    full = wire_error("OVERLOADED").removesuffix("}") + ', "retry_after_s": 600}'
    script.failures = [(grpc.StatusCode.UNAVAILABLE, full)] * 2
    status, said = say(f"create me.jpg you.jpg -o out --parallel 1 --timeout 2 --server {url}")
    assert status == 1
    assert "me.jpg: OVERLOADED: m (h)" in said.splitlines()
    assert said.splitlines()[-1] == "1 made, 0 already there, 1 failed"


def test_what_a_batch_waits_for_is_not_told_with_every_photo(
    scripted: tuple[Scripted, str], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_progress, "_PATIENCE_S", 0.02)
    script, url = scripted
    full = wire_error("OVERLOADED").removesuffix("}") + ', "retry_after_s": 0.3}'
    failure = grpc.StatusCode.UNAVAILABLE, full
    script.failures = [failure, None, failure, None, failure]
    status, said = say(f"create me.jpg you.jpg afile -o out --parallel 1 --server {url}")
    assert status == 0
    assert len(script.requests) == 6
    assert said.count(f"waiting up to 120 s for the server at {url}: m (h)") == 1


def test_the_stages_of_one_photo_are_seen_on_a_terminal(
    scripted: tuple[Scripted, str], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, url = scripted
    script.stages = ("find_face", "fit_head")
    assert "fit head" not in say(f"create me.jpg -o me.glb --server {url}")[1], "this is none"
    assert len(script.requests[-1].parameters) == 0
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    status, said = say(f"create me.jpg -o me.glb --again --server {url}")
    assert status == 0
    assert "fit head" in said
    assert "warning: blurred" in said
    status, said = say(f"create me.jpg you.jpg -o out --server {url}")
    assert status == 0
    assert "2/2" in said
    assert "fit head" not in said


def test_a_refinement_is_seen_on_a_terminal(
    scripted: tuple[Scripted, str], keyed: str, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted[0].key = None
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert "2/2" in say(f"refine start.npz -o end.npz --server {keyed}")[1]


@pytest.fixture
def doors(scripted: tuple[Scripted, str]) -> Iterator[tuple[Door, tuple[str, str]]]:
    """REST, and the addresses of gRPC and REST, which answer the same."""
    with open_door() as door:
        scripted[0].contents.update(FILES)
        yield door, (scripted[1], f"http://127.0.0.1:{door.port}")


def test_rest_and_grpc_make_the_same_files(doors: tuple[Door, tuple[str, str]], say: Say) -> None:
    made = []
    for number, url in enumerate(doors[1]):
        status, said = say(f"create me.jpg you.jpg -o {number} --preview --report --code --server {url}")
        assert status == 0, said
        files = {path.name: path.read_bytes() for path in Path(str(number)).iterdir() if path.name[0] != "."}
        made.append((sorted(said.splitlines()), files))  # the photos are asked for side by side
    assert made[0] == made[1]
    assert len(made[1][1]) == 8
    assert say(f"create me.jpg you.jpg -o one.glb --together --server {doors[1][1]}")[0] == 0
    assert "merge_avatars" in [call.pipeline for call in doors[0].house.calls]


@pytest.mark.parametrize("code", ["NO_FACE", "OVERLOADED", "UNAUTHENTICATED", "DEADLINE_EXCEEDED"])
def test_rest_and_grpc_say_the_same_of_a_failure(
    code: str, doors: tuple[Door, tuple[str, str]], scripted: tuple[Scripted, str], say: Say
) -> None:
    door, urls = doors
    scripted[0].failures = [(grpc.StatusCode.UNAVAILABLE, wire_error(code))] * 99
    door.house.failures += [FacewrightError(ErrorCode(code), "m", "h", "find_face") for _ in range(99)]
    told = [say(f"create me.jpg -o me.glb --timeout 1 --server {url}") for url in urls]
    assert [status for status, _ in told] == [1, 1]
    assert told[0][1].replace(urls[0], "there") == told[1][1].replace(urls[1], "there")
    assert code in told[1][1] or code == "OVERLOADED"


def test_a_refinement_over_rest(doors: tuple[Door, tuple[str, str]], say: Say) -> None:
    Path("start.npz").write_bytes(refinement_start())
    status, said = say(f"refine start.npz -o end.npz --server {doors[1][1]}")
    assert status == 0, said
    with np.load("end.npz") as arrays:
        assert arrays["w_plus"].shape == (14, 512)


def test_a_probe_shows_a_key(
    keyed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def probed(options: str) -> tuple[int, str]:
        return probe.main(shlex.split(f"{options} {keyed} 20")), capsys.readouterr().err

    assert probed(f"--key-file {tmp_path / 'key'}") == (0, "")
    status, said = probed("")
    assert status == 0, "a key that has ended must not end the server, too"
    assert f"{keyed} answers, and no photo was tried: no such key (give the key" in said
    monkeypatch.setenv("FACEWRIGHT_KEY", KEY)
    assert probed("") == (0, "")
    assert probed(f"--key-file {tmp_path / 'nowhere'}")[0] == 1
