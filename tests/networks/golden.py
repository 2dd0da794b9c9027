"""Goldens: what a network's official code gave for seeded weights and inputs, and how to compare.

`goldens/<network>.json` is the key → shape table of the official module's state dict;
`goldens/<network>.npz` holds its outputs, computed by the official code with `seeded_state_dict(shapes,
SEED)` and `seeded_input`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from facewright_export.seeded_weights import seeded_state_dict, seeded_uniform

SEED = 1
#: How far outputs of a deep network may lie from the official ones, by `relative_difference`. Processors add
#: in other orders: up to 1.4e-5 was seen. Batch normalisation's other usual ε gives 2e-3 to 6e-3, one tap of
#: the blurs wrong by 1 % gives 5e-4.
SAME_NETWORK = 1e-4
_FOLDER = Path(__file__).parent / "goldens"


@dataclass(frozen=True)
class Golden:
    """The key → shape table of an official network and its recorded outputs by name."""

    shapes: dict[str, tuple[int, ...]]
    outputs: dict[str, NDArray[np.float32]]

    def weights(self, deviations: Mapping[str, float] | None = None) -> dict[str, torch.Tensor]:
        """The weights that the official network had, under its own keys."""
        return seeded_weights(self.shapes, deviations)


def load_golden(name: str) -> Golden:
    table = json.loads((_FOLDER / f"{name}.json").read_text())
    with np.load(_FOLDER / f"{name}.npz", allow_pickle=False) as archive:
        outputs = {key: archive[key] for key in archive.files}
    return Golden({key: tuple(shape) for key, shape in table.items()}, outputs)


def seeded_weights(
    shapes: Mapping[str, tuple[int, ...]], deviations: Mapping[str, float] | None = None
) -> dict[str, torch.Tensor]:
    arrays = seeded_state_dict(shapes, SEED, deviations)
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def seeded_input(shape: tuple[int, ...], name: str = "image") -> torch.Tensor:
    """The input that the official network had: uniform in −1 … 1."""
    return torch.from_numpy(seeded_uniform(shape, name, seed=0))


def relative_difference(ours: torch.Tensor, official: NDArray[np.float32]) -> float:
    """The larger of the relative L2 difference and the largest difference over the largest value."""
    difference = ours.detach().numpy().astype(np.float64) - official
    by_length = np.linalg.norm(difference) / np.linalg.norm(official)
    by_extreme = np.abs(difference).max() / np.abs(official).max()
    return float(max(by_length, by_extreme))
