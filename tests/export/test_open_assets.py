"""Open assets: only what is missing, damaged or outdated is built, by one process at a time."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import shutil
import tarfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from facewright.core import wheels
from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.core.wheels import Progress, Wheel, WheelError, fetch_wheel, sha256_of
from facewright_export import open_assets
from facewright_export.open_assets import AssetRecipe, ensure_open_assets

WHEEL = Wheel("fake", "1.0", "fake-1.0-py3-none-any.whl", hashlib.sha256(b"wheel").hexdigest())


def _silent(_asset: str) -> Progress:
    return lambda _share, _what: None


class Workshop:
    """A folder of assets, and recipes that count how often they are used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "open"
        self.wheel = folder / WHEEL.filename
        self.wheel.write_bytes(b"wheel")
        self.code = folder / "builder.py"
        self.code.write_text("first version")

        def network(given: Mapping[str, Path], out: Path, _progress: Progress) -> None:
            out.write_bytes(given["wheel"].read_bytes() + b" network " + self.code.read_bytes())

        def head(given: Mapping[str, Path], out: Path, _progress: Progress) -> None:
            assert set(given) == {"network.onnx"}  # it is made of no wheel
            out.write_bytes(b"head of " + given["network.onnx"].read_bytes())

        other_code = folder / "other.py"
        other_code.write_text("unchanged")
        self.recipes = (
            AssetRecipe("network.onnx", network, (self.code,), WHEEL),
            AssetRecipe("head.npz", head, (other_code,), needs=("network.onnx",)),
        )

    def ensure(self) -> list[str]:
        return ensure_open_assets(self.folder, self.recipes, _silent, lambda _wheel, _progress: self.wheel)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_builds_once(workshop: Workshop) -> None:
    assert workshop.ensure() == ["network.onnx", "head.npz"]
    assert workshop.ensure() == []
    assert (workshop.folder / "head.npz").read_bytes() == b"head of wheel network first version"
    manifest = json.loads((workshop.folder / "manifest.json").read_text())
    assert manifest["assets"]["head.npz"]["sha256"] == sha256_of(workshop.folder / "head.npz")


def test_where_all_is_built_nothing_is_written(workshop: Workshop) -> None:
    """The cache may be read-only then."""
    workshop.ensure()
    before = {path: path.stat().st_mtime_ns for path in workshop.folder.iterdir() if path.name != ".lock"}
    (workshop.folder / ".lock").unlink()
    assert workshop.ensure() == []
    assert {path: path.stat().st_mtime_ns for path in workshop.folder.iterdir()} == before


def test_a_damaged_asset_is_built_again(workshop: Workshop) -> None:
    workshop.ensure()
    network = workshop.folder / "network.onnx"
    intact = network.read_bytes()
    network.write_bytes(intact[:-1] + b"?")
    assert workshop.ensure() == ["network.onnx"]  # its bytes are the same again: the head need not follow
    assert network.read_bytes() == intact


def test_a_missing_asset_is_built_again(workshop: Workshop) -> None:
    workshop.ensure()
    (workshop.folder / "head.npz").unlink()
    assert workshop.ensure() == ["head.npz"]


def test_changed_code_rebuilds_the_asset_and_what_needs_it(workshop: Workshop) -> None:
    workshop.ensure()
    workshop.code.write_text("second version")
    assert workshop.ensure() == ["network.onnx", "head.npz"]
    assert (workshop.folder / "head.npz").read_bytes() == b"head of wheel network second version"


@pytest.mark.parametrize("manifest", ["", "{", "[]", '{"assets": 3}', '{"assets": {"head.npz": 3}}'])
def test_a_damaged_manifest_rebuilds_everything(workshop: Workshop, manifest: str) -> None:
    workshop.ensure()
    (workshop.folder / "manifest.json").write_text(manifest)
    assert workshop.ensure() == ["network.onnx", "head.npz"]


def test_a_failed_build_leaves_the_old_asset(workshop: Workshop) -> None:
    workshop.ensure()
    workshop.code.write_text("second version")

    def broken(_given: Mapping[str, Path], out: Path, _progress: Progress) -> None:
        out.write_bytes(b"half")
        raise ValueError("the wheel has no such network")

    recipe = AssetRecipe("network.onnx", broken, (workshop.code,), WHEEL)
    with pytest.raises(ValueError, match="no such network"):
        ensure_open_assets(workshop.folder, (recipe,), _silent, lambda _wheel, _progress: workshop.wheel)
    assert (workshop.folder / "network.onnx").read_bytes().endswith(b"first version")
    assert {path.name for path in workshop.folder.iterdir()} == {
        ".lock",
        "head.npz",
        "manifest.json",
        "network.onnx",
    }


