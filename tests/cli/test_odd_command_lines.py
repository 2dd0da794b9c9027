"""What people type: each wrong thing is one line on standard error that says what to do, and no traceback."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from facewright.cli import main
from facewright.cli.messages import printable
from facewright.core import invocation
from facewright.core.errors import FacewrightError
from facewright.core.invocation import program, python, runnable
from facewright_client.contract import ErrorCode
from tests.support.certificates import make_certificate
from tests.support.scripted_triton import Scripted, scripted_server, wire_error

#: The exit status, and what standard error has.
Said = tuple[int, str]


@pytest.fixture
def say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], Said]:
    """Runs a command line in a folder with all sorts of files."""
    monkeypatch.chdir(tmp_path)
    for name in ("me.jpg", "you.jpg", "afile"):
        Path(name).write_bytes(b"photo")
    Path("empty.jpg").touch()
    Path("folder").mkdir()
    Path("broken.jpg").symlink_to("nowhere.jpg")
    for name in ("circle.jpg", "circle.glb", "circle.npz", "circle"):
        Path(name).symlink_to(name)
    os.mkfifo("pipe.jpg")

    def run(line: str) -> Said:
        try:
            status = main(shlex.split(line))
        except SystemExit as left:
            status = int(left.code or 0)
        return status, capsys.readouterr().err

    return run


@pytest.fixture
def scripted() -> Iterator[tuple[Scripted, str]]:
    """The server's script and its address."""
    with scripted_server() as served:
        yield served


