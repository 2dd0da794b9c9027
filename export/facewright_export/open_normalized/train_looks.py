"""Train what reads looks: ``python -m facewright_export.open_normalized.train_looks [--out FILE]``.

Pictures are renders of synthetic people in any light, with hair, glasses and hands before the face
(`facewright_export.open_normalized.people_pictures`). What counts is the albedo that the factors make: the
distance of its tone (the mean Lab of bare skin) and, apart from it, of what is left without that tone, so
that a face in unknown light is not blamed for its brightness alone and learns lips and brows nevertheless.
The albedo is that of the generator's first level, 32². Seeded: one machine gives the same weights again.
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
from torch import Tensor, nn
from torch.nn import functional

from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright_export.open_normalized.albedo_generator import LookLevel
from facewright_export.open_normalized.albedo_weights import LEVELS, load_weights
from facewright_export.open_normalized.embedding_graph import WEIGHTS_FILE
from facewright_export.open_normalized.factors import LOOK_SIZE
from facewright_export.open_normalized.look_encoder import LookEncoder, save_weights
from facewright_export.open_normalized.looks import LOOK_FACTORS
from facewright_export.open_normalized.people_albedo import PeopleAlbedo
from facewright_export.open_normalized.people_pictures import PeoplePictures

F32 = NDArray[np.float32]

#: Texels per side of the albedo that looks are compared by.
COMPARED_SIZE: Final = LEVELS[0].size
PEOPLE: Final = 4000
EPOCHS: Final = 36
BATCH: Final = 32
LEARNING_RATE: Final = 2e-3
#: Of the factors' own error, beside that of the albedo in Lab: where nothing is seen of a factor, its mean.
FACTOR_WEIGHT: Final = 4.0
#: Of what is left without the tone, beside the tone.
SHAPE_WEIGHT: Final = 3.0
#: What is taken off the factors of beards in the end: photos of people without one, which no rendered person
#: is quite like, are given some.
BEARD_DOUBT: Final = 0.5
HELD_OUT_PEOPLE: Final = 256
_HELD_OUT_SEED: Final = 77
#: Standard deviation of each channel's gain on a picture (its logarithm), beside what cameras did.
_GAIN: Final = 0.05
#: A beard that somebody is given looks worse than one that is missing: so much more a factor's excess counts.
EXCESS_WEIGHT: Final = 4.0
_BEARD: Final = [LOOK_FACTORS.index(n) for n in ("stubble", "moustache", "chin_beard", "full_beard")]


@dataclass(frozen=True)
class FaceWeights:
    """How much a texel counts, f32 [1024]: ``skin`` for the tone, ``face`` for what is left without it."""

    skin: Tensor
    face: Tensor

    @classmethod
    def of(cls, head: HeadModel) -> FaceWeights:
        """Of a head model's regions, drawn in its UV."""
        artist = PeopleAlbedo(head, COMPARED_SIZE)
        region = {name: artist.of_vertices(head.region(name)) for name in ("face", "lips", "mouth_inside")}
        brows = artist.of_vertices(head.region("brow_left") + head.region("brow_right"))
        bare = region["face"] * (1 - region["lips"]) * (1 - region["mouth_inside"])
        eyes = artist.of_parts(("eye_left", "eye_right"))
        detail = region["face"] + 3 * region["lips"] + 2 * brows + 0.3 * eyes - 4 * region["mouth_inside"]
        weights = [torch.from_numpy(np.clip(w, 0, 4).ravel().astype(np.float32)) for w in (bare, detail)]
        return cls(*(weight / weight.sum() for weight in weights))


def coarse_albedo() -> LookLevel:
    """The generator's first level: factors f32 [B, 32] → square root of albedo f32 [B, 3, 32, 32]."""
    return LookLevel(load_weights()[0][0])


