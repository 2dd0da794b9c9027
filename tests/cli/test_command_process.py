"""The command line as a process: interrupted, with streams that are closed, broken or of few characters."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

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
    assert not list((tmp_path / "out").iterdir())


def test_ctrl_c_while_it_is_loaded() -> None:
    """NumPy makes an ImportError of it."""
    for delay in (0.3, 0.5):
        process = _start("create missing.jpg -o missing.glb")
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
