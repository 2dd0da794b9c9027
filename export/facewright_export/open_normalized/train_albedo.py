"""Fit the albedo half: ``python -m facewright_export.open_normalized.train_albedo [--out FILE]``.

People's maps are drawn from their factors. Level by level, coarse to fine: what the levels before leave is
averaged down to the level's size, its principal components are taken (texels of the face count more), and a
small network learns the components' weights from the factors. Seeded: one machine gives the same weights
again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright_export.open_normalized.albedo_weights import (
    BENDING,
    BENDING_BIAS,
    HIDDEN,
    LEVELS,
    WEIGHTS_FILE,
    LevelShape,
    LevelWeights,
    doubled,
    load_weights,
    save_weights,
)
from facewright_export.open_normalized.factors import LOOK_SIZE
from facewright_export.open_normalized.geometry_maps import MAP_SIZE
from facewright_export.open_normalized.looks import FARTHEST, look_of
from facewright_export.open_normalized.people_albedo import PeopleAlbedo

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

PEOPLE: Final = 1600
STEPS: Final = 4000
BATCH: Final = 128
LEARNING_RATE: Final = 1e-2
WEIGHT_DECAY: Final = 0.05
#: Standard deviation of what is added to factors.
JITTER: Final = 0.03
#: How much a texel counts: of the face, of the rest of the head, between the islands.
FACE_WEIGHT: Final = 3.0
GAP_WEIGHT: Final = 0.05
HELD_OUT_PEOPLE: Final = 48
_HELD_OUT_SEED: Final = 99


@dataclass(frozen=True)
class DrawnLooks:
    """People's look factors f32 [N, 32] and square roots of their albedo in bytes u8 [N, 3, 256, 256]."""

    factors: F32
    roots: U8

    @classmethod
    def draw(cls, head: HeadModel, count: int, seed: int) -> DrawnLooks:
        """People of a seed."""
        factors = np.random.default_rng(seed).normal(size=(count, LOOK_SIZE)).clip(-FARTHEST, FARTHEST)
        artist = PeopleAlbedo(head)
        roots = np.empty((count, 3, MAP_SIZE, MAP_SIZE), np.uint8)
        for root, row in zip(roots, factors, strict=True):
            root[:] = np.sqrt(artist.draw(look_of(row))) * 255 + 0.5
        return cls(factors.astype(np.float32), roots)

    def at_size(self, size: int) -> F32:
        """Square roots of albedo [N, 3, S, S], 0-1, averaged over squares of texels."""
        share = MAP_SIZE // size
        smaller = np.empty((len(self.roots), 3, size, size), np.float32)
        for small, root in zip(smaller, self.roots, strict=True):
            blocks = root.reshape(3, size, share, size, share)
            small[:] = blocks.mean(axis=(2, 4), dtype=np.float32) / np.float32(255)
        return smaller


def texel_weights(head: HeadModel) -> F32:
    """How much each texel counts, f32 [256, 256]."""
    artist = PeopleAlbedo(head)
    face = artist.of_vertices(np.clip(head.region("face") + head.region("lips"), 0, 1))
    return np.where(artist.covered, 1 + (FACE_WEIGHT - 1) * face, GAP_WEIGHT).astype(np.float32)


def train(
    looks: DrawnLooks,
    texels: F32,
    levels: tuple[LevelShape, ...] = LEVELS,
    seed: int = 1,
    steps: int = STEPS,
) -> list[LevelWeights]:
    """The weights of each level.

    Args:
        looks: to learn from.
        texels: of `texel_weights`.
        levels: the pyramid, or its first levels.
        seed, steps: of the networks' training.
    """
    trained: list[LevelWeights] = []
    explained: F32 | None = None
    for shape in levels:
        left = looks.at_size(shape.size)
        if explained is not None:
            for row, before in zip(left, explained, strict=True):
                row -= doubled(before)
        share = MAP_SIZE // shape.size
        counted = texels.reshape(shape.size, share, shape.size, share).mean(axis=(1, 3))
        mean, components, weights = _principal_components(left, counted, shape.components)
        level = _fitted(looks.factors, (mean, components, weights), seed, steps)
        trained.append(level)
        if shape is levels[-1]:
            break
        maps = left  # its memory: what is explained takes the place of what was left
        for row, own in zip(maps, weighed(level, looks.factors), strict=True):
            row[:] = level.mean + np.tensordot(own, level.components, 1)
        if explained is not None:
            for row, before in zip(maps, explained, strict=True):
                row += doubled(before)
        explained = maps
    return trained


def _principal_components(left: F32, counted: F32, count: int) -> tuple[F32, F32, F32]:
    """Mean [3, S, S], components [K, 3, S, S] and each map's weights of them [N, K]; lengths and angles are
    those of maps whose texels are weighed as they count."""
    mean = left.mean(axis=0)
    scale = np.sqrt(counted / counted.mean()).astype(np.float32)
    rows = ((left - mean) * scale).reshape(len(left), -1)
    lengths, turned = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    chosen = np.argsort(lengths)[::-1][:count]
    spread = np.sqrt(np.maximum(lengths[chosen], 1e-12))
    weights = (turned[:, chosen] * spread).astype(np.float32)
    components = ((turned[:, chosen] / spread).T.astype(np.float32) @ rows).reshape(-1, *mean.shape) / scale
    return mean, components, weights