def train(
    pictures: PeoplePictures, albedo: LookLevel, weights: FaceWeights, epochs: int, seed: int
) -> LookEncoder:
    """The trained network."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    encoder = LookEncoder()
    steps = epochs * (len(pictures.looks) // BATCH)
    optimiser = torch.optim.AdamW(encoder.parameters(), LEARNING_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps, pct_start=0.15)
    start = time.perf_counter()
    recent: list[tuple[float, float]] = []
    order = np.concatenate([random.permutation(len(pictures.looks)) for _ in range(epochs + 1)])
    for step in range(steps):
        rows = order[step * BATCH : (step + 1) * BATCH]
        found = encoder(_disturbed(pictures.pictures[rows], random))
        truth = torch.from_numpy(pictures.looks[rows])
        tone, shape = albedo_distance(albedo(found), albedo(truth), weights)
        loss = tone.mean() + SHAPE_WEIGHT * shape.mean() + FACTOR_WEIGHT * factor_error(found, truth)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        recent = [*recent[-99:], (float(tone.detach().mean()), float(shape.detach().mean()))]
        if step % 100 == 99:
            tones, shapes = np.mean(recent, axis=0)
            seconds = time.perf_counter() - start
            print(
                f"step {step + 1} of {steps}: tone {tones:.2f} shape {shapes:.2f} {seconds:.0f} s", flush=True
            )
    encoder.eval().requires_grad_(False)
    encoder.last.bias[_BEARD] -= BEARD_DOUBT
    return encoder


def factor_error(found: Tensor, truth: Tensor) -> Tensor:
    """Mean error of factors [B, 32], squared where it is small; that of beards too large counts more."""
    error = functional.smooth_l1_loss(found, truth, reduction="none")
    weight = torch.ones_like(error)
    weight[:, _BEARD] = torch.where(found[:, _BEARD] > truth[:, _BEARD], EXCESS_WEIGHT, 1.0)
    return (error * weight).mean()


def network_input(pictures: NDArray[np.uint8]) -> Tensor:
    """Pictures u8 [B, 160, 160, 3] as the network computes with them, [B, 3, 80, 80] in -1 … 1."""
    return functional.avg_pool2d(torch.from_numpy(pictures).permute(0, 3, 1, 2).float(), 2) / 127.5 - 1


def _disturbed(pictures: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
    """Mirrored at random, with other gains."""
    seen = network_input(pictures)
    mirrored = torch.from_numpy(random.random(len(seen)) < 0.5)
    seen = torch.where(mirrored[:, None, None, None], seen.flip(3), seen)
    gains = np.exp(random.normal(0, _GAIN, (len(seen), 3))).astype(np.float32)
    return ((seen + 1) * torch.from_numpy(gains)[:, :, None, None] - 1).clamp(-1, 1)


def albedo_distance(found: Tensor, truth: Tensor, weights: FaceWeights) -> tuple[Tensor, Tensor]:
    """CIE76 between square roots of albedo [B, 3, S, S]: of the skin's mean tone, and of what is left
    without it.

    Returns:
        f32 [B] each.
    """
    difference = _lab(found.flatten(2)) - _lab(truth.flatten(2))
    tone = (difference * weights.skin).sum(dim=2)
    left = difference - tone[:, :, None]
    return _length(tone), (_length(left) * weights.face).sum(dim=1)


def _length(difference: Tensor) -> Tensor:
    return (difference.square().sum(dim=1) + 1e-4).sqrt()


def _lab(root: Tensor) -> Tensor:
    """CIE L*a*b* (D65) [B, 3, T] of square roots of linear Rec. 709 RGB."""
    to_xyz = torch.tensor([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    rgb = root.clamp(0.01, 1).square()
    xyz = torch.einsum("ij,bjt->bit", to_xyz / to_xyz.sum(dim=1, keepdim=True), rgb)
    curve = torch.where(xyz > (6 / 29) ** 3, xyz.clamp(min=1e-6) ** (1 / 3), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = curve.unbind(dim=1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


@dataclass(frozen=True)
class HeldOutError:
    """CIE76 of the albedo of people not trained on; ``mean_*`` are those of the mean look for everybody."""

    tone: float
    shape: float
    mean_tone: float
    mean_shape: float


def held_out_error(
    encoder: LookEncoder, albedo: LookLevel, weights: FaceWeights, pictures: PeoplePictures
) -> HeldOutError:
    """Measure on pictures of other people than training's."""
    truth = albedo(torch.from_numpy(pictures.looks))
    with torch.no_grad():
        found = [
            encoder(network_input(rows)) for rows in np.split(pictures.pictures, len(pictures.looks) // 32)
        ]
    errors = [
        albedo_distance(albedo(look), truth, weights)
        for look in (torch.cat(found), torch.zeros(len(truth), LOOK_SIZE))
    ]
    return HeldOutError(*(round(float(part.mean()), 3) for pair in errors for part in pair))


def main() -> None:
    """The command of the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=PEOPLE, help="who are photographed (%(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of their pictures (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=WEIGHTS_FILE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    head = HeadModel.load(asset_path("head.npz"))
    weights = FaceWeights.of(head)
    albedo = coarse_albedo()
    pictures = PeoplePictures.take(head, options.people, options.seed)
    encoder = train(pictures, albedo, weights, options.epochs, options.seed)
    others = PeoplePictures.take(head, HELD_OUT_PEOPLE, _HELD_OUT_SEED)
    error = asdict(held_out_error(encoder, albedo, weights, others))
    provenance: dict[str, Any] = {
        "command": "python -m facewright_export.open_normalized.train_looks "
        f"--people {options.people} --epochs {options.epochs} --seed {options.seed}",
        "data": "renders of synthetic people, whose look is known; no photos",
        "held_out": error,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "licence": "Apache-2.0, as this project",
    }
    save_weights(encoder, provenance, options.out)
    print(json.dumps(error, indent=2))


if __name__ == "__main__":
    main()
