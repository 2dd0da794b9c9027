"""``facewright create`` and a server that answers, fails or is missing: what is said, and what is left."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import threading
from pathlib import Path

import grpc
import pytest

from facewright.cli import main
from facewright_client.contract import PHOTO
from tests.cli.conftest import Say
from tests.support.certificates import make_certificate
from tests.support.scripted_triton import Scripted, scripted_server, wire_error


def test_a_full_disk_ends_the_batch(
    scripted: tuple[Scripted, str], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        whole(path, content[:1])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    status, said = say(f"create me.jpg you.jpg -o out --parallel 1 --server {scripted[1]}")
    assert status == 1
    again = "make room or give another --output, and run it again"
    assert said.splitlines() == [
        f"error: out/me.glb cannot be written: No space left on device; mend: {again}",
        "0 made, 0 already there, 1 failed, 1 not tried",
    ]
    assert not list(Path("out").iterdir())
    monkeypatch.setattr(Path, "write_bytes", whole)
    scripted[0].contents["GLB"] = b"glTF" + bytes((2, 0, 0, 0, 12, 0, 0, 0))
    assert say(f"create me.jpg -o out --server {scripted[1]}")[0] == 0
    monkeypatch.setattr(Path, "write_bytes", full)
    said = say(f"create me.jpg you.jpg -o out --parallel 1 --server {scripted[1]}")[1]
    assert f"mend: {again}: what was made is kept\n" in said


def test_a_file_that_may_not_be_as_long_as_an_avatar(
    scripted: tuple[Scripted, str], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limited(path: Path, _content: bytes) -> int:
        raise OSError(errno.EFBIG, "File too large", str(path))

    monkeypatch.setattr(Path, "write_bytes", limited)
    said = say(f"create me.jpg -o me.glb --server {scripted[1]}")[1]
    mend = "raise the limit of a file's size (ulimit -f) or give another --output, and run it again"
    assert said == f"error: me.glb cannot be written: File too large; mend: {mend}\n"


def test_a_folder_is_made_with_the_first_avatar(scripted: tuple[Scripted, str], say: Say) -> None:
    script, url = scripted
    script.failures = [(grpc.StatusCode.INTERNAL, wire_error("NO_FACE"))] * 2
    line = f"create me.jpg you.jpg -o new/out --server {url}"
    assert say(line)[0] == 1
    assert not Path("new").exists()
    assert say(line)[0] == 0
    assert sorted(os.listdir("new/out")) == [".facewright-finished.json", "me.glb", "you.glb"]


def test_one_photo_is_told_where_its_avatar_is(scripted: tuple[Scripted, str], say: Say) -> None:
    script, url = scripted
    script.contents["GLB"] = b"glTF" + bytes((2, 0, 0, 0, 12, 0, 0, 0))
    line = f"create me.jpg -o out/ --report --server {url}"
    assert say(line) == (0, "warning: blurred\nwrote out/me.glb, out/me.report.json\n")
    there = "out/me.glb is already there, of this photo and options; --again makes it again\n"
    assert say(line) == (0, there)
    assert say("create me.jpg -o me.gbl/ --server " + url) == (0, "warning: blurred\nwrote me.gbl/me.glb\n")
    assert say("create you.jpg -o me.gbl --server " + url) == (0, "warning: blurred\nwrote me.gbl/you.glb\n")


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("me.glb", ""),
        ("me.preview.png", "--preview"),
        ("me.report.json", "--report"),
        (".facewright-finished.json", ""),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "pipe", "socket"])
def test_what_cannot_be_written_over_is_named_before_any_work(
    name: str, asked: str, kind: str, say: Say
) -> None:
    Path("out").mkdir()
    _occupy(Path("out") / name, kind)
    status, said = say(f"create me.jpg you.jpg -o out {asked} --server 127.0.0.1:1")
    what = "a folder" if kind == "folder" else "no file, but a pipe, a socket or a device"
    mend = "give another --output: a .glb, or a folder"
    assert said == f"error: out/{name} is {what}; mend: remove it, or {mend}\n"
    assert status == 2
    assert [path.name for path in Path("out").iterdir()] == [name]


def test_a_pipe_or_a_folder_in_the_place_of_the_one_output(say: Say) -> None:
    _occupy(Path("out.glb"), "pipe")
    for output, words in (
        ("out.glb", "out.glb is no file, but a pipe, a socket or a device; mend: give another --output"),
        ("pipe.jpg/", "pipe.jpg is no file, but a pipe, a socket or a device, and no folder"),
    ):
        assert words in say(f"create me.jpg -o {output} --server 127.0.0.1:1")[1]


def test_links_are_written_through(scripted: tuple[Scripted, str], say: Say) -> None:
    Path("elsewhere").mkdir()
    for name in ("me.glb", "me.preview.png", "me.report.json"):
        Path(name).symlink_to(f"elsewhere/{name}")
    Path("elsewhere/me.glb").write_bytes(b"before")
    assert say(f"create me.jpg -o me.glb --preview --report --server {scripted[1]}")[0] == 0
    assert sorted(os.listdir("elsewhere")) == ["me.glb", "me.preview.png", "me.report.json"]
    assert Path("me.glb").is_symlink()
    assert Path("elsewhere/me.glb").read_bytes() == b"glTF\x02"


def test_two_avatars_are_not_written_through_a_link_into_one_file(say: Say) -> None:
    Path("out").mkdir()
    Path("out/me.glb").symlink_to("you.glb")
    status, said = say("create me.jpg you.jpg -o out --server 127.0.0.1:1")
    assert status == 2
    assert "out/you.glb and out/me.glb are the same file; mend: " in said


def _occupy(path: Path, kind: str) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(os.path.relpath(path))


def test_a_server_without_the_pipeline_is_told_once_with_what_it_serves(
    scripted: tuple[Scripted, str], say: Say, monkeypatch: pytest.MonkeyPatch
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

    return next(name for name, row in pipelines().items() if PHOTO in row.takes and name != "avatar_twin")


def test_warnings_are_printed_with_the_photo_s_name_where_there_are_several(
    scripted: tuple[Scripted, str], say: Say
) -> None:
    assert say(f"create me.jpg -o me.glb --server {scripted[1]}") == (0, "warning: blurred\nwrote me.glb\n")
    status, said = say(f"create me.jpg you.jpg -o out --server {scripted[1]}")
    assert status == 0
    assert {"me.jpg: warning: blurred", "you.jpg: warning: blurred"} < set(said.splitlines())


def test_nothing_is_on_standard_output(
    scripted: tuple[Scripted, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "me.jpg").write_bytes(b"photo")
    main(["create", str(tmp_path / "me.jpg"), "-o", str(tmp_path / "out"), "--server", scripted[1]])
    assert capsys.readouterr().out == ""


def test_resuming_makes_what_is_missing(scripted: tuple[Scripted, str], say: Say) -> None:
    """The server's avatars are no whole files, so this one is."""
    script, url = scripted
    glb, png = b"glTF" + bytes((2, 0, 0, 0, 12, 0, 0, 0)), b"\x89PNG IEND\xaeB`\x82"
    script.contents |= {"GLB": glb, "PREVIEW": png}
    line = f"create me.jpg -o out --preview --report --server {url}"
    say(line)
    assert "is already there" in say(line)[1]
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
    encrypted: bool, say: Say, tmp_path: Path
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


