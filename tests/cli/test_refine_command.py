"""``facewright refine``: what it reads, and what it says when it cannot."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facewright.cli import main
from facewright.pipelines.refinement import REFINE_OPTIONS
from facewright.refine.start_file import read_start
from tests.cli.conftest import Say
from tests.support.scripted_triton import Scripted

ARRAYS = {
    "face_crop": np.zeros((1024, 1024, 3), np.uint8),
    "face_mask": np.zeros((256, 256), np.uint8),
    "intrinsics": np.eye(3, dtype=np.float32),
    "head_to_camera": np.eye(3, 4, dtype=np.float32),
    "sh_light": np.zeros((9, 3), np.float32),
    "w_plus": np.zeros((14, 512), np.float32),
}


def test_a_start_is_read_by_names(tmp_path: Path) -> None:
    path = tmp_path / "start.npz"
    np.savez(path, note=np.zeros(1), **ARRAYS)  # type: ignore[arg-type]
    with path.open("rb") as file:
        start = read_start(file, "start.npz")
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(getattr(start, name), array)


def test_missing_arrays_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "start.npz"
    np.savez(path, **{name: array for name, array in ARRAYS.items() if name != "face_mask"})
    assert main(["refine", str(path), "-o", str(tmp_path / "out.npz"), "--server", "127.0.0.1:1"]) == 1
    assert "has no face_mask; it has face_crop" in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


def test_other_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "start.npy"
    np.save(path, ARRAYS["w_plus"])
    arguments = ["-o", str(tmp_path / "out.npz"), "--server", "127.0.0.1:1"]
    assert main(["refine", str(path), *arguments]) == 1
    assert "is no .npz file" in capsys.readouterr().err
    assert main(["refine", str(tmp_path / "none.npz"), *arguments]) == 1
    assert "No such file" in capsys.readouterr().err


def test_a_bad_option_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["refine", str(tmp_path / "none.npz"), "-o", str(tmp_path / "out.npz")]
    assert main([*arguments, "--iterations", "0"]) == 2
    assert "iterations is '0'" in capsys.readouterr().err


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["refine", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name, option in REFINE_OPTIONS.items():
        assert f"--{name.replace('_', '-')}" in text
        assert option.meaning.split(";")[0] in text


def test_refine_when_nothing_listens(say: Say) -> None:
    _save_start("start.npz")
    status, said = say("refine start.npz -o r.npz --server 127.0.0.1:1")
    assert status == 1
    assert said.startswith("error: UNAVAILABLE: nothing listens at 127.0.0.1:1; mend: start a server with ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("line", ["-o there.npz", "-o r.npz --preview there.jpg"])
def test_a_pipe_is_not_written_over(line: str, say: Say) -> None:
    _save_start("start.npz")
    os.mkfifo(line.rsplit(maxsplit=1)[-1])
    status, said = say(f"refine start.npz {line} --server 127.0.0.1:1")
    assert status == 2
    assert "is no file, but a pipe, a socket or a device; mend: give another file" in said


def test_a_result_is_written_through_a_link(scripted: tuple[Scripted, str], say: Say) -> None:
    _save_start("start.npz")
    Path("far").mkdir()
    Path("r.npz").symlink_to("far/r.npz")
    say(f"refine start.npz -o r.npz --server {scripted[1]}")
    assert "w_plus" in np.load("far/r.npz")
    assert Path("r.npz").is_symlink()


def test_a_result_from_before_it_diverged_comes_with_a_warning(
    scripted: tuple[Scripted, str], say: Say
) -> None:
    script, url = scripted
    info = {"ended": "diverged", "iterations": 9, "best_iteration": 6, "first_loss": 0.2, "best_loss": 0.1}
    script.refinement_info = json.dumps(info | {"ms_per_iteration": 1.0}).encode()
    _save_start("start.npz")
    status, said = say(f"refine start.npz -o r.npz --server {url}")
    assert status == 0
    assert "warning: it diverged: iteration 9 has no finite loss; r.npz is of iteration 7" in said
    assert "--learning-rate" in said


class _Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return os.remove, ("me.jpg",)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([_Bomb()], dtype=object), "w_plus in start.npz is pickled, and is not read"),
        (np.zeros((14, 512)), "w_plus in start.npz is float64; mend: convert it to float32"),
        (np.zeros((18, 512), np.float32), "has shape [18, 512]; mend: it takes [14, 512]"),
        (np.float32(0), "has shape []"),
    ],
    ids=["pickled", "float64", "shape", "scalar"],
)
def test_a_start_that_is_none(array: np.ndarray, words: str, say: Say) -> None:
    _save_start("start.npz", w_plus=array)
    status, said = say("refine start.npz -o r.npz --server 127.0.0.1:1")
    assert status == 1
    assert words in said
    assert said.count("\n") == 1
    assert Path("me.jpg").exists(), "it was unpickled"


@pytest.mark.parametrize("place", [100, 400, -30])
def test_a_start_with_wrong_bytes(place: int, say: Say) -> None:
    _save_start("start.npz")
    content = bytearray(Path("start.npz").read_bytes())
    content[place : place + 20] = b"\xaa" * 20
    Path("start.npz").write_bytes(content)
    status, said = say("refine start.npz -o r.npz --server 127.0.0.1:1")
    assert status == 1
    assert "start.npz is damaged: " in said
    assert said.count("\n") == 1


def test_a_start_of_which_a_part_is_missing(say: Say) -> None:
    _save_start("start.npz")
    content = Path("start.npz").read_bytes()
    for length in (4, 1000, len(content) - 30):
        Path("start.npz").write_bytes(content[:length])
        status, said = say("refine start.npz -o r.npz --server 127.0.0.1:1")
        assert status == 1
        assert said.startswith("error: start.npz is damaged: ")
        assert said.endswith("mend: copy it again, or write it again with numpy.savez\n")


def _save_start(path: str, **other: np.ndarray) -> None:
    np.savez_compressed(path, **(ARRAYS | other))  # type: ignore[arg-type]


def test_a_refinement_out_of_time_is_told_how_to_keep_its_work(
    scripted: tuple[Scripted, str], say: Say
) -> None:
    np.savez("start.npz", **ARRAYS)  # type: ignore[arg-type]
    script, url = scripted
    script.release.clear()
    try:
        status, said = say(f"refine start.npz -o r.npz --server {url} --timeout 0.5")
    finally:
        script.release.set()
    assert status == 1
    assert "DEADLINE_EXCEEDED" in said
    assert said.endswith("; --deadline-ms N, less than --timeout, answers with the best so far\n")
