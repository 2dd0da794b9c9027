"""The albedo half's weights: a pyramid of maps, whose components are weighed by a small network per level.

The square root of albedo, which is about what an eye sees, is a sum over levels of 32², 64², 128² and 256²,
each enlarged by two into the next. A level's map is its mean and K components; their weights come of the
look's factors, which a level reads from its own layers of W+, as StyleGAN's blocks do: coarse layers say
tones and where they change, fine ones hairs and pores, and each may say it of another person.

    bent = tanh(factors · BENDING + BENDING_BIAS)
    h = tanh([factors, bent] · hidden + hidden_bias)
    weights = h · last + [factors, bent] · direct
    map = mean + weights · components

Paper "normalized", section 3.1, has StyleGAN2 here. A small one was tried with a fraction of its training
(930 steps on 300 people: ΔE 11.1, where the mean of all people has 11.7) and left for what two minutes of a
core can fit; both directions of these graphs together take half the time of that network's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from facewright_export.open_head.head_file import write_head_file
from facewright_export.open_normalized.factors import LOOK_SIZE

F32 = NDArray[np.float32]

WEIGHTS_FILE: Final = Path(__file__).with_name("albedo.npz")


@dataclass(frozen=True)
class LevelShape:
    """One level of the pyramid.

    Attributes:
        size: texels per side.
        first_layer, layers: the layers of W+ that it reads, in a row.
        components: K.
    """

    size: int
    first_layer: int
    layers: int
    components: int


LEVELS: Final = (
    LevelShape(32, 0, 8, 48),
    LevelShape(64, 8, 2, 40),
    LevelShape(128, 10, 2, 20),
    LevelShape(256, 12, 2, 8),
)
#: How amounts follow factors (`looks.look_of`): some as a bell's integral, some of few people alone.
BENDING: Final = np.concatenate([0.8 * np.eye(LOOK_SIZE), 1.7 * np.eye(LOOK_SIZE)], axis=1, dtype=np.float32)
BENDING_BIAS: Final = np.repeat(np.array([0, -1.7], np.float32), LOOK_SIZE)
#: Units of the hidden layer.
HIDDEN: Final = 128
#: A level is enlarged by this transposed convolution of stride 2, along each axis: bilinear interpolation.
DOUBLING_TAPS: Final = (0.25, 0.75, 0.75, 0.25)


@dataclass(frozen=True)
class LevelWeights:
    """Float32 arrays; the module's text says what they do.

    Attributes:
        hidden, hidden_bias: [96, HIDDEN], [HIDDEN].
        last, direct: [HIDDEN, K], [96, K].
        mean: [3, S, S].
        components: [K, 3, S, S].
    """

    hidden: F32
    hidden_bias: F32
    last: F32
    direct: F32
    mean: F32
    components: F32


def save_weights(levels: list[LevelWeights], provenance: dict[str, Any], path: Path = WEIGHTS_FILE) -> None:
    """Write the weights as float16 with their ``provenance`` (JSON); the bytes depend on nothing else."""
    arrays = {
        f"level_{shape.size}_{field.name}": getattr(level, field.name).astype(np.float16)
        for shape, level in zip(LEVELS, levels, strict=True)
        for field in fields(LevelWeights)
    }
    write_head_file({"provenance": np.array(json.dumps(provenance, sort_keys=True)), **arrays}, path)


def load_weights(path: Path = WEIGHTS_FILE) -> tuple[list[LevelWeights], dict[str, Any]]:
    """The weights, widened to float32, and their provenance."""
    with np.load(path, allow_pickle=False) as file:
        levels = [
            LevelWeights(
                **{
                    field.name: file[f"level_{shape.size}_{field.name}"].astype(np.float32)
                    for field in fields(LevelWeights)
                }
            )
            for shape in LEVELS
        ]
        return levels, json.loads(str(file["provenance"]))


def doubled(maps: F32) -> F32:
    """Maps [..., S, S] enlarged to [..., 2 S, 2 S] by `DOUBLING_TAPS`; beyond the border there is nothing."""
    return _doubled_last(_doubled_last(maps).swapaxes(-1, -2)).swapaxes(-1, -2)


def _doubled_last(maps: F32) -> F32:
    near, far = np.float32(DOUBLING_TAPS[1]), np.float32(DOUBLING_TAPS[0])
    larger = np.repeat(maps * near, 2, axis=-1)
    larger[..., 2::2] += maps[..., :-1] * far
    larger[..., 1:-1:2] += maps[..., 1:] * far
    return larger
