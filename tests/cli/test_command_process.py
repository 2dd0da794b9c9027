"""The command line as a process: interrupted, with streams that are closed, broken or of few characters."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.scripted_triton import Scripted


def _start(line: str, **redirected: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "facewright.cli", *shlex.split(line)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | redirected
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True, **streams)  # type: ignore[call-overload,no-any-return]


def test_ctrl_c_leaves_nothing_behind(scripted: tuple[Scripted, str], tmp_path: Path) -> None:
    script, url = scripted
    script.release.clear()
    (tmp_path / "me.jpg").write_bytes(b"photo")
    process = _start(f"create {tmp_path}/me.jpg -o {tmp_path}/out --server {url}")
    assert script.arrived.wait(60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert script.cancelled.wait(30), "the server works on"
    assert not (tmp_path / "out").exists()


def test_ctrl_c_while_it_is_loaded() -> None:
    """NumPy makes an ImportError of it; before our first line Python itself would be interrupted."""
    for delay in (0.0, 0.1):
        process = _start("create missing.jpg -o missing.glb")
        maps = Path(f"/proc/{process.pid}/maps")
        while process.poll() is None and "numpy" not in maps.read_text():
            time.sleep(0.001)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1]
        assert "Traceback" not in err
        assert "ImportError" not in err


def test_a_reader_that_has_seen_enough() -> None:
    for redirected in ("stdout", "stderr"):
        reading, writing = os.pipe()
        os.close(reading)
        process = _start("--help" if redirected == "stdout" else "creat", **{redirected: writing})
        os.close(writing)
        out, err = process.communicate(timeout=60)
        assert not (out or "") + (err or "")


def test_standard_streams_that_are_closed(tmp_path: Path) -> None:
    """A file that is opened must not become standard error."""
    for closed in ("2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        command = (
            f"{sys.executable} -m facewright.cli create {tmp_path}/none.jpg -o {tmp_path}/me.glb {closed}"
        )
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_a_terminal_without_the_characters() -> None:
    """Of a message on standard output, too."""
    code = "from facewright.cli.messages import prepare_streams; prepare_streams(); print('starting …')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "starting \\u2026\n"


def test_a_log_that_nobody_can_write_loses_no_avatar(scripted: tuple[Scripted, str], tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    photos = ["empty.jpg", *(f"{number}.jpg" for number in range(6))]
    for name in photos[1:]:
        (tmp_path / name).write_bytes(name.encode())
    for number, redirected in enumerate(("2>/dev/full", "2>&-", "2>&1 | head -1", "2>&1 | true")):
        out = tmp_path / str(number)
        command = f"{sys.executable} -m facewright create {' '.join(photos)} -o {out} --server {scripted[1]}"
        said = subprocess.run(
            ["bash", "-c", f"{command} {redirected}; exit ${{PIPESTATUS[0]}}"],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert said.returncode == 1, "one photo is empty"
        assert said.stdout.count("\n") == (1 if "head" in redirected else 0)
        assert said.stderr == ""
        assert len(list(out.glob("*.glb"))) == 6, redirected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("create me.jpg -o me.glb", "may have 12 open files, and this command needs 64; mend: raise"),
        ("refine me.npz -o r.npz", "may have 12 open files, and this command needs 64"),
        ("serve --grpc-port 0 --http-port 0", "may have 12 open files, and a server needs 256"),
    ],
)
def test_too_few_open_files_are_told_before_grpc_aborts(line: str, words: str) -> None:
    limited = ["sh", "-c", 'ulimit -n 12; exec "$0" "$@"', sys.executable, "-m", "facewright.cli"]
    done = subprocess.run(
        [*limited, *shlex.split(line)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_results_that_cannot_be_written_are_told() -> None:
    for line in ("--version", "--help", "create --help"):
        with open("/dev/full", "wb") as full:
            process = _start(line, stdout=full.fileno())
        err = process.communicate(timeout=60)[1]
        assert (process.returncode, err) == (1, "error: standard output: No space left on device\n"), line


def test_a_current_folder_that_is_gone(tmp_path: Path) -> None:
    for line in ("create me.jpg -o me.glb", "doctor --quiet", "--version"):
        command = f"mkdir gone && cd gone && rmdir ../gone && {sys.executable} -m facewright {line}"
        done = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        words = "the current folder is not there any more; mend: cd into one that is"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {words}\n")


@pytest.mark.parametrize("ignored", ["", "trap '' INT;"], ids=["", "in the background"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_batch_that_is_ended_says_how_far_it_is(
    number: signal.Signals, ignored: str, scripted: tuple[Scripted, str], tmp_path: Path
) -> None:
    script, url = scripted
    if ignored and number == signal.SIGINT:
        pytest.skip("it is ignored")
    script.release.clear()
    for name in ("me.jpg", "you.jpg"):
        (tmp_path / name).write_bytes(b"photo")
    line = f"{sys.executable} -m facewright create me.jpg you.jpg -o out --parallel 1 --server {url}"
    process = subprocess.Popen(
        ["sh", "-c", f"{ignored} exec {line}"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert script.arrived.wait(60)
    process.send_signal(number)
    err = process.communicate(timeout=60)[1]
    word = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert err.splitlines() == [
        "0 made, 0 already there, 0 failed, 2 not tried; the same command makes the rest",
        word,
    ]
    assert process.returncode == 128 + number
    assert script.cancelled.wait(30), "the server works on"
