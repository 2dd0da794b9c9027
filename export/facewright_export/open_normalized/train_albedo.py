"""Train the albedo half: ``python -m facewright_export.open_normalized.train_albedo [--out FILE]``.

Coarse to fine: the network that ends at 32 x 32 first, then at 64, 128 and 256; each keeps the weights of the
one before; at last the noise images are learned, too. The loss is the mean absolute error of the square root
of albedo, plus that of its differences between neighbouring texels, which keeps edges. Codes are jittered by
layer, so that no layer relies on another for the same factor. Seeded: one machine gives the same weights
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
from torch import Tensor

from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright_export.open_normalized.albedo_generator import (
    WEIGHTS_FILE,
    AlbedoHalf,
    LookSynthesis,
    load_synthesis,
    save_weights,
)
from facewright_export.open_normalized.factors import LOOK_SIZE, w_of, w_plus_of
from facewright_export.open_normalized.looks import look_of
from facewright_export.open_normalized.people_albedo import PeopleAlbedo

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Phase:
    """Training at one resolution.

    Attributes:
        resolution: the network's, and the maps'.
        steps, batch: how many, and people in each.
        learning_rate: Adam's at the start; a cosine brings it to zero.
        detail: whether the noise images are learned, too.
    """

    resolution: int
    steps: int
    batch: int
    learning_rate: float
    detail: bool = False


PHASES: Final = (
    Phase(32, 3000, 8, 8e-3),
    Phase(64, 1500, 8, 4e-3),
    Phase(128, 700, 4, 3e-3),
    Phase(256, 1000, 2, 3e-3, detail=True),
)
#: Learning rate of the noise images, relative to the weights'.
DETAIL_RATE: Final = 8.0
#: Standard deviation of a factor's jitter, by layer.
JITTER: Final = 0.05
EDGE_WEIGHT: Final = 1.0
PEOPLE: Final = 2500
HELD_OUT_PEOPLE: Final = 48
_HELD_OUT_SEED: Final = 99


@dataclass(frozen=True)
class DrawnLooks:
    """People's look factors f32 [N, 32] and square roots of their albedo in bytes u8 [N, 3, R, R]."""

    factors: F32
    roots: U8

    @classmethod
    def draw(cls, head: HeadModel, count: int, seed: int) -> DrawnLooks:
        """People of a seed; factors beyond 2.5 are drawn again no more than they are cut."""
        factors = np.random.default_rng(seed).normal(size=(count, LOOK_SIZE)).clip(-2.5, 2.5)
        artist = PeopleAlbedo(head)
        roots = [np.sqrt(artist.draw(look_of(row))) * 255 + 0.5 for row in factors]
        return cls(factors.astype(np.float32), np.stack([root.astype(np.uint8) for root in roots]))

    def targets(self, rows: NDArray[np.int64], resolution: int) -> Tensor:
        """What the synthesis network should give, [B, 3, R, R] in -1 … 1, at a lower resolution."""
        roots = torch.from_numpy(self.roots[rows].astype(np.float32)) / 127.5 - 1
        share = roots.shape[-1] // resolution
        return torch.nn.functional.avg_pool2d(roots, share) if share > 1 else roots


