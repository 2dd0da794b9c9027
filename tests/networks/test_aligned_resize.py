"""Resizing by two matrices gives what torch's interpolation gives."""

import pytest
import torch
from torch.nn import functional

from facewright_export.networks.aligned_resize import resize_aligned
from tests.networks.golden import seeded_input


@pytest.mark.parametrize(
    ("source", "target"), [((60, 60), (473, 473)), ((1, 1), (60, 60)), ((3, 6), (60, 40)), ((9, 9), (1, 4))]
)
def test_equals_interpolation_with_aligned_corners(source: tuple[int, int], target: tuple[int, int]) -> None:
    features = seeded_input((2, 3, *source))
    expected = functional.interpolate(features, target, mode="bilinear", align_corners=True)
    torch.testing.assert_close(resize_aligned(features, target), expected, atol=5e-6, rtol=0)


def test_corners_stay_where_they_are() -> None:
    features = seeded_input((1, 1, 6, 6))
    resized = resize_aligned(features, (61, 31))
    torch.testing.assert_close(resized[..., ::60, ::30], features[..., ::5, ::5], atol=1e-6, rtol=0)
