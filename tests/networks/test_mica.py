"""ArcFace backbones, MICA and AlbedoGAN's regressors against the official code, from published formats."""

from pathlib import Path

import numpy as np
import pytest
import torch

from facewright_export.checkpoints import LayoutError
from facewright_export.checkpoints.albedo_gan import import_albedo_gan_regressors
from facewright_export.checkpoints.insightface import import_arcface
from facewright_export.checkpoints.mica import import_mica
from facewright_export.networks.iresnet import IResNet
from tests.networks.golden import SAME_NETWORK, load_golden, relative_difference, seeded_input, seeded_weights

# the residual branches of 49 blocks would otherwise double the variance 49 times
_SMALL_BRANCHES = {"layer*.conv2.weight": 0.004}
_REGRESSORS = load_golden("albedo_gan_regressors")


def _section(name: str) -> dict[str, torch.Tensor]:
    """The official module ``name``'s weights: its table is kept under ``name/key``."""
    shapes = {
        key.removeprefix(f"{name}/"): shape
        for key, shape in _REGRESSORS.shapes.items()
        if key.startswith(f"{name}/")
    }
    return seeded_weights(shapes, _SMALL_BRANCHES if name == "arcface" else None)


@torch.no_grad()
def test_iresnet50_embedding_is_the_official_one(tmp_path: Path) -> None:
    golden = load_golden("iresnet50")
    path = tmp_path / "backbone.pth"
    torch.save({f"module.{key}": value for key, value in golden.weights(_SMALL_BRANCHES).items()}, path)
    embedding = import_arcface(path)(seeded_input((2, 3, 112, 112)))
    assert relative_difference(embedding, golden.outputs["output"]) < SAME_NETWORK


@torch.no_grad()
def test_iresnet100_embedding_is_the_official_one(tmp_path: Path) -> None:
    """The backbone in MICA's and AlbedoGAN's files, which hold insightface's 100-layer one."""
    weights = _section("arcface")
    blocks = [
        len({key.split(".")[1] for key in weights if key.startswith(f"layer{i}.")}) for i in range(1, 5)
    ]
    assert blocks == [3, 13, 30, 3]
    path = tmp_path / "backbone.pth"
    torch.save(weights, path)
    embedding = import_arcface(path)(seeded_input((2, 3, 112, 112)))
    assert relative_difference(embedding, _REGRESSORS.outputs["embedding"]) < SAME_NETWORK


@torch.no_grad()
def test_mica_and_albedo_gan_are_the_official_ones(tmp_path: Path) -> None:
    faces = seeded_input((2, 3, 112, 112))
    arcface, shape, face = (_section(name) for name in ("arcface", "flameModel", "otherParamModel"))
    path = tmp_path / "mica.tar"
    flame_copy = {"generator.v_template": torch.zeros(5023, 3)}
    # MICA's trainer keeps its best score as a number of NumPy's
    validator = {"best_model": {"average": np.float64(0.9), "counter": 1}}
    torch.save({"arcface": arcface, "flameModel": shape | flame_copy, "validator": validator}, path)
    mica = import_mica(path)
    assert relative_difference(mica.arcface(faces), _REGRESSORS.outputs["embedding"]) < SAME_NETWORK
    assert relative_difference(mica(faces), _REGRESSORS.outputs["shape"]) < SAME_NETWORK

    torch.save({"arcface": arcface, "flameModel": shape, "otherParamModel": face, "opt": {}}, path)
    shape_code, face_code = import_albedo_gan_regressors(path)(faces)
    assert face_code.shape == (2, 86)
    assert relative_difference(shape_code, _REGRESSORS.outputs["shape"]) < SAME_NETWORK
    assert relative_difference(face_code, _REGRESSORS.outputs["face"]) < SAME_NETWORK


def test_a_backbone_of_another_depth_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "backbone.pth"
    torch.save(IResNet((2, 2, 2, 2)).state_dict(), path)
    with pytest.raises(LayoutError, match="third layer has 2 blocks, expected 14 or 30"):
        import_arcface(path)


def test_a_mica_file_without_its_regressor_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mica.tar"
    torch.save({"arcface": {"x": torch.zeros(1)}, "flameModel": {"generator.f": torch.zeros(1)}}, path)
    with pytest.raises(LayoutError, match="does not fit Mica: it has none of the network's 781 names;"):
        import_mica(path)
