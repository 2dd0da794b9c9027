"""What a server does to the machine it runs on and to the network, from its start to its end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from facewright.core.assets import cache_folder
from facewright.server import Server, ServerSettings
from facewright.server.written_places import written_places
from facewright_client import BadPhotoError, Client
from tests.server.doors import metrics, over_rest
from tests.server.processes import eventually, living
from tests.support.system_calls import Tracing

pytestmark = pytest.mark.server
#: Bash, with which Triton starts its stages, looks for a terminal.
_DEVICES: Final = {Path("/dev/null"), Path("/dev/tty")}
#: Left out of the cache, so that the server compiles it.
_COLD_KERNEL: Final = "sh_shading"


@pytest.fixture
def machine(places: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own: home, temporary folder, and a cache that lacks a kernel."""
    warm, cold = cache_folder(), places / "cache"
    (cold / "kernels").mkdir(parents=True)
    for path in warm.iterdir():
        if path.name.startswith(("open", "triton-")):
            (cold / path.name).symlink_to(path)
    for path in (warm / "kernels").glob("*.so"):
        if not path.name.startswith(_COLD_KERNEL):
            shutil.copy(path, cold / "kernels")
    for name in ("home", "tmp"):
        (places / name).mkdir()
    monkeypatch.setenv("HOME", str(places / "home"))
    monkeypatch.setenv("TMPDIR", str(places / "tmp"))
    monkeypatch.delenv("SHELL", raising=False)  # Bash then looks for its user's, as in a container
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(cold))
    monkeypatch.setattr("tempfile.tempdir", None)
    return places


def _foreign(paths: Iterable[Path]) -> list[Path]:
    """Those that no server has to do with."""
    places = written_places()
    return sorted(
        path
        for path in set(paths) - _DEVICES
        if not any(place.holds(path) for place in places) and "__pycache__" not in path.parts
    )


def _addresses(reached: Iterable[str]) -> list[str]:
    """Those that are no sockets of the server's own, where it may write: Triton's, and that of the marks."""
    return sorted(name for name in set(reached) if not name.startswith("/") or _foreign([Path(name)]))


def test_a_servers_whole_life(machine: Path, photo: bytes) -> None:
    """Start, a photo over gRPC and one over HTTP, a refused one, metrics, stop: no file but where it is
    declared, no name looked up, nothing but this machine reached.
    """
    # Not started: chooses ports, and says how they are reached.
    address = Server(ServerSettings(grpc_port=0, http_port=0))
    chosen = address.settings
    ports = [f"--grpc-port={chosen.grpc_port}", f"--http-port={chosen.http_port}"]
    command = [sys.executable, "-m", "facewright.cli", "serve", *ports]
    traced = Tracing(command, os.environ, machine / "home", machine)
    try:
        ready = eventually(lambda: "Ctrl-C stops" in traced.said.read_text() or traced.ended(), 240)
        assert ready, traced.said.read_text()
        assert not traced.ended(), traced.said.read_text()
        with Client(address.url) as client:
            assert client.create(photo, texture_size=512).glb
            with pytest.raises(BadPhotoError):
                client.create(b"not a photo")
        assert over_rest(address, "/v1/avatars?texture_size=512", photo).body.startswith(b"glTF")
        assert "nv_inference_request_success" in metrics(address)
    finally:
        traced.stop(signal.SIGTERM)
    alarms = [line for line in traced.said.read_text().splitlines() if re.match(r"[EFW]\d{4} |error", line)]
    assert alarms == [], "a healthy server has nothing to complain of"
    deeds = traced.deeds()
    compiled = (machine / "cache" / "kernels").glob(f"{_COLD_KERNEL}-*.so")
    assert set(compiled) <= deeds.written, "what a server writes was not seen"
    assert _foreign(deeds.written) == []
    assert any(Path(path).name == "marks" for path in deeds.reached), "what a server reaches was not seen"
    assert _addresses(deeds.reached) == []
    assert list((machine / "home").iterdir()) == []
    assert list((machine / "tmp").iterdir()) == []


def test_what_no_server_may_do_is_seen(machine: Path) -> None:
    """A program that does each of it, half of it in a child and in vain."""
    program = """
import os, socket, subprocess, sys
os.makedirs(os.environ["HOME"] + "/.queue/a folder")
os.rename(os.environ["HOME"] + "/.queue", os.environ["HOME"] + "/.moved")
os.chdir(os.environ["HOME"])
open("relative", "w").close()
os.symlink("/nowhere", "link")
child = 'open("/nowhere/at all", "w")'
subprocess.run([sys.executable, "-c", child], stderr=subprocess.DEVNULL)
try:
    socket.getaddrinfo("facewright.invalid", 80)
except OSError:
    pass
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.connect(("192.0.2.1", 9))  # of documentation (RFC 5737); a datagram's socket sends nothing yet
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
    sender.connect(("::1", 9))
with socket.socket(socket.AF_UNIX) as caller:
    caller.connect_ex("/nowhere/socket")
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind("listened")
"""
    environment = {**os.environ, "RES_OPTIONS": "timeout:1 attempts:1"}
    traced = Tracing([sys.executable, "-c", program], environment, machine, machine)
    assert traced.process.wait(60) == 0, traced.said.read_text()
    deeds, home = traced.deeds(), machine / "home"
    assert _foreign(deeds.written) == sorted(
        [
            Path("/nowhere/at all"),
            *(
                home / name
                for name in (".moved", ".queue", ".queue/a folder", "link", "listened", "relative")
            ),
        ]
    )
    assert {"192.0.2.1:9", "/nowhere/socket"} <= set(_addresses(deeds.reached))
    assert deeds.reached & {"/etc/resolv.conf", "/var/run/nscd/socket"}
    assert "::1:9" not in deeds.reached


@pytest.mark.parametrize(("database", "wanted", "seen"), [("passwd", 11, False), ("hosts", 13, True)])
def test_a_cache_of_names_may_be_asked_for_users_only(
    tmp_path: Path, database: str, wanted: int, seen: bool
) -> None:
    program = f"""
import socket, struct
caller, cache = socket.socketpair()
key = b"{database}\\0"
caller.sendall(struct.pack("<iii", 2, {wanted}, len(key)) + key)
"""
    traced = Tracing([sys.executable, "-c", program], os.environ, tmp_path, tmp_path)
    assert traced.process.wait(60) == 0, traced.said.read_text()
    assert ("/var/run/nscd/socket" in traced.deeds().reached) == seen


def test_a_crash_leaves_no_photo_on_the_disk(server: Server) -> None:
    """What a process leaves that crashes is all that it had in memory."""
    for pid in (server.pid, *living(server.pid)):
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE), limits