def _fitted(factors: F32, principal: tuple[F32, F32, F32], seed: int, steps: int) -> LevelWeights:
    """The level whose network gives the weights of `_principal_components` of ``factors`` [N, 32] best."""
    mean, components, weights = principal
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    size = weights.std(axis=0) + 1e-6
    hidden, last = nn.Linear(LOOK_SIZE + len(BENDING_BIAS), HIDDEN), nn.Linear(HIDDEN, weights.shape[1])
    direct = nn.Linear(hidden.in_features, weights.shape[1], bias=False)
    parameters = [p for layer in (hidden, last, direct) for p in layer.parameters()]
    optimiser = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    wanted = torch.from_numpy(weights / size.max())
    for _ in range(steps):
        rows = random.integers(len(factors), size=BATCH)
        shown = factors[rows] + random.normal(scale=JITTER, size=(BATCH, LOOK_SIZE))
        both = torch.from_numpy(_with_bent(shown.astype(np.float32)))
        loss = (last(torch.tanh(hidden(both))) + direct(both) - wanted[rows]).square().sum(dim=1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    scale = np.float32(size.max())
    bias = last.bias.detach().numpy() * scale
    return LevelWeights(
        hidden=_transposed(hidden),
        hidden_bias=hidden.bias.detach().numpy(),
        last=_transposed(last) * scale,
        direct=_transposed(direct) * scale,
        mean=mean + np.tensordot(bias, components, 1),
        components=components,
    )


def _with_bent(factors: F32) -> F32:
    """Factors [N, 32] and what `BENDING` makes of them, [N, 96]."""
    return np.concatenate([factors, np.tanh(factors @ BENDING + BENDING_BIAS)], axis=1)


def _transposed(layer: nn.Linear) -> F32:
    return np.ascontiguousarray(layer.weight.detach().numpy().T)


def weighed(level: LevelWeights, factors: F32) -> F32:
    """Weights [N, K] of a level's components for people with ``factors`` [N, 32]."""
    both = _with_bent(factors)
    found: F32 = np.tanh(both @ level.hidden + level.hidden_bias) @ level.last + both @ level.direct
    return found


def made_roots(levels: list[LevelWeights], factors: F32) -> F32:
    """Square roots of albedo [N, 3, S, S] of people whose layers all say the same."""
    root: F32 | None = None
    for level in levels:
        own = level.mean + np.tensordot(weighed(level, factors), level.components, 1)
        root = own if root is None else own + doubled(root)
    assert root is not None
    return root


@dataclass(frozen=True)
class HeldOutError:
    """How far the albedo is from that of people it was not trained on: CIE76, means over texels.

    Attributes:
        delta_e: over all that the head covers; ``deviation_delta_e`` is that of the mean albedo for all.
        face_delta_e, face_deviation_delta_e: over the face.
    """

    delta_e: float
    deviation_delta_e: float
    face_delta_e: float
    face_deviation_delta_e: float


def held_out_error(head: HeadModel, levels: list[LevelWeights], count: int = HELD_OUT_PEOPLE) -> HeldOutError:
    """Measure on people of another seed than training's."""
    looks = DrawnLooks.draw(head, count, _HELD_OUT_SEED)
    truth = (looks.roots.astype(np.float32) / 255) ** 2
    artist = PeopleAlbedo(head)
    face = artist.of_vertices(head.region("face")) > 0.5

    def delta_e(albedo: NDArray[np.floating]) -> list[float]:
        apart = np.linalg.norm(linear_lab(albedo) - linear_lab(truth), axis=1)
        return [round(float(apart[:, texels].mean()), 3) for texels in (artist.covered, face)]

    of_people, of_face = delta_e(made_roots(levels, looks.factors) ** 2)
    of_mean, of_mean_face = delta_e(np.broadcast_to(truth.mean(axis=0), truth.shape))
    return HeldOutError(of_people, of_mean, of_face, of_mean_face)


def linear_lab(linear: NDArray[np.floating]) -> NDArray[np.float64]:
    """CIE L*a*b* (D65) [B, 3, H, W] of linear Rec. 709 RGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    white = to_xyz.sum(axis=1)
    ratio = np.einsum("ij,bjhw->bihw", to_xyz / white[:, None], np.clip(linear, 0, 1).astype(np.float64))
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(root, 1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def main() -> None:
    """The command of the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=PEOPLE, help="whose maps are drawn (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=WEIGHTS_FILE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    head = HeadModel.load(asset_path("head.npz"))
    start = time.process_time()
    levels = train(
        DrawnLooks.draw(head, options.people, options.seed), texel_weights(head), seed=options.seed
    )
    provenance: dict[str, Any] = {
        "command": "python -m facewright_export.open_normalized.train_albedo "
        f"--people {options.people} --seed {options.seed}",
        "data": "albedo of synthetic people drawn in the open head's UV; no photos",
        "processor_seconds": round(time.process_time() - start),
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "licence": "Apache-2.0, as this project",
    }
    save_weights(levels, provenance, options.out)
    error = asdict(held_out_error(head, load_weights(options.out)[0]))
    save_weights(levels, {**provenance, "held_out": error}, options.out)
    print(json.dumps(error, indent=2))


if __name__ == "__main__":
    main()
