"""The command line without a server: help, usage, and how a batch is planned and resumed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from facewright.cli import main
from facewright.cli.batch import Batch, _targets, preview_path, report_path
from facewright.cli.finished_avatars import Finished
from facewright.core.errors import FacewrightError
from facewright.pipelines.twin import AVATAR_TWIN


def test_help_names_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["create", "--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, option in AVATAR_TWIN.options.items():
        assert f"--{name.replace('_', '-')}" in text
        assert option.meaning.split(";")[0] in text


@pytest.mark.parametrize(
    "arguments", [[], ["create"], ["create", "x.jpg"], ["serve", "--profile", "quantum"]]
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_bad_option_is_refused_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "me.jpg"
    photo.write_bytes(b"x")
    arguments = ["create", str(photo), "-o", str(tmp_path / "me.glb"), "--texture-size", "1000"]
    assert main([*arguments, "--server", "127.0.0.1:1"]) == 2
    assert "texture_size" in capsys.readouterr().err


def test_a_pipeline_that_is_none_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["create", "me.jpg", "-o", "me.glb", "--pipeline", "avatar_twins"]) == 2
    said = capsys.readouterr().err
    assert "there is no pipeline 'avatar_twins'" in said
    assert "did you mean avatar_twin?" in said


def test_a_broken_file_of_pipelines_keeps_other_commands_working(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACEWRIGHT_PIPELINES", "/nowhere/mine.py")
    assert main(["create", "me.jpg", "-o", "me.glb"]) == 1
    assert "mine.py cannot be run" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--help"])
    assert caught.value.code == 0


def test_tls_needs_both_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--tls-key", "key.pem"]) == 2
    assert "--tls-certificate" in capsys.readouterr().err


def test_many_photos_do_not_fit_into_one_file(tmp_path: Path) -> None:
    with pytest.raises(FacewrightError, match="2 photos cannot go into the one file"):
        Batch((tmp_path / "a.jpg", tmp_path / "b.jpg"), tmp_path / "out.glb")


@pytest.mark.parametrize(
    ("photo", "output"),
    [
        ("me.preview.png", "me.glb"),
        ("me.report.json", "me.glb"),
        ("me.glb", "me.glb"),
        ("me.preview.png", "folder/../me.glb"),
        ("link.png", "me.glb"),
        (".facewright-finished.json", "."),
    ],
)
def test_a_photo_is_never_overwritten(
    photo: str, output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused before anything is asked of a server, embedded ones included."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "me.preview.png").write_bytes(b"photo")
    (tmp_path / "link.png").symlink_to("me.preview.png")
    if photo != "link.png":
        (tmp_path / photo).write_bytes(b"photo")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    arguments = ["create", str(tmp_path / photo), "-o", str(tmp_path / output), "--preview", "--report"]
    assert main([*arguments, "--embedded"]) == 2
    assert "one of the photos" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_avatar_beside_its_png_photo_leaves_it_alone(tmp_path: Path) -> None:
    photo = tmp_path / "me.png"
    photo.write_bytes(b"photo")
    (target,) = Batch((photo,), tmp_path / "me.glb", preview=True, report=True).targets()
    assert photo not in (target, preview_path(target), report_path(target))
    assert preview_path(target).name == "me.preview.png"
    assert report_path(target).name == "me.report.json"


def test_names_that_collide(tmp_path: Path) -> None:
    photos = [Path("a/x.jpg"), Path("b/x.jpg"), Path("c/x.jpg"), Path("x.png"), Path("y.jpg")]
    names = [path.name for path in _targets(photos, tmp_path)]
    assert names == ["x.glb", "x.jpg.glb", "x.jpg-2.glb", "x.png.glb", "y.glb"]


def _glb(length: int = 20) -> bytes:
    """The header of a GLB, and as many bytes as it says."""
    return (b"glTF" + (2).to_bytes(4, "little") + length.to_bytes(4, "little")).ljust(length, b"\0")


def test_a_batch_resumes_by_content(tmp_path: Path) -> None:
    batch = Batch((), tmp_path)
    target = tmp_path / "me.glb"
    fingerprint = Finished.fingerprint(b"photo", batch)
    Finished(tmp_path).add(target, fingerprint)
    assert not Finished(tmp_path).has(target, fingerprint, batch), "the file itself is missing"
    target.write_bytes(_glb())
    assert Finished(tmp_path).has(target, fingerprint, batch)
    assert not Finished(tmp_path).has(target, Finished.fingerprint(b"other photo", batch), batch)
    other_options = Batch((), tmp_path, options={"lods": 2})
    assert not Finished(tmp_path).has(target, Finished.fingerprint(b"photo", other_options), other_options)


@pytest.mark.parametrize("content", [b"", b"glTF", _glb()[:-1], _glb() + b"\0", b"\0" * 20])
def test_half_an_avatar_is_made_again(content: bytes, tmp_path: Path) -> None:
    batch = Batch((), tmp_path)
    target = tmp_path / "me.glb"
    Finished(tmp_path).add(target, "of a photo")
    target.write_bytes(content)
    assert not Finished(tmp_path).has(target, "of a photo", batch)


@pytest.mark.parametrize(
    ("name", "whole", "half"),
    [
        ("me.preview.png", b"\x89PNG and so on IEND\xaeB`\x82", b"\x89PNG and so"),
        ("me.report.json", b'{"fit": {}}', b'{"fit": '),
    ],
)
def test_what_was_asked_for_and_is_not_there_is_made_again(
    name: str, whole: bytes, half: bytes, tmp_path: Path
) -> None:
    batch = Batch((), tmp_path, preview=name.endswith("png"), report=name.endswith("json"))
    target = tmp_path / "me.glb"
    Finished(tmp_path).add(target, "of a photo")
    target.write_bytes(_glb())
    assert not Finished(tmp_path).has(target, "of a photo", batch)
    for content in (b"", half):
        (tmp_path / name).write_bytes(content)
        assert not Finished(tmp_path).has(target, "of a photo", batch)
    (tmp_path / name).write_bytes(whole)
    assert Finished(tmp_path).has(target, "of a photo", batch)


def test_a_damaged_index_means_nothing_is_finished(tmp_path: Path) -> None:
    target = tmp_path / "me.glb"
    target.write_bytes(_glb())
    for damaged in ("", "[1, 2]", "{", "7"):
        (tmp_path / ".facewright-finished.json").write_text(damaged)
        assert not Finished(tmp_path).has(target, "any", Batch((), tmp_path))


def test_no_server_is_one_line_per_photo_and_status_1(tmp_path: Path) -> None:
    photos = []
    for name in ("a.jpg", "missing.jpg"):
        photos.append(tmp_path / name)
    photos[0].write_bytes(b"x")
    command = [
        sys.executable,
        "-m",
        "facewright.cli",
        "create",
        *map(str, photos),
        "-o",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        [*command, "--server", "127.0.0.1:1", "--timeout", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "a.jpg: UNAVAILABLE" in done.stderr
    assert "missing.jpg: No such file" in done.stderr
    assert "0 made, 0 already there, 2 failed" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_names_the_mend_for_a_machine_without_anything(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "facewright.cli", "doctor", "--quiet"],
        env={"FACEWRIGHT_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "facewright doctor --install" in done.stdout
    assert "facewright_export.open_assets" in done.stdout


def test_the_finished_index_is_json(tmp_path: Path) -> None:
    Finished(tmp_path).add(tmp_path / "me.glb", "abc")
    assert json.loads((tmp_path / ".facewright-finished.json").read_text()) == {"me.glb": "abc"}
    assert len(list(tmp_path.iterdir())) == 1
