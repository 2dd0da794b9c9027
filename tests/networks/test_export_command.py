"""`facewright export` from files in the published formats to a model repository, for every pipeline.

Each pipeline exports its quicker networks, generators narrow; `make test-all` also exports all that a
pipeline can use, at full size.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from facewright.cli import main
from facewright.engines.exported_repository import read_config
from facewright.engines.onnx_engine import OnnxEngine
from facewright.server.model_configs import PROFILES
from facewright_export import network_tables
from facewright_export.checkpoints._reading import load_strictly
from facewright_export.commands import _PIPELINES, _PRECISIONS
from facewright_export.network import Network
from facewright_export.network_tables import NETWORKS, PIPELINES, network, pipeline_networks
from facewright_export.networks.shape_decoder import ShapeDecoder
from facewright_export.onnx.precision import Precision
from facewright_export.weight_files import WeightFiles, load_network
from tests.networks.published_files import _WRITERS, write_ada_file, write_alexnet_lpips, write_files

#: Networks of each pipeline that take a few seconds each, one of a kind: StyleGAN2 is normalized's here, and
#: FLAME generative's.
QUICK = {
    "twin": ("light_cnn", "shape_decoder"),
    "normalized": ("identity_regressor", "avatar_generator"),
    "rerenderable": ("basel_face", "detail_refinement"),
    "generative": ("generative_head",),
    "animatable": ("coarse_encoder",),
}


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize(
    "full_size", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["quick", "full_size"]
)
@pytest.mark.parametrize("pipeline", sorted(PIPELINES))
def test_a_pipeline_goes_from_its_files_to_a_repository(
    pipeline: str, full_size: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pipeline_networks(pipeline) if full_size else [network(name) for name in QUICK[pipeline]]
    (tmp_path / "weights").mkdir()
    files = sorted(
        {path for row in rows for path in write_files(tmp_path / "weights", row, full_size=full_size)}
    )
    only = () if full_size else ("--network", *QUICK[pipeline])
    repository = tmp_path / "repository"
    assert run("export", pipeline, "--weights", *files, *only, "--output", repository) == 0
    said = capsys.readouterr().out
    assert sorted(path.name for path in repository.iterdir()) == sorted(row.name for row in rows)
    for row in rows:
        assert row.name in said
        _assert_file_computes_what_the_files_weights_do(row, repository, tmp_path / "weights")


def _assert_file_computes_what_the_files_weights_do(row: Network, repository: Path, weights: Path) -> None:
    """The served file on inputs that the gate did not see, beside the module loaded from the file anew."""
    paths = [weights / name.replace(" ", "_") for name in row.files]
    examples = row.examples(1, seed=7)
    wanted = row.reference(row.from_files(*paths), examples)
    engine = OnnxEngine(repository / row.name / "1" / "model.onnx")
    assert list(engine.inputs) == [given.name for given in row.inputs]
    assert list(engine.outputs) == list(row.outputs)
    got = engine.run(examples)
    for name, array in wanted.items():
        error = np.linalg.norm(got[name].astype(np.float64) - array) / np.linalg.norm(array)
        assert error < 1e-4, (row.name, name)
    for profile in PROFILES:
        assert (repository / row.name / "configs" / f"{profile}.pbtxt").is_file()


def test_fp16_layers_that_stay_fp32_are_found_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """StyleGAN2's demodulation: a layer that was renamed is noticed here, not by its owner.

    The file is NVIDIA's; the pipelines' test exports rosinality's.
    """
    row = network("avatar_generator")
    arguments = ("--weights", write_ada_file(tmp_path / "ada.pt", row), "--precision", "fp16", "--check")
    assert run("export", "normalized", "--network", row.name, *arguments) == 0
    assert "UV_MAPS" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["avatar_generator", "face_generator"])
def test_nvidias_state_dict_is_the_same_generator_as_rosinalitys_file(name: str, tmp_path: Path) -> None:
    row = network(name)
    wanted = row.from_files(*write_files(tmp_path, row)).state_dict()
    got = row.from_files(write_ada_file(tmp_path / "ada.pt", row)).state_dict()
    assert sorted(got) == sorted(wanted)
    assert all(torch.allclose(got[key], value) for key, value in wanted.items())


def test_the_perceptual_distance_over_alexnet_is_exported(tmp_path: Path) -> None:
    row = network("perceptual_distance")
    files = write_alexnet_lpips(tmp_path)
    arguments = ("--network", row.name, "--weights", *files, "--output", tmp_path / "repository")
    assert run("export", "normalized", *arguments) == 0
    examples = row.examples(1, seed=7)
    engine = OnnxEngine(tmp_path / "repository" / row.name / "1" / "model.onnx")
    wanted = row.reference(row.from_files(*files), examples)["LPIPS"]
    np.testing.assert_allclose(engine.run(examples)["LPIPS"], wanted, rtol=1e-4)


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    """A shape decoder of 50 vertices."""
    torch.manual_seed(0)
    path = tmp_path / "decoder.pt"
    torch.save(ShapeDecoder(50).state_dict(), path)
    return path


def test_the_file_decides_what_the_publication_leaves_open(decoder: Path, tmp_path: Path) -> None:
    assert (
        run("export", "twin", "--network", "shape_decoder", "--weights", decoder, "--output", tmp_path / "r")
        == 0
    )
    assert OnnxEngine(tmp_path / "r/shape_decoder/1/model.onnx").outputs["VERTICES"].shape == (None, 50, 3)
    (vertices,) = read_config(tmp_path / "r/shape_decoder").output
    assert list(vertices.dims) == [50, 3]


def test_narrow_files_for_tensorrt_name_the_next_command(
    decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--precision", "fp16", "--profile", "tensorrt", "--output", tmp_path / "r")
    assert run("export", "twin", "--network", "shape_decoder", "--weights", decoder, *arguments) == 0
    assert "facewright build" in capsys.readouterr().out
    assert "tensorrt_plan" in (tmp_path / "r/shape_decoder/config.pbtxt").read_text()


def test_checking_writes_nothing(decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--weights", f"shape_decoder={decoder}", "--output", tmp_path / "r", "--check")
    assert run("export", "twin", "--network", "shape_decoder", *arguments) == 0
    assert "nothing was written" in capsys.readouterr().out
    assert not (tmp_path / "r").exists()


def test_a_network_that_computes_something_else_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights of an identity regressor whose second layer leaves fp16's range, and whose third comes back."""
    row = network("identity_regressor")
    (path,) = write_files(tmp_path, row)
    state = torch.load(path)
    state |= {"layers.2.weight": 1e7 * state["layers.2.weight"].clamp(-0.004, 0.004)}
    state |= {"layers.4.weight": 1e-4 * state["layers.4.weight"]}
    torch.save(state, path)
    arguments = ("--weights", path, "--precision", "fp16", "--output", tmp_path / "r")
    assert run("export", "normalized", "--network", row.name, *arguments) == 1
    said = capsys.readouterr().err
    assert "worst tensor is W_PLUS" in said
    assert "FAILS: values that are not finite" in said
    assert "  layers.2/Gemm: values that are not finite, from relative L2 " in said, "the layer to be mended"
    assert "layers.4/Gemm" not in said, "it passes on what it is given"
    assert not (tmp_path / "r").exists()


