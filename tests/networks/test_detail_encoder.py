"""The detail refinement network: tables 1 and 2 of the paper row by row, and its arithmetic in NumPy."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facewright_export.networks.detail_encoder import DetailRefinement
from tests.networks.golden import seeded_input, seeded_weights

Array = NDArray[np.float64]


def _network() -> tuple[DetailRefinement, dict[str, torch.Tensor]]:
    network = DetailRefinement().eval()
    weights = seeded_weights({key: tuple(value.shape) for key, value in network.state_dict().items()})
    network.load_state_dict(weights)
    return network, weights


def test_layers_are_those_of_tables_1_and_2() -> None:
    shapes = {key: tuple(value.shape) for key, value in DetailRefinement().state_dict().items()}
    weights = {key: shape for key, shape in shapes.items() if key.endswith(".weight")}
    # PyTorch: [out, in, k, k] of a convolution, [in, out, k, k] of a transposed one
    encoder = [(64, 6, 3, 3), (64, 64, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4)]
    decoder = [(512, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4), (64, 64, 4, 4)]
    assert [s for key, s in weights.items() if key.startswith("encoder.")] == encoder
    assert [s for key, s in weights.items() if key.startswith("albedo_decoder.")] == [*decoder, (3, 64, 3, 3)]
    assert [s for key, s in weights.items() if key.startswith("light_decoder.")] == [*decoder, (27, 64, 3, 3)]
    assert len(shapes) == 2 * (5 + 5 + 5)


@torch.no_grad()
def test_maps_keep_the_sizes_of_the_tables() -> None:
    network, _ = _network()
    sizes: list[tuple[int, ...]] = []
    for layers in (network.encoder, network.albedo_decoder):
        for layer in layers:
            if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                layer.register_forward_hook(lambda _, __, output: sizes.append(tuple(output.shape[2:])))
    texture, albedo = (seeded_input((1, 3, 256, 256), name) for name in ("texture", "albedo"))
    detailed, light = network(texture, albedo)
    assert sizes == [(s, s) for s in (256, 128, 64, 32, 16, 32, 64, 128, 256, 256)]
    assert detailed.shape == (1, 3, 256, 256)
    assert light.shape == (1, 27, 256, 256)


@torch.no_grad()
def test_outputs_are_those_of_a_numpy_reference() -> None:
    network, weights = _network()
    texture, prior = (seeded_input((1, 3, 32, 32), name) for name in ("texture", "albedo"))
    arrays = {key: value.double().numpy() for key, value in weights.items()}
    code = np.concatenate([texture[0].double().numpy(), prior[0].double().numpy()])
    for i, stride in enumerate((1, 2, 2, 2, 2)):
        weight, bias = arrays[f"encoder.{3 * i}.weight"], arrays[f"encoder.{3 * i}.bias"]
        code = _normalised(_convolved(code, weight, bias, stride))
        code = np.where(code > 0, code, 0.2 * code)
    for name, output in zip(("albedo_decoder", "light_decoder"), network(texture, prior), strict=True):
        maps: Any = code
        for i in range(4):
            weight, bias = arrays[f"{name}.{3 * i}.weight"], arrays[f"{name}.{3 * i}.bias"]
            maps = np.maximum(_normalised(_spread(maps, weight, bias)), 0)
        maps = _convolved(maps, arrays[f"{name}.12.weight"], arrays[f"{name}.12.bias"], 1)
        assert np.abs(output[0].numpy() - maps).max() < 1e-4 * np.abs(maps).max()


def _convolved(maps: Array, weight: Array, bias: Array, stride: int) -> Array:
    """Convolution with padding 1: [I, H, W] → [O, H', W']."""
    size = weight.shape[2]
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))[:, ::stride, ::stride]
    return np.tensordot(weight, windows, ((1, 2, 3), (0, 3, 4))) + bias[:, None, None]


def _spread(maps: Array, weight: Array, bias: Array) -> Array:
    """Transposed convolution, kernel 4, stride 2, padding 1: every input adds its kernel to the output."""
    _, height, width = maps.shape
    out = np.zeros((weight.shape[1], 2 * height + 2, 2 * width + 2))
    for row in range(4):
        for column in range(4):
            added = np.tensordot(weight[:, :, row, column], maps, ((0,), (0,)))
            out[:, row : row + 2 * height : 2, column : column + 2 * width : 2] += added
    return out[:, 1:-1, 1:-1] + bias[:, None, None]


def _normalised(maps: Array) -> Array:
    """Instance normalisation without learned scale."""
    centred = maps - maps.mean((1, 2), keepdims=True)
    return centred / np.sqrt((centred**2).mean((1, 2), keepdims=True) + 1e-5)
