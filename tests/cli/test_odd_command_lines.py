"""What people type: each wrong thing is one line on standard error that says what to do, and no traceback."""

from __future__ import annotations

import os
import shlex
import socket
from pathlib import Path

import grpc
import pytest

from facewright.cli import main
from facewright.cli.messages import printable
from tests.cli.conftest import Say
from tests.support.gpu import no_gpu
from tests.support.scripted_triton import scripted_server, wire_error

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
    "create me.jpg -o me.gbl": "'me.gbl': avatars are written as .glb; give me.glb, or a folder: me.gbl/",
    "create me.jpg -o me.jpg": "'me.jpg': avatars are written as .glb; give me.glb, or a folder (usage",
    "create me.jpg you.jpg -o hero.v2": "give hero.v2.glb, or a folder: hero.v2/",
    "create me.jpg -o me.glb/": "'me.glb/' is the name of a folder and of an avatar; give me.glb, or",
    "create me.jpg -o -": "'-' is no file",
    "create me.jpg -o ''": "'' is no file",
    "create me.jpg you.jpg -o me.glb --embedded": "2 photos cannot go into the one file me.glb",
    "create me.jpg -o no/such/me.glb --embedded": (
        "nothing can be written to no/such: No such file or directory; mend: make the folder no/such first"
    ),
    "create me.jpg -o afile": "afile is a file, not a folder",
    "create me.jpg -o afile/me.glb": "afile is no folder",
    "create me.jpg -o afile/out": "nothing can be written to afile/out: Not a directory",
    "create me.jpg -o /proc/out --embedded": "nothing can be written to /proc/out",
    # options and commands
    "": "error: COMMAND is missing (usage: ",
    "creat me.jpg -o me.glb": "there is no command creat; mend: did you mean ",
    "me.jpg": "create me.jpg -o me.glb",
    "CREATE me.jpg": "did you mean ",
    "create me.jpg -o me.glb --pipeline AVATAR_TWIN": "did you mean avatar_twin?",
    "create me.jpg -o me.glb --pipeline twin": "no pipeline 'twin'; mend: did you mean avatar_twin?",
    "create me.jpg -o me.glb --pipeline refine_laten": "mend: it is one of: avatar_twin, avatar_norm",
    "create me.jpg -o me.glb --pipeline refine_latent": "makes no avatar of a photo; mend: ",
    "create me.code -o me.glb --pipeline merge_avatars": "codes are given in a photo's place, with no",
    "create me.jpg -o me.glb --pipeline ''": "no pipeline ''; mend: it is one of: avatar_twin, avatar_",
    "create '~/me.jpg' -o me.glb": "a shell replaces ~ only where it is not quoted",
    "unheard-of": "there are create, refine, serve, reload, keys, doctor",
    "--versoin": "has no option --versoin; mend: did you mean --version?",
    "create me.jpg --outptu me.glb": "has no option --outptu; mend: did you mean --output?",
    "create me.jpg -out me.glb": "has no option -out; mend: did you mean --output?",
    "create me.jpg -o me.glb --txture-size=512": "did you mean --texture-size?",
    "create me.jpg -o me.glb --texture_size 512": "did you mean --texture-size?",
    "create me.jpg -o me.glb --resolution 512": "has no option --resolution; mend: ",
    "serve --port 8001": "did you mean --grpc-port or --http-port?",
    "create me.jpg -o me.glb --iterations 5": "--iterations is an option of ",
    "create me.jpg -o me.glb -x": "has no option -x; mend: ",
    "create me.jpg -o me.glb --texture 512": "did you mean --texture-size or --texture-format?",
    "--server gpu:8001 create me.jpg": "mend: options stand behind their command: ",
    "-o out create me.jpg": "facewright has no option -o; mend: options stand behind their command: ",
    "-v": "facewright has no option -v; mend: did you mean --version?",
    "'create me.jpg' -o out": "mend: take off the quotes around all of it",
    "create me.jpg -o out --preview yes": "what to do with yes; mend: ",
    "help create": "there is no command help; mend: did you mean ",
    "restart": "facewright reload?",
    "refine a.npz b.npz -o r.npz": "does not know what to do with b.npz; mend: ",
    "create me.jpg -o .glb": "avatars are written as .glb; give me.glb, or a folder: .glb/",
    "create me.jpg -o x.glb.gz": "avatars are written as .glb; give x.glb, or a folder",
    "create me.jpg -o x.glb --key abc": "error: --key: a key on a command line is seen by every user",
    "create": "error: PHOTO and --output are missing (usage: ",
    "create me.jpg -o": "error: --output has no value behind it (usage: ",
    "create me.jpg -o out you.jpg": "does not know what to do with you.jpg; mend: write every PHOTO in one",
    "create me.jpg -o out --force": "has no option --force; mend: did you mean --again?",
    "create me.jpg -o out -j 4": "mend: did you mean --parallel?",
    "create me.jpg -o out --host gpu": "mend: did you mean --server?",
    "serve --gpu": "mend: did you mean --profile cuda?",
    "serve --profile tensort": "--profile: 'tensort' is none; did you mean tensorrt?",
    "serve me.jpg": "what to do with me.jpg; mend: avatars are made by: ",
    "doctor me.jpg": "facewright doctor does not know what to do with me.jpg; mend: avatars are made by: ",
    "doctor now": "facewright doctor does not know what to do with now; mend: ",
    "doctor --fix": "has no option --fix; mend: did you mean --install?",
    "keys": "error: ACTION and NAME are missing (usage: ",
    "keys delete a": "error: ACTION: 'delete' is none; ",
    "keys game-server": "one ends when its line is taken out of the server's file",
    "export twinn --weights w": "PIPELINE: 'twinn' is none; did you mean twin?",
    "parity --json no/r.json": "--json: 'no/r.json' is in no folder that there is; make the folder no first",
    "parity --json folder": "--json: 'folder' is a folder; give the name of a file",
    "build --strip --restore": "--restore does not go together with --strip",
    "doctor --instal": "has no option --instal; mend: did you mean --install?",
    "create -x.jpg -o me.glb": "has no option -x.jpg; mend: write ./-x.jpg for the file of that name",
    "create -5.jpg -o me.glb": "has no option -5.jpg; mend: write ./-5.jpg for the file of that name",
    "refine me.npz -o r.npz --seed -1": "seed is an integer from 0 to 2147483647",
    "create me.jpg -o me.glb --pipeline": "--pipeline has no value behind it (usage: ",
    "create me.jpg -o me.glb --timeout 0": "'0' is no time; give seconds",
    "create me.jpg -o me.glb --timeout nan": "'nan' is no time",
    "create me.jpg -o me.glb --timeout -1": "'-1' is no time",
    "create me.jpg -o me.glb --timeout abc": "'abc' is no time",
    "create me.jpg -o me.glb --parallel 0": "'0' is no number of things; give 1 to 999999",
    "create me.jpg -o me.glb --preview=1": "--preview takes no value, and was given '1'; leave the",
    "doctor -h1": "--help takes no value, and was given '1'",
    "create me.jpg -o me.glb --face-index 9999999999999999999": "'9999999999999999999'; mend: face_index is",
    "create '*e.jpg' -o out": "*e.jpg: No such file or directory; take off the quotes, so that the shell",
    "create '../*/m?.jpg' -o out": "take off the quotes",
    # --server
    "create me.jpg -o me.glb --server grpc://gpu:8001": "write host and gRPC port, such as gpu:8001, or REST",
    "create me.jpg -o me.glb --server http://gpu/v1": "write scheme, host and REST port alone, such as http://lo",
    "refine a.npz -o b.npz --preview c.jpg --server http://gpu": "error: --preview over REST; mend: pictures",
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
    "refine me.npz -o no/r.npz": "--output no/r.npz is in no folder that there is; mend: make the folder no ",
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
    "serve --profile quantum": "--profile: 'quantum' is none; there are cpu, cuda, tensorrt (usage: ",
    "serve --host ''": "'' is no address; give one of this machine, such as 127.0.0.1, or 0.0.0.0 for all",
    "serve --host ' '": "' ' is no address",
    "serve --host a..b": "'a..b' is no address",
    f"serve --host {300 * 'a'}": "is no address",
    "serve --host <broadcast> --grpc-port 0": "is no address",
    "serve --host localhost:18410": "has a port; leave the port out: localhost (",
    "serve --host [::1]:18410": "has a port; leave the port out: ::1 (",
    "serve --cores -1": "'-1' is no number of things; give 0 to 999999",
    "serve --longest-wait -1": "'-1' is no time; give seconds, 0 to 1e6",
    "serve --unready nan": "'nan' is no time; give seconds, 0 to 1e6",
    "serve --probe-every 0": "'0' is no time",
    "serve --log folder": "--log folder is a folder",
    "serve --log photo.jpg": "--log photo.jpg is no text, and nothing is added to it; mend: name another",
    "serve --log folder/photo.glb": "--log folder/photo.glb is no text",
    "serve --log missing/x.log": "--log missing/x.log is in no folder that there is; mend: make the folder",
    "serve --log afile/x.log": "--log afile/x.log cannot be written: Not a directory",
    "serve --log circle": "--log circle cannot be written: Too many levels",
    "serve --log /dev/zero": "--log /dev/zero is a device",
    "serve --log /dev/full": "--log /dev/full is a device",
    "serve --log ''": "'' is no file; name one, or leave --log out for standard error",
    "serve --log pipe.jpg --grpc-port 0 --http-port 0": "the log pipe.jpg is a pipe that ",
    "serve --tls-key k.pem --tls-certificate c.pem": "--tls-certificate c.pem cannot be read",
    "serve --tls-key afile --tls-certificate afile": "are no certificate and its key",
}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:100] or "nothing")
def test_one_line_says_it(line: str, say: Say) -> None:
    before = sorted(path.name for path in Path().iterdir())
    status, said = say(line)
    assert status in (1, 2)
    assert LINES[line] in said
    assert said.count("\n") == 1, said
    assert len(said) < 2100
    assert "Traceback" not in said
    assert sorted(path.name for path in Path().iterdir()) == before


def test_nothing_is_said_to_start_that_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", "0.0.0.0", "--grpc-port", "0", "--http-port", "0"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "--host 0.0.0.0 is reached from other machines" in said.err


def test_a_port_that_is_taken(say: Say) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = say(f"serve --grpc-port {port} --http-port 0")
    words = f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another --grpc-port"
    assert (status, said) == (1, f"error: {words}\n")


def test_a_gpu_that_is_not_there_is_told_before_anything_is_loaded(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facewright.server.triton_process.compute_capability", no_gpu)
    status, said = say("serve --profile cuda --grpc-port 0 --http-port 0")
    assert (status, said) == (1, "error: no NVIDIA driver; mend: choose the cpu profile\n")


def test_a_folder_of_refinement_without_networks_is_told_before_anything_is_loaded(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEWRIGHT_REFINEMENT_NETWORKS", str(tmp_path / "none"))
    status, said = say("serve --grpc-port 0 --http-port 0")
    assert status == 1
    assert said.startswith("error: refinement needs ")
    assert said.count("\n") == 1


def test_names_that_could_move_the_cursor(say: Say) -> None:
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


def test_names_that_mean_something_to_a_terminal_s_library(say: Say) -> None:
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