LINES = {
    # PHOTO
    "create https://example.org/me.jpg -o me.glb": "'https://example.org/me.jpg' is a URL; download it",
    "create file:///home/me.jpg -o me.glb": "give the path alone: /home/me.jpg",
    "create data:image/png;base64,AAAA -o me.glb": "is a URL",
    "create - -o me.glb": "photos are read from files, not from standard input",
    "create '' -o me.glb": "an empty name is no photo",
    "create folder -o me.glb --embedded": "folder: BAD_PHOTO: the photo is a folder (give a file)",
    "create missing.jpg -o me.glb --embedded": "missing.jpg: No such file or directory; check the name",
    "create 'photos/*.jpg' -o out": "photos/*.jpg: No such file or directory; no file has a name like that",
    "create broken.jpg -o me.glb": "it is a link to nowhere.jpg, which is not there",
    "create circle.jpg -o me.glb": "Too many levels of symbolic links; it is a link that leads back",
    f"create {5000 * 'a'}.jpg -o me.glb": "the photo is a text of 5004 letters, not the path of a file",
    f"create '{1500 * 'a '}.jpg' -o me.glb": "a .jpg: File name too long",
    "create pipe.jpg -o me.glb": "pipe.jpg: BAD_PHOTO: the photo is a pipe or a device",
    "create /dev/zero -o me.glb": "/dev/zero: BAD_PHOTO: the photo is a pipe or a device",
    "create empty.jpg -o me.glb": "empty.jpg: BAD_PHOTO: the photo is empty",
    # --output
    "create me.jpg -o me.png": "avatars are written as .glb; give me.glb, or a folder",
    "create me.jpg -o ME.GLTF": "give ME.glb",
    "create me.jpg -o circle.glb": "circle.glb is a link that leads back to itself; mend: ",
    "create me.jpg -o circle": "nothing can be written to circle: Too many levels of symbolic links",
    "create me.jpg -o broken.jpg/": "nothing can be written to broken.jpg: No such file or directory",
    f"create me.jpg -o {5000 * 'a'}.glb": "File name too long",
    f"create me.jpg -o {5000 * 'a'}.png": "File name too long",
    "create me.jpg -o me.fbx": "avatars are written as .glb",
    "create me.jpg -o -": "'-' is no file",
    "create me.jpg -o ''": "'' is no file",
    "create me.jpg you.jpg -o me.glb --embedded": "2 photos cannot go into the one file me.glb",
    "create me.jpg -o no/such/me.glb --embedded": "nothing can be written to no/such: No such file",
    "create me.jpg -o afile": "afile is a file, not a folder",
    "create me.jpg -o afile/me.glb": "afile is no folder",
    "create me.jpg -o afile/out": "nothing can be written to afile/out: Not a directory",
    "create me.jpg -o /proc/out --embedded": "nothing can be written to /proc/out",
    # options and commands
    "": "arguments are required: COMMAND (usage: ",
    "creat me.jpg -o me.glb": "there is no command creat; mend: did you mean ",
    "me.jpg": "create me.jpg -o me.glb",
    "CREATE me.jpg": "did you mean ",
    "create me.jpg -o me.glb --pipeline AVATAR_TWIN": "did you mean avatar_twin?",
    "create '~/me.jpg' -o me.glb": "a shell replaces ~ only where it is not quoted",
    "unheard-of": "there are create, refine, serve, keys, doctor",
    "--versoin": "has no option --versoin; mend: did you mean --version?",
    "create me.jpg --outptu me.glb": "has no option --outptu; mend: did you mean --output?",
    "create me.jpg -out me.glb": "has no option -out; mend: did you mean --output?",
    "create me.jpg -o me.glb --txture-size=512": "did you mean --texture-size?",
    "create me.jpg -o me.glb --texture_size 512": "did you mean --texture-size?",
    "create me.jpg -o me.glb --resolution 512": "has no option --resolution; mend: ",
    "serve --port 8001": "did you mean --grpc-port or --http-port or --metrics-port?",
    "create me.jpg -o me.glb --iterations 5": "--iterations is an option of ",
    "create me.jpg -o me.glb -x": "has no option -x; mend: ",
    "create me.jpg -o me.glb --texture 512": "could match --texture-size, --texture-format",
    "create me.jpg -o me.glb --pipeline": "argument --pipeline: expected one argument",
    "create me.jpg -o me.glb --pipeline refine_latent": "pipeline refine_latent makes no avatar of a photo",
    "create me.jpg -o me.glb --timeout 0": "'0' is no time; give seconds",
    "create me.jpg -o me.glb --timeout nan": "'nan' is no time",
    "create me.jpg -o me.glb --timeout -1": "'-1' is no time",
    "create me.jpg -o me.glb --timeout abc": "'abc' is no time",
    "create me.jpg -o me.glb --parallel 0": "'0' is no number of things; give 1 to 999999",
    # --server
    "create me.jpg -o me.glb --server http://gpu:8001": "write host and gRPC port, such as gpu:8001",
    "create me.jpg -o me.glb --server gpu": "'gpu' has no port; gRPC's is 8001 by default: gpu:8001",
    "create me.jpg -o me.glb --server ::1": "is an IPv6 address; write it in brackets: [::1]:8001",
    "create me.jpg -o me.glb --tls-authority none.pem": "none.pem cannot be read: No such file",
    "create me.jpg -o me.glb --tls-authority pipe.jpg": "--tls-authority pipe.jpg is no file",
    "create me.jpg -o me.glb --tls-authority me.jpg": "me.jpg holds no certificate in PEM form",
    "create me.jpg -o me.glb --tls-server-name me": "--tls-server-name without --tls-authority",
    "create me.jpg -o me.glb --embedded --server gpu:8001": "--embedded starts a server of its own",
    "create me.jpg -o me.glb --server ipv4:localhost:8001": "is no address in numbers; write ipv4:127.",
    "create me.jpg -o me.glb --server vsock:1:8001": "gRPC knows no vsock: in Python",
    "create me.jpg -o me.glb --server passthrough:gpu:1": "gRPC knows no passthrough: in Python",
    "create me.jpg -o me.glb --server xds:///gpu": "needs $GRPC_XDS_BOOTSTRAP",
    # refine
    "refine missing.npz -o r.npz": "START missing.npz cannot be read: No such file",
    "refine folder -o r.npz": "START folder is no file",
    "refine pipe.jpg -o r.npz": "START pipe.jpg is no file",
    "refine circle.npz -o r.npz": "START circle.npz cannot be read: Too many levels of symbolic links",
    "refine me.npz -o circle.npz": "--output circle.npz is a link that leads back to itself",
    f"refine {5000 * 'a'} -o r.npz": "a cannot be read: File name too long",
    "refine me.jpg -o r.npz": "me.jpg is no .npz file; mend: write one with numpy.savez",
    "refine empty.jpg -o r.npz": "empty.jpg is no .npz file",
    "refine me.npz -o r": "--output is r; mend: give it the name of a .npz",
    "refine me.npz -o me.npz": "--output me.npz would be written over another file",
    "refine me.npz -o no/r.npz": "--output no/r.npz is in no folder that there is",
    "refine me.npz -o r.npz --preview p.png": "--preview is p.png; mend: give it the name of a .jpg",
    "refine me.npz -o r.npz --preview p.jpg --preview-every 0": "--preview without pictures",
    "refine me.npz -o r.npz --timeout 0": "'0' is no time",
    # serve
    "serve --grpc-port 99999": "'99999' is no port; give 1 to 65535",
    "serve --http-port 8001": "two of the ports are the same",
    "serve --host 192.0.2.1 --grpc-port 0 --http-port 0": "give --host an IPv4 address",
    "serve --host ::1": "cannot listen on ::1:8001: ",
    "serve --pipelines ,": "names no pipeline; leave the option out to serve all",
    "serve --pipelines avatar_twn --grpc-port 0 --http-port 0": "did you mean avatar_twin?",
    "serve --networks none --grpc-port 0 --http-port 0": "none holds no exported network",
    "serve --profile quantum": "invalid choice: 'quantum' (choose from ",
    "serve --cores -1": "'-1' is no number of things",
    "serve --longest-wait nan": "'nan' is no time",
    "serve --probe-every 0": "'0' is no time",
    "serve --log folder": "--log folder cannot be written: Is a directory",
    "serve --tls-key k.pem --tls-certificate c.pem": "--tls-certificate c.pem cannot be read",
    "serve --tls-key afile --tls-certificate afile": "are no certificate and its key",
}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:100] or "nothing")
def test_one_line_says_it(line: str, say: Callable[[str], Said]) -> None:
    before = sorted(path.name for path in Path().iterdir())
    status, said = say(line)
    assert status in (1, 2)
    assert LINES[line] in said
    assert said.count("\n") == 1, said
    assert len(said) < 2100
    assert "Traceback" not in said
    assert {path.name for path in Path().iterdir()} - set(before) <= {"out"}