def test_whoever_waits_is_told_what_for(say: Say) -> None:
    status, said = say("create me.jpg -o me.glb --server 127.0.0.1:1 --timeout 4")
    assert status == 1
    waiting, failed = said.splitlines()
    assert waiting.startswith(
        "waiting up to 4 s for the server at 127.0.0.1:1: nothing listens at 127.0.0.1:1 ("
    )
    assert failed.startswith("me.jpg: UNAVAILABLE: nothing listens at 127.0.0.1:1 (start ")


def test_a_server_that_starts_again_is_waited_for(scripted: tuple[Scripted, str], say: Say) -> None:
    scripted[0].failures = [(grpc.StatusCode.UNAVAILABLE, "Socket closed")] * 2
    assert say(f"create me.jpg -o me.glb --server {scripted[1]}")[0] == 0


def test_what_a_killed_process_left_half_written_goes(scripted: tuple[Scripted, str], say: Say) -> None:
    names = [".facewright-" + 32 * "a", ".facewright-" + 32 * "b", ".facewright-finished.json"]
    for name in names:
        Path(name).write_bytes(b"glTF")
    for name in (names[0], names[2]):
        os.utime(name, (0, 0))
    assert say(f"create me.jpg -o me.glb --server {scripted[1]}")[0] == 0
    assert [Path(name).exists() for name in names] == [False, True, True]


def test_a_report_is_json(scripted: tuple[Scripted, str], say: Say) -> None:
    assert say(f"create me.jpg -o me.glb --report --server {scripted[1]}")[0] == 0
    assert json.loads(Path("me.report.json").read_text()) == {"warnings": ["blurred"]}


def test_a_batch_off_a_terminal_says_how_far_it_is(
    scripted: tuple[Scripted, str], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facewright.cli.batch_progress._TELL_EVERY_S", 0.05)
    script, url = scripted
    script.release.clear()
    threading.Timer(0.5, script.release.set).start()
    _, said = say(f"create me.jpg you.jpg -o out --server {url}")
    assert "0 of 2 photos done\n" in said
    assert said.endswith("2 made, 0 already there, 0 failed\n")


def test_an_avatar_of_another_photo_is_not_replaced_without_a_word(
    scripted: tuple[Scripted, str], say: Say
) -> None:
    for folder, content in (("b", b"one"), ("b/2", b"two")):
        Path(folder).mkdir()
        Path(folder, "one.jpg").write_bytes(content)
    words = "b/2/one.jpg: out/one.glb was made of another photo and is replaced\n"
    for photo, options, told in (
        ("b/one.jpg", "", ""),
        ("b/one.jpg", "--again", ""),
        ("b/one.jpg", "--report", ""),
        ("b/2/one.jpg", "", words),
    ):
        status, said = say(f"create {photo} -o out {options} --server {scripted[1]}")
        report = ", out/one.report.json" if options == "--report" else ""
        assert (status, said) == (0, f"{told}warning: blurred\nwrote out/one.glb{report}\n")


def test_photos_of_one_name_are_told_which_file_is_whose(scripted: tuple[Scripted, str], say: Say) -> None:
    Path("b").mkdir()
    Path("b/me.jpg").write_bytes(b"two")
    status, said = say(f"create me.jpg b/me.jpg ./me.jpg b/../me.jpg -o out --server {scripted[1]}")
    assert status == 0
    assert said.startswith("b/me.jpg becomes out/me.jpg.glb: another photo is called me, too\n")
    assert said.endswith("2 made, 0 already there, 0 failed\n")
    assert len(scripted[0].requests) == 2


def test_photos_that_fail_with_the_first_are_named(say: Say) -> None:
    status, said = say("create me.jpg you.jpg photo.jpg -o out --server 127.0.0.1:1 --timeout 0.5")
    assert status == 1
    first, alike, last = said.splitlines()
    assert ": UNAVAILABLE: " in first
    named = [first.split(":")[0], *alike.removeprefix("the same for ").split(", ")]
    assert sorted(named) == ["me.jpg", "photo.jpg", "you.jpg"]
    assert last == "0 made, 0 already there, 3 failed"