def _build_slowly(folder: Path, times: Path) -> None:
    def build(_given: Mapping[str, Path], out: Path, _progress: Progress) -> None:
        time.sleep(0.3)
        out.write_bytes(b"network")
        with times.open("a") as file:
            file.write("built\n")

    recipe = AssetRecipe("network.onnx", build, (), WHEEL)
    ensure_open_assets(folder, (recipe,), _silent, lambda _wheel, _progress: folder)


def test_two_processes_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    times = tmp_path / "times"
    builders = [context.Process(target=_build_slowly, args=(tmp_path / "open", times)) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(timeout=30)
        assert builder.exitcode == 0
    assert times.read_text() == "built\n"


def test_an_intact_wheel_is_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / WHEEL.filename).write_bytes(b"wheel")
    monkeypatch.setattr(wheels, "_pip_download", lambda *_arguments: pytest.fail("downloaded"))
    assert fetch_wheel(WHEEL, _silent(""), tmp_path) == tmp_path / WHEEL.filename


def test_a_damaged_wheel_is_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / WHEEL.filename).write_bytes(b"whe")

    def bring(wheel: Wheel, folder: Path, _progress: Progress) -> None:
        (folder / wheel.filename).write_bytes(b"wheel")

    monkeypatch.setattr(wheels, "_pip_download", bring)
    assert fetch_wheel(WHEEL, _silent(""), tmp_path).read_bytes() == b"wheel"
    assert [path.name for path in tmp_path.iterdir()] == [WHEEL.filename]


def test_a_wheel_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bring(wheel: Wheel, folder: Path, _progress: Progress) -> None:
        (folder / wheel.filename).write_bytes(b"something else")

    monkeypatch.setattr(wheels, "_pip_download", bring)
    with pytest.raises(WheelError, match="expected"):
        fetch_wheel(WHEEL, _silent(""), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_wheel_names_pip_and_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # pip itself runs, without a network
    with pytest.raises(WheelError, match=r"pip could not download fake 1\.0.*by hand"):
        fetch_wheel(WHEEL, _silent(""), tmp_path)


def test_a_source_archive_runs_nothing_before_its_hash_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, archive = tmp_path / "ran", tmp_path / "index" / "fake-1.0.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as file:
        for name, text in (
            ("setup.py", f"open({str(marker)!r}, 'w')\n"),
            ("PKG-INFO", "Metadata-Version: 2.1\nName: fake\nVersion: 1.0\n"),
        ):
            member = tarfile.TarInfo(f"fake-1.0/{name}")
            member.size = len(text)
            file.addfile(member, io.BytesIO(text.encode()))
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(archive.parent)), ("NO_BUILD_ISOLATION", "0")):
        monkeypatch.setenv(f"PIP_{name}", value)
    wrong = Wheel("fake", "1.0", archive.name, WHEEL.sha256, ("--no-binary=fake",))
    with pytest.raises(WheelError, match=rf"Expected sha256 {WHEEL.sha256}"):
        fetch_wheel(wrong, _silent(""), tmp_path / "wheels")
    assert not marker.exists()
    # with its own hash the archive is one whose code pip would have run
    with pytest.raises(WheelError):
        fetch_wheel(replace(wrong, sha256=sha256_of(archive)), _silent(""), tmp_path / "wheels")
    assert marker.exists()


def test_the_networks_are_the_same_bytes_on_every_build(tmp_path: Path) -> None:
    """The real recipes of the networks, into an empty folder, against the cache that set-up built."""
    networks = tuple(recipe for recipe in open_assets.OPEN_ASSETS if recipe.name.endswith(".onnx"))
    from_head = tuple(recipe for recipe in networks if "head.npz" in recipe.needs)
    shutil.copy(asset_path("head.npz"), tmp_path)
    manifest = json.loads(asset_path("manifest.json").read_text())
    head = {"head.npz": manifest["assets"]["head.npz"]}
    (tmp_path / "manifest.json").write_text(json.dumps({"assets": head}))
    built = ensure_open_assets(tmp_path, networks, _silent)
    assert built == [
        "face_detector.onnx",
        "face_landmarks.onnx",
        "face_landmarks_fast.onnx",
        "person_mask.onnx",
        "detail_refinement.onnx",
        "face_shape.onnx",
        *(recipe.name for recipe in from_head),
        "avatar_generator.onnx",
        "face_embedding.onnx",
        "identity_regressor.onnx",
        "perceptual_targets.onnx",
        "perceptual_loss.onnx",
    ]
    for name in built:
        assert (tmp_path / name).read_bytes() == asset_path(name).read_bytes()


def test_a_missing_asset_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(FacewrightError, match=r"python -m facewright_export\.open_assets"):
        asset_path("head.npz", tmp_path)
