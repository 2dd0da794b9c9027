"""LightCNN-29 v2 against recorded outputs of its authors' code, from a file in their format."""

from pathlib import Path

import pytest
import torch

from facewright_export.checkpoints import LayoutError
from facewright_export.checkpoints.light_cnn import import_light_cnn
from tests.networks.golden import SAME_NETWORK, Golden, load_golden, relative_difference, seeded_input


def published(golden: Golden) -> dict[str, object]:
    return {
        "epoch": 79,
        "arch": "LightCNN",
        "state_dict": {f"module.{key}": value for key, value in golden.weights().items()},
        "prec1": 98.9,
    }


@torch.no_grad()
def test_file_to_feature(tmp_path: Path) -> None:
    golden = load_golden("light_cnn_29_v2")
    assert golden.shapes["fc2.weight"] == (80013, 256)
    # The authors' files are of the time before torch.save wrote zip archives.
    path = tmp_path / "LightCNN_29Layers_V2_checkpoint.pth.tar"
    torch.save(published(golden), path, _use_new_zipfile_serialization=False)
    feature = import_light_cnn(path)(seeded_input((2, 1, 128, 128)))
    official = golden.outputs["feature"]
    assert relative_difference(feature, official) < SAME_NETWORK
    # The difference is a small part of the two and has all their rounding: 9e-5 was seen.
    assert relative_difference(feature[0] - feature[1], official[0] - official[1]) < 1e-3


def test_the_nine_layer_network_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "LightCNN_9Layers_checkpoint.pth.tar"
    torch.save({"state_dict": {"module.features.0.filter.weight": torch.zeros(96, 1, 5, 5)}}, path)
    with pytest.raises(
        LayoutError, match=r"does not fit LightCnn29V2: it has none of .* names, but features\.0"
    ):
        import_light_cnn(path)
