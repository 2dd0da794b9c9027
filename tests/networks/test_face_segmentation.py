"""BiSeNet and PSPNet against recorded outputs of their public code, from files in their formats."""

from pathlib import Path

import pytest
import torch

from facewright_export.checkpoints import LayoutError
from facewright_export.checkpoints.face_segmentation import import_bisenet, import_pspnet
from facewright_export.networks.bisenet import FACE_PARTS, BiSeNet
from facewright_export.networks.pspnet import CELEBAMASK_CLASS_COUNT, IMAGE_SIDE, PspNet
from tests.networks.golden import SAME_NETWORK, load_golden, relative_difference, seeded_input


@torch.no_grad()
def test_bisenet_file_to_logits(tmp_path: Path) -> None:
    golden = load_golden("bisenet")
    assert golden.shapes["conv_out.conv_out.weight"][0] == len(FACE_PARTS) == CELEBAMASK_CLASS_COUNT
    torch.save(golden.weights(), tmp_path / "79999_iter.pth")
    logits = import_bisenet(tmp_path / "79999_iter.pth")(seeded_input((1, 3, 512, 512)))
    assert logits.shape == (1, 19, 512, 512)
    assert relative_difference(logits[..., ::13, ::11], golden.outputs["logits"]) < SAME_NETWORK


@torch.no_grad()
def test_pspnet_file_to_logits(tmp_path: Path) -> None:
    golden = load_golden("pspnet_resnet101")
    state = {f"module.{key}": value for key, value in golden.weights().items()}
    torch.save({"epoch": 100, "state_dict": state, "optimizer": {"state": {}}}, tmp_path / "train.pth")
    logits = import_pspnet(tmp_path / "train.pth")(seeded_input((1, 3, IMAGE_SIDE, IMAGE_SIDE)))
    assert logits.shape == (1, 19, IMAGE_SIDE, IMAGE_SIDE)
    assert relative_difference(logits[..., ::13, ::11], golden.outputs["logits"]) < SAME_NETWORK


def test_another_number_of_classes_is_named(tmp_path: Path) -> None:
    weights = load_golden("bisenet").weights()
    torch.save({**weights, "conv_out.conv_out.weight": torch.zeros(11, 256, 1, 1)}, tmp_path / "b.pth")
    with pytest.raises(LayoutError, match=r"conv_out\.conv_out\.weight is float32 \[11, 256, 1, 1\]"):
        import_bisenet(tmp_path / "b.pth")


def test_sides_that_the_strides_do_not_divide_are_refused() -> None:
    with torch.device("meta"):
        bisenet, pspnet = BiSeNet(), PspNet()
        with pytest.raises(ValueError, match=r"multiples of 32; got \(512, 500\)"):
            bisenet(torch.zeros(1, 3, 512, 500))
        with pytest.raises(ValueError, match=r"multiples of 8 plus 1; got \(472, 473\)"):
            pspnet(torch.zeros(1, 3, 472, 473))
