"""The small regressors of the twin and normalized pipelines, which have no published files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from facewright_export.checkpoints import LayoutError
from facewright_export.checkpoints.state_dict import import_state_dict
from facewright_export.networks.camera_regressor import CAMERA_PARAMETERS, CameraRegressor
from facewright_export.networks.identity_regressor import IdentityRegressor
from facewright_export.networks.shape_decoder import ShapeDecoder
from tests.networks.golden import SAME_NETWORK, relative_difference, seeded_input, seeded_weights


def seeded(network: nn.Module, path: Path) -> nn.Module:
    """`network` filled through a file of seeded weights."""
    weights = seeded_weights({key: tuple(value.shape) for key, value in network.state_dict().items()})
    torch.save(weights, path)
    return import_state_dict(network, path)


@torch.no_grad()
def test_shape_decoder_is_the_papers_three_layers(tmp_path: Path) -> None:
    decoder = seeded(ShapeDecoder(), tmp_path / "decoder.pt")
    layers = [tuple(value.shape) for value in decoder.state_dict().values() if value.ndim == 2]
    assert layers == [(128, 256), (200, 128), (8775, 200)]
    w = {key: value.double().numpy() for key, value in decoder.state_dict().items()}
    feature = seeded_input((3, 256), "feature")
    hidden = np.maximum(feature.numpy() @ w["hidden.weight"].T + w["hidden.bias"], 0)
    coefficients = hidden @ w["coefficients.weight"].T + w["coefficients.bias"]
    expected = coefficients @ w["vertices.weight"].T + w["vertices.bias"]
    assert relative_difference(decoder(feature), expected.reshape(3, 2925, 3)) < SAME_NETWORK


@torch.no_grad()
def test_identity_regressor_is_four_layers_to_w_plus(tmp_path: Path) -> None:
    regressor = seeded(IdentityRegressor(), tmp_path / "regressor.pt")
    values = list(regressor.state_dict().values())
    assert [tuple(v.shape) for v in values if v.ndim == 2] == [(512, 512)] * 3 + [(7168, 512)]
    embedding = seeded_input((2, 512), "embedding")
    expected = embedding.double().numpy()
    for i, (weight, bias) in enumerate(zip(values[::2], values[1::2], strict=True)):
        expected = expected @ weight.double().numpy().T + bias.double().numpy()
        if i < 3:
            expected = np.where(expected > 0, expected, 0.2 * expected)
    w_plus = regressor(embedding)
    assert w_plus.shape == (2, 14, 512)
    assert relative_difference(w_plus, expected.reshape(2, 14, 512)) < SAME_NETWORK


@torch.no_grad()
def test_camera_regressor_has_torchvisions_names_and_seven_outputs(tmp_path: Path) -> None:
    regressor = seeded(CameraRegressor(), tmp_path / "camera.pt")
    assert regressor.state_dict()["fc.weight"].shape == (7, 2048)
    assert "layer4.2.conv3.weight" in regressor.state_dict()
    cameras = regressor(seeded_input((2, 3, 224, 224)))
    assert cameras.shape == (2, len(CAMERA_PARAMETERS))
    assert (cameras[0] - cameras[1]).abs().max() > 0


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": ShapeDecoder().state_dict()}, tmp_path / "decoder.pt")
    import_state_dict(ShapeDecoder(), tmp_path / "decoder.pt")
    with pytest.raises(
        LayoutError,
        match="does not fit IdentityRegressor: it has none of the network's 8 names, but coefficients",
    ):
        import_state_dict(IdentityRegressor(), tmp_path / "decoder.pt")