def test_missing_files_are_named_with_the_reasons(
    decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", "twin", "--weights", decoder, "--output", tmp_path / "r") == 1
    said = capsys.readouterr().err
    assert "light_cnn (LightCNN_29Layers_V2_checkpoint.pth.tar)" in said
    assert "decoder.pt" in said


def test_a_file_that_fits_nothing_is_an_error(
    decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"other.weight": torch.zeros(3)}, tmp_path / "other.pt")
    arguments = ("--weights", decoder, tmp_path / "other.pt", "--output", tmp_path / "r")
    assert run("export", "twin", "--network", "shape_decoder", *arguments) == 1
    assert "other.pt fits no network" in capsys.readouterr().err


def test_an_alternative_needs_a_file_of_its_own(
    decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AlbedoGAN's file holds all that MICA's does: it makes one network of the two, not both."""
    first = network("shape_decoder")
    second = replace(first, name="other_decoder")
    monkeypatch.setattr(network_tables, "NETWORKS", (first, second))
    monkeypatch.setitem(PIPELINES, "twin", (("shape_decoder", "other_decoder"),))  # type: ignore[arg-type]
    assert run("export", "twin", "--weights", decoder, "--output", tmp_path / "one") == 0
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["shape_decoder"]
    named = ("--weights", f"shape_decoder={decoder}", f"other_decoder={decoder}")
    assert run("export", "twin", *named, "--output", tmp_path / "two") == 0
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["other_decoder", "shape_decoder"]


def test_two_files_of_one_network_are_found_in_any_order(decoder: Path, tmp_path: Path) -> None:
    """As LPIPS' two: a file that another network took is not tried, and two orders are one choice."""
    state = torch.load(decoder)
    halves = tmp_path / "a.pt", tmp_path / "b.pt"
    for path, names in zip(halves, (list(state)[:2], list(state)[2:]), strict=True):
        torch.save({name: state[name] for name in names}, path)

    def load(*paths: Path) -> nn.Module:
        union = {name: value for path in paths for name, value in torch.load(path).items()}
        module = ShapeDecoder(50)
        load_strictly(module, union, source="both")
        return module

    row = replace(network("shape_decoder"), load=load, files=("a.pt", "b.pt"))
    found = load_network(row, WeightFiles({}, (*halves, decoder)), reserved=(decoder,))
    assert found is not None
    assert set(found.paths) == set(halves)
    assert [line.split()[0] for line in sorted(found.weights)] == ["a.pt", "b.pt"]
    assert load_network(row, WeightFiles({}, (halves[0], decoder)), reserved=(decoder,)) is None


def test_a_choice_of_two_files_is_an_error(
    decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(decoder, tmp_path / "second.pt")
    arguments = ("--weights", decoder, tmp_path / "second.pt", "--output", tmp_path / "r")
    assert run("export", "twin", "--network", "shape_decoder", *arguments) == 1
    assert "decoder.pt and second.pt all fit shape_decoder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--weights", "nothing.pt"), "there is no file nothing.pt"),
        (("--weights", "arcface=nothing.pt"), "there is no network 'arcface' in this pipeline"),
        (("--weights", __file__, "--network", "mica"), "twin has no network mica"),
    ],
)
def test_wrong_usage_says_what_is_there(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", "twin", *arguments) == 1
    said = capsys.readouterr().err
    assert words in said
    assert "mend:" in said


def test_a_link_that_leads_back_to_itself_is_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "circle.pt").symlink_to("circle.pt")
    assert run("export", "twin", "--weights", tmp_path / "circle.pt", "--output", tmp_path / "out") == 1
    assert f"{tmp_path}/circle.pt is a link that leads to no file" in capsys.readouterr().err


def test_the_command_line_knows_the_tables_pipelines() -> None:
    assert set(_PIPELINES) == set(PIPELINES)
    assert set(_PRECISIONS) == set(Precision)


def test_every_row_is_in_a_pipeline_and_has_a_published_file() -> None:
    names = [row.name for row in NETWORKS]
    assert len(set(names)) == len(names)
    assert {row.name for pipeline in PIPELINES for row in pipeline_networks(pipeline)} == set(names)
    assert set(_WRITERS) == set(names)


def test_examples_are_what_they_say() -> None:
    row = network("face_embedding")
    pixels = row.examples(2)["FACE_IMAGE"]
    assert (pixels.shape, pixels.dtype) == ((2, 160, 160, 3), np.uint8)
    assert pixels.std() > 30
    direction = network("identity_regressor").examples(3)["EMBEDDING"]
    np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1, rtol=1e-6)


def test_an_alternative_to_a_network_that_is_not_in_the_table_is_refused() -> None:
    assert ("generative_regressors", "mica") in PIPELINES["generative"]
    alone = replace(network("mica"), instead_of="generative_regressor")
    with pytest.raises(ValueError, match="mica: instead_of must name a network of the same table"):
        network_tables._groups((network("arcface"), alone))
