"""ResNet: torchvision's names, and the resolutions of plain and dilated networks."""

import pytest
import torch

from facewright_export.networks.resnet import RESNET50_BLOCKS, RESNET101_BLOCKS, ResNet
from tests.networks.golden import load_golden, seeded_input


def test_names_and_shapes_are_torchvisions() -> None:
    with torch.device("meta"):
        ours = {key: tuple(value.shape) for key, value in ResNet(outputs=1000).state_dict().items()}
    # Deep3D's backbone is a copy of torchvision's ResNet-50
    torchvision = {
        key.removeprefix("backbone."): shape
        for key, shape in load_golden("deep3d").shapes.items()
        if key.startswith("backbone.")
    }
    assert ours == torchvision | {"fc.weight": (1000, 2048), "fc.bias": (1000,)}


@pytest.mark.parametrize(
    ("dilations", "sizes"),
    [(((1, 1), (1, 1)), (6, 3)), (((1, 1), (2, 2)), (6, 6)), (((1, 2), (2, 4)), (12, 12))],
)
@torch.no_grad()
def test_dilated_layers_keep_their_resolution(
    dilations: tuple[tuple[int, int], tuple[int, int]], sizes: tuple[int, int]
) -> None:
    network = ResNet(dilations=dilations).eval()
    maps = network.feature_maps(seeded_input((1, 3, 96, 96)))
    assert [tuple(m.shape) for m in maps] == [(1, 1024, *[sizes[0]] * 2), (1, 2048, *[sizes[1]] * 2)]


def test_the_deeper_network_differs_in_its_third_layer() -> None:
    with torch.device("meta"):
        names = [set(ResNet(blocks).state_dict()) for blocks in (RESNET50_BLOCKS, RESNET101_BLOCKS)]
    assert names[0] < names[1]
    added = {name.split(".")[1] for name in names[1] - names[0] if name.startswith("layer3.")}
    assert {int(block) for block in added} == set(range(6, 23))
    assert all(name.startswith("layer3.") for name in names[1] - names[0])