def train(
    looks: DrawnLooks, phases: tuple[Phase, ...] = PHASES, seed: int = 1
) -> tuple[LookSynthesis, list[float]]:
    """The trained network (of the last phase's resolution) and each phase's mean loss of 50 last steps."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    synthesis, losses = LookSynthesis(phases[0].resolution), []
    for phase in phases:
        grown = LookSynthesis(phase.resolution)
        grown.load_state_dict(synthesis.state_dict(), strict=False)
        synthesis = grown
        losses.append(_train_phase(synthesis, looks, phase, random))
    return synthesis.eval().requires_grad_(False), losses


def _train_phase(
    synthesis: LookSynthesis, looks: DrawnLooks, phase: Phase, random: np.random.Generator
) -> float:
    detail = [p for name, p in synthesis.named_parameters() if "noise" in name and p.requires_grad]
    weights = [p for name, p in synthesis.named_parameters() if "noise" not in name]
    rates = [{"params": weights, "lr": phase.learning_rate}]
    if phase.detail:
        rates.append({"params": detail, "lr": phase.learning_rate * DETAIL_RATE})
    optimiser = torch.optim.Adam(rates, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, phase.steps)
    recent: list[float] = []
    start = time.perf_counter()
    for step in range(phase.steps):
        rows = random.integers(len(looks.factors), size=phase.batch)
        styles = np.repeat(looks.factors[rows][:, None], synthesis.styles.layout.style_count, axis=1)
        styles = styles + random.normal(scale=JITTER, size=styles.shape)
        image = synthesis.styles(torch.from_numpy(styles.astype(np.float32)))
        loss = _loss(image, looks.targets(rows, phase.resolution))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        recent = [*recent[-49:], float(loss.detach())]
        if step % 100 == 99:
            seconds = time.perf_counter() - start
            print(
                f"{phase.resolution}² step {step + 1} loss {np.mean(recent):.4f} {seconds:.0f} s", flush=True
            )
    return float(np.mean(recent))


def _loss(image: Tensor, target: Tensor) -> Tensor:
    error = image - target
    rows = (error[:, :, 1:] - error[:, :, :-1]).abs().mean()
    columns = (error[:, :, :, 1:] - error[:, :, :, :-1]).abs().mean()
    return error.abs().mean() + EDGE_WEIGHT * (rows + columns)


@dataclass(frozen=True)
class HeldOutError:
    """How far the albedo is from that of people it was not trained on, over the texels that the head covers.

    Attributes:
        delta_e: CIE76, mean; ``deviation_delta_e`` is that of the mean albedo for all.
    """

    delta_e: float
    deviation_delta_e: float


def held_out_error(head: HeadModel, synthesis: LookSynthesis, count: int = HELD_OUT_PEOPLE) -> HeldOutError:
    """Measure on people of another seed than training's."""
    looks = DrawnLooks.draw(head, count, _HELD_OUT_SEED)
    half = AlbedoHalf(synthesis)
    codes = w_plus_of(w_of(np.zeros((count, 160), np.float32), looks.factors))
    with torch.no_grad():
        albedo = np.concatenate([half(torch.from_numpy(code[None])).numpy() for code in codes])
    truth = (looks.roots.astype(np.float32) / 255) ** 2
    covered = PeopleAlbedo(head).covered

    def delta_e(maps: F32) -> float:
        difference = linear_lab(maps) - linear_lab(truth)
        return float(np.linalg.norm(difference, axis=1)[:, covered].mean())

    mean = np.broadcast_to(truth.mean(axis=0), truth.shape)
    return HeldOutError(round(delta_e(albedo), 3), round(delta_e(mean), 3))


def linear_lab(linear: F32) -> NDArray[np.float64]:
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
    parser.add_argument("--steps-scale", type=float, default=1.0, help="times the steps of each phase")
    parser.add_argument("--people", type=int, default=PEOPLE, help="whose maps are drawn (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=WEIGHTS_FILE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    phases = tuple(
        Phase(p.resolution, max(1, round(p.steps * options.steps_scale)), p.batch, p.learning_rate, p.detail)
        for p in PHASES
    )
    head = HeadModel.load(asset_path("head.npz"))
    synthesis, losses = train(DrawnLooks.draw(head, options.people, options.seed), phases, options.seed)
    provenance: dict[str, Any] = {
        "command": "python -m facewright_export.open_normalized.train_albedo "
        f"--steps-scale {options.steps_scale} --people {options.people} --seed {options.seed}",
        "data": "albedo of synthetic people drawn in the open head's UV; no photos",
        "phases": [asdict(phase) for phase in phases],
        "losses": [round(loss, 5) for loss in losses],
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "licence": "Apache-2.0, as this project",
    }
    save_weights(synthesis, provenance, options.out)
    error = held_out_error(head, load_synthesis(options.out)[0])
    save_weights(synthesis, {**provenance, "held_out": asdict(error)}, options.out)
    print(json.dumps(asdict(error), indent=2))


if __name__ == "__main__":
    main()
