"""Train the demonstration generator: ``python -m facewright_export.demo.train [--steps-scale 1.0] [--out
FILE]``.

Coarse to fine: the network that ends at 32 x 32 first, then at 64, 128 and 256; each keeps the weights of
the one before; at last the noise images are learned, too. The loss is the mean absolute error of offsets
(in units of 1 cm) and of the square root of albedo, plus that of their differences between neighbouring
texels, which keeps edges. Codes are jittered by layer, so that no layer relies on another for the same
factor. Seeded: one machine gives the same weights again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright_export.demo.generator import (
    WEIGHTS_FILE,
    FactorSynthesis,
    load_demo_generator,
    save_weights,
    w_plus_of,
)
from facewright_export.demo.synthetic_maps import FACTORS, IDENTITY_FACTORS, SyntheticPeople
from facewright_export.gradients.refinement_functions import OFFSET_SCALE, UvMapGenerator

F32 = NDArray[np.float32]


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


PHASES = (
    Phase(32, 2500, 8, 8e-3),
    Phase(64, 1500, 8, 4e-3),
    Phase(128, 500, 4, 2e-3),
    Phase(256, 450, 2, 1e-3),
    Phase(256, 500, 2, 3e-3, detail=True),
)
#: Learning rate of the noise images, relative to the weights'.
DETAIL_RATE = 8.0
#: Standard deviation of a factor's jitter, by layer.
JITTER = 0.05
EDGE_WEIGHT = 1.0
HELD_OUT_PEOPLE = 32


@dataclass(frozen=True)
class HeldOutError:
    """How far the generator is from people it was not trained on, over the texels that the head covers.

    Attributes:
        position_rms_mm: of the offset, mm; ``position_deviation_mm`` is that of the mean head for all.
        albedo_delta_e: CIE76, mean; ``albedo_deviation_delta_e`` is that of the mean albedo for all.
    """

    position_rms_mm: float
    position_deviation_mm: float
    albedo_delta_e: float
    albedo_deviation_delta_e: float


def train(
    head: HeadModel, phases: tuple[Phase, ...] = PHASES, seed: int = 1
) -> tuple[FactorSynthesis, list[float]]:
    """The trained network (of the last phase's resolution) and each phase's mean loss of 50 last steps."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    synthesis, losses = FactorSynthesis(phases[0].resolution), []
    people: dict[int, SyntheticPeople] = {}
    for phase in phases:
        grown = FactorSynthesis(phase.resolution)
        grown.load_state_dict(synthesis.state_dict(), strict=False)
        synthesis = grown
        if phase.resolution not in people:
            people[phase.resolution] = SyntheticPeople(head, phase.resolution)
        losses.append(_train_phase(synthesis, people[phase.resolution], phase, random))
    return synthesis.eval().requires_grad_(False), losses


def _train_phase(
    synthesis: FactorSynthesis, people: SyntheticPeople, phase: Phase, random: np.random.Generator
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
        factors = random.normal(size=(phase.batch, FACTORS)).astype(np.float32)
        codes = torch.from_numpy(w_plus_of(factors)[:, : synthesis.styles.layout.style_count])
        jitter = random.normal(scale=JITTER, size=(*codes.shape[:2], FACTORS)).astype(np.float32)
        image = synthesis.styles(codes @ synthesis.factors + torch.from_numpy(jitter))
        loss = _loss(image, _target(people, factors))
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


def _target(people: SyntheticPeople, factors: F32) -> Tensor:
    """What the synthesis network should give: see `UvMapGenerator`."""
    maps = people.maps(factors)
    return torch.from_numpy(
        np.concatenate([maps.offset / np.float32(OFFSET_SCALE), np.sqrt(maps.albedo) * 2 - 1], axis=1)
    )


def _loss(image: Tensor, target: Tensor) -> Tensor:
    error = image - target
    rows = (error[:, :, 1:] - error[:, :, :-1]).abs().mean()
    columns = (error[:, :, :, 1:] - error[:, :, :, :-1]).abs().mean()
    return error.abs().mean() + EDGE_WEIGHT * (rows + columns)


def held_out_error(
    generator: UvMapGenerator, people: SyntheticPeople, count: int = HELD_OUT_PEOPLE
) -> HeldOutError:
    """Measure on people of another seed than training's."""
    factors = np.random.default_rng(99).normal(size=(count, FACTORS)).astype(np.float32)
    truth = people.maps(factors)
    with torch.no_grad():
        maps = np.concatenate([generator(torch.from_numpy(w_plus_of(row[None]))).numpy() for row in factors])
    covered = people.covered

    def rms_mm(offset: F32) -> float:
        return 1e3 * float(np.sqrt((offset**2).sum(axis=1)[:, covered].mean()))

    def delta_e(albedo: F32) -> float:
        difference = _lab(albedo) - _lab(truth.albedo)
        return float(np.linalg.norm(difference, axis=1)[:, covered].mean())

    return HeldOutError(
        rms_mm(maps[:, :3] - truth.offset),
        rms_mm(truth.offset),
        delta_e(maps[:, 3:]),
        delta_e(np.broadcast_to(truth.albedo.mean(axis=0), truth.albedo.shape)),
    )


def _lab(linear: F32) -> NDArray[np.float64]:
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
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=WEIGHTS_FILE)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    phases = tuple(
        Phase(p.resolution, max(1, round(p.steps * options.steps_scale)), p.batch, p.learning_rate)
        for p in PHASES
    )
    head = HeadModel.load(asset_path("head.npz"))
    synthesis, losses = train(head, phases, options.seed)
    provenance: dict[str, Any] = {
        "command": "python -m facewright_export.demo.train "
        f"--steps-scale {options.steps_scale} --seed {options.seed}",
        "data": f"open head, {IDENTITY_FACTORS} identity coefficients, painted albedo; no photos",
        "phases": [asdict(phase) for phase in phases],
        "losses": [round(loss, 5) for loss in losses],
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "licence": "Apache-2.0, as this project",
    }
    save_weights(synthesis, provenance, options.out)
    generator, _ = load_demo_generator(options.out)
    error = held_out_error(generator, SyntheticPeople(head, phases[-1].resolution))
    save_weights(synthesis, {**provenance, "held_out": asdict(error)}, options.out)
    print(json.dumps(asdict(error), indent=2))


if __name__ == "__main__":
    main()