def test_a_port_that_is_taken(say: Callable[[str], Said]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = say(f"serve --grpc-port {port} --http-port 0")
    words = f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another --grpc-port"
    assert (status, said) == (1, f"error: {words}\n")


def test_a_gpu_that_is_not_there_is_told_before_anything_is_loaded(
    say: Callable[[str], Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FacewrightError(ErrorCode.ENGINE_MISMATCH, "no NVIDIA driver", "choose the cpu profile")

    monkeypatch.setattr("facewright.server.triton_process.compute_capability", none)
    status, said = say("serve --profile cuda --grpc-port 0 --http-port 0")
    assert (status, said) == (1, "error: no NVIDIA driver; mend: choose the cpu profile\n")


def test_a_folder_of_refinement_without_networks_is_told_before_anything_is_loaded(
    say: Callable[[str], Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEWRIGHT_REFINEMENT_NETWORKS", str(tmp_path / "none"))
    status, said = say("serve --grpc-port 0 --http-port 0")
    assert status == 1
    assert said.startswith("error: refinement needs ")
    assert said.count("\n") == 1


def test_a_full_disk_ends_the_batch(
    scripted: tuple[Scripted, str], say: Callable[[str], Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        whole(path, content[:1])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    status, said = say(f"create me.jpg you.jpg -o out --parallel 1 --server {scripted[1]}")
    assert status == 1
    assert said.splitlines() == [
        "error: out/me.glb cannot be written: No space left on device",
        "0 made, 0 already there, 1 failed, 1 not tried",
    ]
    assert not list(Path("out").iterdir())


def test_a_server_without_the_pipeline_is_told_once_with_what_it_serves(
    scripted: tuple[Scripted, str], say: Callable[[str], Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    script, url = scripted
    own = Path(__file__).parents[1] / "server" / "own_pipeline.py"
    monkeypatch.setenv("FACEWRIGHT_PIPELINES", str(own))
    unknown = "Request for unknown model: 'avatar_shifted' is not found"
    script.failures = [(grpc.StatusCode.NOT_FOUND, unknown)] * 9
    name = _own_pipeline()
    status, said = say(f"create me.jpg you.jpg -o out --server {url} --pipeline {name} --parallel 1")
    assert status == 1
    assert (
        f"the server at {url} does not serve {name}; mend: choose another --pipeline; it serves avatar_twin"
        in said
    )
    assert said.splitlines()[-1] == "0 made, 0 already there, 1 failed, 1 not tried"


def _own_pipeline() -> str:
    from facewright.pipelines.registry import pipelines

    return next(
        name for name in pipelines() if name not in ("avatar_twin", "refine_latent", "refine_latent_progress")
    )


def test_warnings_are_printed_with_the_photo_s_name_where_there_are_several(
    scripted: tuple[Scripted, str], say: Callable[[str], Said]
) -> None:
    assert say(f"create me.jpg -o me.glb --server {scripted[1]}") == (0, "warning: blurred\n")
    status, said = say(f"create me.jpg you.jpg -o out --server {scripted[1]}")
    assert status == 0
    assert {"me.jpg: warning: blurred", "you.jpg: warning: blurred"} < set(said.splitlines())


def test_nothing_is_on_standard_output(
    scripted: tuple[Scripted, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "me.jpg").write_bytes(b"photo")
    main(["create", str(tmp_path / "me.jpg"), "-o", str(tmp_path / "out"), "--server", scripted[1]])
    assert capsys.readouterr().out == ""


def test_resuming_makes_what_is_missing(scripted: tuple[Scripted, str], say: Callable[[str], Said]) -> None:
    """The server's avatars are no whole files, so this one is."""
    script, url = scripted
    glb, png = b"glTF" + bytes((2, 0, 0, 0, 12, 0, 0, 0)), b"\x89PNG IEND\xaeB`\x82"
    script.contents |= {"GLB": glb, "PREVIEW": png}
    line = f"create me.jpg -o out --preview --report --server {url}"
    say(line)
    assert say(line) == (0, "0 made, 1 already there, 0 failed\n")
    for name in ("me.glb", "me.preview.png", "me.report.json"):
        whole = (Path("out") / name).read_bytes()
        (Path("out") / name).unlink()
        say(line)
        assert (Path("out") / name).read_bytes() == whole, name
        (Path("out") / name).write_bytes(whole[: len(whole) // 2])
        say(line)
        assert (Path("out") / name).read_bytes() == whole, name
    assert len(script.requests) == 7


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
def test_a_server_that_cannot_be_the_one_is_asked_once_for_all_photos(
    encrypted: bool, say: Callable[[str], Said], tmp_path: Path
) -> None:
    made = make_certificate(tmp_path, "127.0.0.1")
    with scripted_server(made.credentials() if encrypted else None) as (script, url):
        tls = "" if encrypted else f"--tls-authority {made.certificate}"
        status, said = say(f"create me.jpg you.jpg -o out --parallel 1 --server {url} {tls}")
    assert status == 1
    words = "answers encrypted requests only" if encrypted else "does not answer encrypted requests"
    first, last = said.splitlines()
    assert first.startswith(f"me.jpg: WRONG_SERVER: {url} {words} (")
    assert last == "0 made, 0 already there, 1 failed, 1 not tried"
    assert not script.requests


def test_whoever_waits_is_told_what_for(say: Callable[[str], Said]) -> None:
    status, said = say("create me.jpg -o me.glb --server 127.0.0.1:1 --timeout 4")
    assert status == 1
    waiting, failed = said.splitlines()
    assert waiting.startswith("waiting for the server at 127.0.0.1:1: nothing listens at 127.0.0.1:1 (start ")
    assert failed.startswith("me.jpg: UNAVAILABLE: nothing listens at 127.0.0.1:1 (start ")


def test_a_server_that_starts_again_is_waited_for(
    scripted: tuple[Scripted, str], say: Callable[[str], Said]
) -> None:
    scripted[0].failures = [(grpc.StatusCode.UNAVAILABLE, "Socket closed")] * 2
    assert say(f"create me.jpg -o me.glb --server {scripted[1]}")[0] == 0


def test_refine_when_nothing_listens(say: Callable[[str], Said]) -> None:
    _save_start("start.npz")
    status, said = say("refine start.npz -o r.npz --server 127.0.0.1:1")
    assert status == 1
    assert said.startswith("error: UNAVAILABLE: nothing listens at 127.0.0.1:1; mend: start a server with ")
    assert said.count("\n") == 1


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
def test_a_start_that_is_none(array: np.ndarray, words: str, say: Callable[[str], Said]) -> None:
    _save_start("start.npz", w_plus=array)
    status, said = say("refine start.npz -o r.npz --server 127.0.0.1:1")
    assert status == 1
    assert words in said
    assert said.count("\n") == 1
    assert Path("me.jpg").exists(), "it was unpickled"


@pytest.mark.parametrize("place", [100, 400, -30])
def test_a_start_with_wrong_bytes(place: int, say: Callable[[str], Said]) -> None:
    _save_start("start.npz")
    content = bytearray(Path("start.npz").read_bytes())
    content[place : place + 20] = b"\xaa" * 20
    Path("start.npz").write_bytes(content)
    status, said = say("refine start.npz -o r.npz --server 127.0.0.1:1")
    assert status == 1
    assert "start.npz is " in said
    assert said.count("\n") == 1


def _save_start(path: str, **other: np.ndarray) -> None:
    arrays = {
        "face_crop": np.zeros((1024, 1024, 3), np.uint8),
        "face_mask": np.zeros((256, 256), np.uint8),
        "intrinsics": np.eye(3, dtype=np.float32),
        "head_to_camera": np.eye(3, 4, dtype=np.float32),
        "sh_light": np.zeros((9, 3), np.float32),
        "w_plus": np.zeros((14, 512), np.float32),
    }
    np.savez_compressed(path, **(arrays | other))  # type: ignore[arg-type]


def test_names_that_could_move_the_cursor(say: Callable[[str], Said]) -> None:
    name = os.fsdecode(b"a\nb\x1b[31m\xff\xe2\x80\xae.jpg")
    assert printable(name) == r"a\x0ab\x1b[31m\xff\u202e.jpg"
    status, said = say(f"create {shlex.quote(name)} -o me.glb")
    assert status == 1
    assert said.startswith(r"a\x0ab\x1b[31m\xff\u202e.jpg: No such file")
    assert said.count("\n") == 1
    Path(name).write_bytes(b"photo")
    with scripted_server() as (script, url):
        script.failures = [(grpc.StatusCode.INTERNAL, wire_error("NO_FACE"))]
        status, said = say(f"create {shlex.quote(name)} me.jpg -o out --parallel 1 --server {url}")
    assert said.startswith(r"a\x0ab\x1b[31m\xff\u202e.jpg: NO_FACE: ")


def test_names_that_mean_something_to_a_terminal_s_library(say: Callable[[str], Said]) -> None:
    for name in (":cat:.jpg", "[red]me.jpg", "[-]:smile:.jpg"):
        Path(name).write_bytes(b"photo")
        with scripted_server() as (script, url):
            script.failures = [(grpc.StatusCode.INTERNAL, wire_error("NO_FACE"))]
            _, said = say(f"create {shlex.quote(name)} -o me.glb --server {url}")
        assert said == f"{name}: NO_FACE: m (h)\n"


def test_what_is_longer_than_anything_is_shortened() -> None:
    path = "/".join(["folder"] * 40)
    assert printable(f"{path} is no file") == f"{path} is no file"
    assert printable(f"a{5000 * 'b'}c d") == f"a{148 * 'b'}…{149 * 'b'}c d"
    line = printable(f"error: {2000 * 'b '}: File name too long")
    assert len(line) == 2000
    assert line.startswith("error: b b")
    assert line.endswith("b : File name too long")


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


def test_commands_are_named_as_they_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = tmp_path / "my env" / "bin"
    environment.mkdir(parents=True)
    for name in ("python", "facewright"):
        (environment / name).write_text("#!/bin/sh\n")
        (environment / name).chmod(0o755)
    monkeypatch.setattr(invocation.sys, "executable", str(environment / "python"))
    monkeypatch.setattr(invocation.sys, "argv", ["/usr/lib/pytest"])
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir("/usr")
    assert program() == f"'{environment}/facewright'"
    monkeypatch.chdir(tmp_path)
    assert (program(), python()) == ("'my env/bin/facewright'", "'my env/bin/python'")
    monkeypatch.chdir(environment)
    assert program() == "./facewright"
    monkeypatch.setattr(invocation.sys, "argv", ["../bin/facewright"])
    assert program() == "../bin/facewright", "as it was called"
    monkeypatch.setenv("PATH", str(environment))
    monkeypatch.setattr(invocation.sys, "argv", [str(environment / "facewright")])
    assert (program(), python()) == ("facewright", "python")
    monkeypatch.setenv("PATH", "/nowhere")
    (environment / "facewright").unlink()
    assert program() == "./python -m facewright.cli"


def test_hints_name_commands_as_they_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocation, "program", lambda: "BIN/facewright")
    monkeypatch.setattr(invocation, "python", lambda: "BIN/python")
    monkeypatch.setenv("PATH", "/nowhere")
    assert (
        runnable("start a server with `facewright serve`, or")
        == "start a server with `BIN/facewright serve`, or"
    )
    assert runnable("run: python -m facewright_export.open_assets") == (
        "run: BIN/python -m facewright_export.open_assets"
    )
    assert runnable("pip install onnx") == "BIN/python -m pip install onnx"
    for other in (
        ".venv-export/bin/facewright export",
        "facewright is here",
        "pip installs",
        "mypython -m x",
    ):
        assert runnable(other) == other


def test_the_readme_s_commands_are_there() -> None:
    """What it prints is typed as it stands, from the root of a clone."""
    root = Path(__file__).parents[2]
    blocks = (root / "README.md").read_text().split("```")[1::2]
    lines = [line for block in blocks if block.startswith("\n") for line in block.splitlines() if line]
    commands = [line.split()[0] for line in lines]
    assert len(commands) > 9
    for command in commands:
        assert command in ("make", "export", "scripts/setup") or command.startswith(
            (".venv/bin/", ".venv-export/bin/")
        )


def test_what_a_killed_process_left_half_written_goes(
    scripted: tuple[Scripted, str], say: Callable[[str], Said]
) -> None:
    names = [".facewright-" + 32 * "a", ".facewright-" + 32 * "b", ".facewright-finished.json"]
    for name in names:
        Path(name).write_bytes(b"glTF")
    for name in (names[0], names[2]):
        os.utime(name, (0, 0))
    assert say(f"create me.jpg -o me.glb --server {scripted[1]}")[0] == 0
    assert [Path(name).exists() for name in names] == [False, True, True]


def test_a_report_is_json(scripted: tuple[Scripted, str], say: Callable[[str], Said]) -> None:
    assert say(f"create me.jpg -o me.glb --report --server {scripted[1]}")[0] == 0
    assert json.loads(Path("me.report.json").read_text()) == {"warnings": ["blurred"]}
