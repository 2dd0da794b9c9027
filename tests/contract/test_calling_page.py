"""The samples of docs/calling.md and of the README, run against both doors as a reader would."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from facewright.gateway.call import Call, Caller
from facewright.gateway.kserve import Doorway, GrpcDoor
from facewright.gateway.statuses import STATUS
from facewright.pipelines.registry import pipelines
from facewright_client.contract import ErrorCode
from tests.gateway.rest_door import PATIENCE_S, open_door
from tests.support.scripted_house import GLB, ScriptedHouse, refinement_start

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "calling.md").read_text()
_LIBCURL = [Path("/usr/include/curl/curl.h"), Path("/usr/include/x86_64-linux-gnu/curl/curl.h")]


@dataclass(frozen=True)
class Sample:
    """A block of a page."""

    language: str
    text: str


def _samples(page: str) -> list[Sample]:
    """Those that are to be run; a sample that is "not compiled here" says so in the line before."""
    found = []
    blocks = r"^(?P<before>[^\n]*)\n\n```(?P<language>\w+)\n(?P<text>.*?)(?=^```)"
    for block in re.finditer(blocks, page, re.MULTILINE | re.DOTALL):
        if block["language"] in _RUNNERS and "not compiled here" not in block["before"]:
            found.append(Sample(block["language"], block["text"]))
    return found


def _bash(_folder: Path, sample: Path) -> list[list[str]]:
    return [["bash", "-euo", "pipefail", str(sample)]]


def _python(_folder: Path, sample: Path) -> list[list[str]]:
    return [[sys.executable, str(sample)]]


def _js(_folder: Path, sample: Path) -> list[list[str]]:
    return [["node", str(sample)]]


def _go(_folder: Path, sample: Path) -> list[list[str]]:
    return [["go", "run", str(sample)]]


def _cpp(folder: Path, sample: Path) -> list[list[str]]:
    program = str(folder / "avatar")
    return [["g++", "-std=c++17", "-Wall", "-Werror", str(sample), "-lcurl", "-o", program], [program]]


def _csharp(folder: Path, sample: Path) -> list[list[str]]:
    program = str(folder / "avatar.exe")
    return [
        ["mcs", "-r:System.Net.Http.dll", f"-out:{program}", str(sample)],
        ["mono", program],
    ]


#: How a language's samples are run, and what they need.
_RUNNERS: dict[str, tuple[str, tuple[str, ...], Callable[[Path, Path], list[list[str]]]]] = {
    "bash": ("sh", ("bash", "curl", "jq"), _bash),
    "python": ("py", (), _python),
    "js": ("mjs", ("node",), _js),
    "go": ("go", ("go",), _go),
    "cpp": ("cpp", ("g++",), _cpp),
    "csharp": ("cs", ("mcs", "mono"), _csharp),
}


class _House(ScriptedHouse):
    """Answers as Triton does: with tensors in an order of its own, and about a pipeline."""

    async def answer(self, call: Call) -> bytes:
        answer = service_pb2.ModelInferResponse.FromString(await super().answer(call))
        for members in (answer.outputs, answer.raw_output_contents):
            kept = list(members)
            del members[:]
            members.extend(reversed(kept))
        return bytes(answer.SerializeToString())

    async def ask(self, _method: str, question: bytes, _timeout_s: float) -> bytes:
        name = service_pb2.ModelMetadataRequest.FromString(question).name
        return bytes(service_pb2.ModelMetadataResponse(name=name, platform="ensemble").SerializeToString())


@pytest.fixture(scope="module")
def doors() -> Iterator[dict[str, str]]:
    """Where the doors of samples really are."""
    house: Any = _House()
    house.stages = ("find_face", "fit_head")
    with open_door() as rest:
        rest.house.stages = house.stages

        async def start() -> tuple[GrpcDoor, int]:
            door = GrpcDoor(Doorway(house, pipelines(), lambda _headers, peer: Caller(peer)))
            port = door.listen("127.0.0.1:0")
            await door.start()
            return door, port

        door, port = asyncio.run_coroutine_threadsafe(start(), rest.loop).result(PATIENCE_S)
        yield {"localhost:8000": f"127.0.0.1:{rest.port}", "localhost:8001": f"127.0.0.1:{port}"}
        asyncio.run_coroutine_threadsafe(door.stop(0), rest.loop).result(PATIENCE_S)


def _run(sample: Sample, doors: dict[str, str], folder: Path) -> str:
    """What it writes to standard output, in a folder with two photos."""
    suffix, programs, commands = _RUNNERS[sample.language]
    missing = [program for program in programs if shutil.which(program) is None]
    if missing or (sample.language == "cpp" and not any(path.exists() for path in _LIBCURL)):
        pytest.skip(f"{', '.join(missing) or 'libcurl'} is not installed")
    text = sample.text
    for named, real in doors.items():
        text = text.replace(named, real)
    source = folder / f"sample.{suffix}"
    source.write_text(text)
    for photo in ("me.jpg", "you.jpg"):
        (folder / photo).write_bytes(b"a photo")
    (folder / "start.npz").write_bytes(refinement_start())
    grpcurl = folder / "bin" / "grpcurl"
    grpcurl.parent.mkdir()
    command = shlex.join([sys.executable, str(_ROOT / "tests" / "support" / "grpcurl.py")])
    grpcurl.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    grpcurl.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{grpcurl.parent}:{os.environ['PATH']}",
        "FACEWRIGHT_KEY": "fw_of_nobody",
        "CGO_ENABLED": "0",
        "no_proxy": "*",
    }
    told = ""
    for arguments in commands(folder, source):
        done = subprocess.run(
            arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told = done.stdout
    return told


def _names() -> Iterator[Any]:
    counted: dict[str, int] = {}
    for sample in _samples(_PAGE):
        counted[sample.language] = counted.get(sample.language, 0) + 1
        slow = [pytest.mark.slow] if sample.language == "go" else []  # it compiles its own library first
        yield pytest.param(sample, id=f"{sample.language} {counted[sample.language]}", marks=slow)


@pytest.mark.parametrize("sample", list(_names()))
def test_a_sample_gets_the_avatar(sample: Sample, doors: dict[str, str], tmp_path: Path) -> None:
    told = _run(sample, doors, tmp_path)
    if "refined.npz" in sample.text:
        with np.load(tmp_path / "refined.npz") as refined:
            assert refined["w_plus"].shape == (14, 512)
    elif "me.glb" in sample.text:
        assert (tmp_path / "me.glb").read_bytes() == GLB
    else:
        assert "find_face" in told or "avatar_twin" in told


def test_the_page_has_a_sample_of_every_language() -> None:
    assert {sample.language for sample in _samples(_PAGE)} == set(_RUNNERS)


def test_the_first_line_of_the_readme_gets_an_avatar(doors: dict[str, str], tmp_path: Path) -> None:
    (line,) = re.findall(r"^curl .*--data-binary .*$", (_ROOT / "README.md").read_text(), re.MULTILINE)
    _run(Sample("bash", line), doors, tmp_path)
    assert (tmp_path / "me.glb").read_bytes() == GLB


def test_progress_is_told_by_stages(doors: dict[str, str], tmp_path: Path) -> None:
    (sample,) = (one for one in _samples(_PAGE) if one.language == "js" and "event-stream" in one.text)
    assert _run(sample, doors, tmp_path).split() == ["find_face", "fit_head"]


def test_the_table_of_errors_says_what_the_doors_do() -> None:
    rows = re.findall(r"^\| (`[A-Z_`, ]+) \| (\d+)[^|]*\| `(\w+)` \|", _PAGE, re.MULTILINE)
    told = {code: (int(http), grpc) for codes, http, grpc in rows for code in re.findall(r"\w+", codes)}
    assert told == {code: (STATUS[code].http, STATUS[code].grpc.name) for code in ErrorCode}


def test_what_is_seen_at_the_wrong_port_is_told(doors: dict[str, str], tmp_path: Path) -> None:
    """grpcio cannot answer HTTP/1, so the page alone can say what happened."""
    (tmp_path / "me.jpg").write_bytes(b"photo")
    url = f"http://{doors['localhost:8001']}/v1/avatars"
    command = ["curl", "-sS", "--noproxy", "*", "--data-binary", "@me.jpg", url, "-o", "me.glb"]
    seen = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert seen.returncode
    assert seen.stderr.strip() in _PAGE
    connection = http.client.HTTPConnection(doors["localhost:8001"], timeout=PATIENCE_S)
    connection.request("POST", "/v1/avatars", b"photo")
    with pytest.raises(http.client.BadStatusLine):
        connection.getresponse()
    connection.close()
    assert "http.client.BadStatusLine" in _PAGE
