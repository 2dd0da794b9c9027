"""LPIPS against recorded outputs of the lpips package, from torchvision's and its own files."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from facewright_export.checkpoints import LayoutError
from facewright_export.checkpoints.lpips import import_lpips
from facewright_export.networks.lpips import Backbone, Lpips, unit_length
from tests.networks.golden import SAME_NETWORK, load_golden, relative_difference, seeded_input

CLASSIFIER = {"classifier.6.bias": torch.zeros(1000), "classifier.6.weight": torch.zeros(1000, 8)}
IMAGES = (2, 3, 160, 160)


def split_weights(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Torchvision's file and the lpips package's: weights of the distance are never negative."""
    backbone = {key: value for key, value in weights.items() if key.startswith("features.")}
    return backbone | CLASSIFIER, {key: v.abs() for key, v in weights.items() if key.startswith("lin")}


@pytest.mark.parametrize("backbone", ["vgg16", "alexnet"])
@torch.no_grad()
def test_files_to_distance(tmp_path: Path, backbone: Backbone) -> None:
    golden = load_golden(f"lpips_{backbone}")
    features, distance_weights = split_weights(golden.weights())
    torch.save(features, tmp_path / "backbone.pth")
    torch.save(distance_weights, tmp_path / "lin.pth")
    lpips = import_lpips(tmp_path / "backbone.pth", tmp_path / "lin.pth")
    assert lpips.backbone == backbone
    first = lpips.unit_features(seeded_input(IMAGES))
    assert relative_difference(first[-1][:, ::3], golden.outputs["last_features"]) < SAME_NETWORK
    distance = lpips.distance(first, lpips.unit_features(seeded_input(IMAGES, "other")))
    assert relative_difference(distance, golden.outputs["distance"]) < SAME_NETWORK


def test_weights_of_another_backbone_are_named(tmp_path: Path) -> None:
    features, _ = split_weights(load_golden("lpips_alexnet").weights())
    _, distance_weights = split_weights(load_golden("lpips_vgg16").weights())
    torch.save(features, tmp_path / "backbone.pth")
    torch.save(distance_weights, tmp_path / "lin.pth")
    with pytest.raises(LayoutError, match=r"does not fit Lpips: .*lin1\.model\.1\.weight"):
        import_lpips(tmp_path / "backbone.pth", tmp_path / "lin.pth")


def test_gradient_is_finite_where_features_vanish() -> None:
    features = torch.zeros(1, 4, 2, 2)
    features[..., 0, 0] = torch.tensor([3.0, 0.0, 4.0, 0.0])
    features.requires_grad_()
    unit = unit_length(features)
    torch.testing.assert_close(unit[0, :, 0, 0], torch.tensor([0.6, 0.0, 0.8, 0.0]))
    unit.sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


@torch.no_grad()
def test_an_image_has_no_distance_to_itself_and_distance_is_symmetric() -> None:
    golden = load_golden("lpips_alexnet")
    lpips = Lpips("alexnet")
    features, distance_weights = split_weights(golden.weights())
    lpips.load_state_dict({k: v for k, v in (features | distance_weights).items() if k not in CLASSIFIER})
    a, b = seeded_input((1, 3, 96, 96)), seeded_input((1, 3, 96, 96), "other")
    assert lpips(a, a).item() == 0
    assert lpips(a, b).item() == pytest.approx(lpips(b, a).item(), rel=1e-6)
