"""`facewright export` of several networks and files: what was written, what was not, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from facewright.cli import main
from facewright.engines.exported_repository import require_servable, served_versions, versions_in
from facewright_export import network_tables
from facewright_export.network_tables import PIPELINES, network
from facewright_export.networks.shape_decoder import ShapeDecoder
from facewright_export.onnx.network_metadata import metadata_of
from facewright_export.repository_assembly import main as choose_versions
from tests.networks.published_files import NARROW, _generator_state, write_files
from tests.networks.synthetic_models import flame_arrays, write_flame_pickle


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "decoder.pt"
    torch.save(ShapeDecoder(50).state_dict(), path)
    return path


@pytest.fixture
def regressor(tmp_path: Path) -> Path:
    (path,) = write_files(tmp_path, network("identity_regressor"))
    return path


def test_what_was_written_is_said_where_another_network_fails_and_the_rest_can_follow(
    decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two networks of one kind, and of the smallest: what is said does not depend on which they are."""
    rows = tuple(replace(network("shape_decoder"), name=name) for name in ("broken_decoder", "whole_decoder"))
    monkeypatch.setattr(network_tables, "NETWORKS", rows)
    monkeypatch.setitem(PIPELINES, "twin", tuple((row.name,) for row in rows))  # type: ignore[arg-type]
    broken, repository = tmp_path / "broken.pt", tmp_path / "r"
    state = torch.load(decoder)
    missing = state.popitem()[0]
    torch.save(state, broken)
    weights = (f"broken_decoder={broken}", f"whole_decoder={decoder}")
    assert run("export", "twin", "--weights", *weights, "--output", repository) == 1
    said = capsys.readouterr()
    assert "VERTICES" in said.out, "the table of what was verified"
    assert f"1 missing: {missing}" in said.err
    assert f"written to {repository}: whole_decoder" in said.err
    assert "facewright export twin --network broken_decoder --weights" in said.err
    assert "docs/export.md" in said.err
    assert sorted(path.name for path in repository.iterdir()) == ["whole_decoder"]
    require_servable(repository, "cpu")

    rest = ("--network", "broken_decoder", "--weights", f"broken_decoder={decoder}", "--output", repository)
    assert run("export", "twin", *rest) == 0
    assert sorted(path.name for path in repository.iterdir()) == ["broken_decoder", "whole_decoder"]
    require_servable(repository, "cpu")


def test_every_network_that_fails_is_told(
    regressor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pt")
    wanted = ("identity_regressor", "camera_regressor", "face_parts")
    weights = (
        f"identity_regressor={regressor}",
        f"camera_regressor={tmp_path / 'other.pt'}",
        f"face_parts={regressor}",
    )
    assert run("export", "normalized", "--network", *wanted, "--weights", *weights, "--check") == 1
    said = capsys.readouterr().err
    assert "2 things stand in the way" in said
    assert "camera_regressor: " in said
    assert "face_parts: " in said
    assert "fit and pass: identity_regressor" in said


def test_a_failed_first_export_leaves_no_folder_that_a_server_refuses(
    decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("facewright_export.repository_assembly.write_network_configs", full)
    arguments = ("--network", "shape_decoder", "--weights", decoder, "--output", tmp_path / "r")
    assert run("export", "twin", *arguments) == 1
    assert "cannot be written: No space left on device" in capsys.readouterr().err
    assert list((tmp_path / "r").iterdir()) == []


def test_an_output_that_is_a_file_is_told(decoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--network", "shape_decoder", "--weights", decoder, "--output", decoder)
    assert run("export", "twin", *arguments) == 1
    assert "cannot be written: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (("{folder}",), "is a folder"),
        (("https://example.com/x.pth",), "https:/example.com/x.pth is an address"),
        (("shape_decoder=~/no such file.pt",), "/no such file.pt"),
        (("{folder}/*.safetensors",), "no file matches"),
        (("shape_decoder=",), "shape_decoder= names no file"),
        (("shape_decoder={decoder}", "shape_decoder={decoder}"), "shape_decoder is given twice"),
        (("arcface={decoder}",), "arcface is of generative"),
        (("{decoder}", "{folder}/page.pth"), "page.pth is not a checkpoint: it is a web page"),
        (("{decoder}", "{folder}/empty.pth"), "the file is empty"),
        (("{folder}/loop.pth",), "loop.pth is a link that leads to no file"),
        (("shape_decoder={folder}/loop.pth",), "loop.pth is a link that leads to no file"),
        (("{folder}/gone.pth",), "gone.pth is a link that leads to no file"),
    ],
)
def test_weights_that_are_no_files_of_networks_are_told_before_anything_is_read(
    decoder: Path, tmp_path: Path, weights: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.pth").write_bytes(b"<!DOCTYPE html><title>Google Drive - Virus scan warning</title>")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "loop.pth").symlink_to("loop.pth")
    (tmp_path / "gone.pth").symlink_to("nowhere.pth")
    given = [text.format(folder=tmp_path, decoder=decoder) for text in weights]
    arguments = ("--network", "shape_decoder", "--weights", *given, "--output", tmp_path / "r")
    assert run("export", "twin", *arguments) == 1
    said = capsys.readouterr().err
    assert words in said
    assert "~" not in said
    assert "mend:" in said
    assert not (tmp_path / "r").exists()


def test_a_file_given_twice_is_one_and_weights_may_be_repeated(decoder: Path, tmp_path: Path) -> None:
    again = tmp_path / "." / "decoder.pt"
    arguments = ("--weights", decoder, "--weights", again, "--network", "shape_decoder", "--check")
    assert run("export", "twin", *arguments) == 0


def test_a_file_of_another_pipelines_network_is_named(
    decoder: Path, regressor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--weights", decoder, regressor, "--network", "shape_decoder", "--check")
    assert run("export", "twin", *arguments) == 1
    said = capsys.readouterr().err
    assert (
        f"{regressor.name} fits no network of this pipeline: its names are those of identity_regressor"
        in said
    )
    assert "identity_regressor (normalized)" in said
    assert "fit and pass: shape_decoder" in said


def test_names_with_other_sizes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = write_files(tmp_path, network("camera_regressor"))
    torch.save(torch.load(path) | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}, path)
    assert run("export", "normalized", "--network", "camera_regressor", "--weights", path) == 1
    said = capsys.readouterr().err
    assert "it has the network's names with other sizes; 2 mis-shaped: fc.bias is float32 [1000]" in said


def test_a_generator_of_another_resolution_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = network("displacement_generator")
    (path,) = write_files(tmp_path, row)
    assert (
        run("export", "generative", "--network", "face_generator", "--weights", f"face_generator={path}") == 1
    )
    assert "its names are found under 'g'" in capsys.readouterr().err
    torch.save({"g_ema": _generator_state(row)}, path)
    assert (
        run("export", "generative", "--network", "face_generator", "--weights", f"face_generator={path}") == 1
    )
    assert "its generator draws 256², expected 1024²" in capsys.readouterr().err


def test_files_of_networks_that_are_left_out_are_told_and_no_error(
    decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (light_cnn,) = write_files(tmp_path, network("light_cnn"))
    arguments = ("--weights", decoder, light_cnn, "--network", "shape_decoder", "--check")
    assert run("export", "twin", *arguments) == 0
    assert (
        f"{light_cnn.name} holds light_cnn, which --network leaves out: not used" in capsys.readouterr().out
    )


def test_what_is_said_of_a_file_is_kept_in_the_exported_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = network("displacement_generator")
    state = {key: value for key, value in _generator_state(row).items() if not key.startswith("noises.")}
    torch.save({"g": state, "d": {"final.weight": torch.zeros(2)}}, tmp_path / "disp_GAN.pt")
    flame = tmp_path / "generic_model.pkl"
    write_flame_pickle(flame, flame_arrays())
    arguments = (
        "--network",
        row.name,
        "--weights",
        tmp_path / "disp_GAN.pt",
        flame,
        "--output",
        tmp_path / "r",
    )
    assert run("export", "generative", *arguments) == 0
    said = capsys.readouterr().out
    assert "generic_model.pkl holds generative_head, which --network leaves out: not used" in said
    notes = (
        "disp_GAN.pt also holds d: not used",
        "disp_GAN.pt has no noise images: its pictures are made with images drawn from seed 0",
    )
    assert all(f"{row.name}: {note}\n" in said for note in notes)
    model = onnx.load(tmp_path / "r" / row.name / "1" / "model.onnx")
    assert metadata_of(model, "it").notes == notes
    assert NARROW[row.name].noise


def test_a_network_that_was_rolled_back_stays_so_when_it_is_exported_again(
    decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = tmp_path / "r"
    folder = repository / "shape_decoder"
    export = ("export", "twin", "--network", "shape_decoder", "--output", repository, "--weights")
    assert run(*export, decoder) == run(*export, decoder) == 0
    assert choose_versions([str(repository), "shape_decoder", "--serve", "1"]) == 0
    config = (folder / "config.pbtxt").read_text()
    capsys.readouterr()
    torch.save(ShapeDecoder(60).state_dict(), decoder)
    assert run(*export, decoder) == 0
    said = capsys.readouterr().out
    assert "version 3 was written, but the network was rolled back and stays at 1" in said
    assert f"python -m facewright_export.repository_assembly {repository} shape_decoder --latest" in said
    assert versions_in(folder) == [1, 2, 3]
    assert served_versions(folder) == [1]
    assert (folder / "config.pbtxt").read_text() == config, "of the version that is served, sizes too"
    assert run(*export, decoder, "--profile", "tensorrt") == 0
    assert "tensorrt_plan" in (folder / "config.pbtxt").read_text()
    assert served_versions(folder) == [1]
    assert choose_versions([str(repository), "shape_decoder", "--latest"]) == 0
    assert served_versions(folder) == [3, 4]
