"""Write the graphs that travel with this package: ``python -m facewright_export.open_normalized``.

The albedo half of the generator with its gradient, and the perceptual distance; set-up puts the generator
together from them without torch (`facewright_export.open_normalized.generator_graphs`).
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch

from facewright_export.gradients.export_with_gradient import GradientNames, export_with_gradient
from facewright_export.gradients.refinement_export import export_image_loss
from facewright_export.gradients.refinement_functions import PerceptualLoss
from facewright_export.gradients.styled_layers import with_lean_gradients
from facewright_export.open_normalized.albedo_generator import WEIGHTS_FILE, AlbedoHalf, load_synthesis
from facewright_export.open_normalized.factors import LAYERS, W_SIZE
from facewright_export.open_normalized.half_storage import store_weights_as_half
from facewright_export.open_normalized.perceptual import OpenPerceptual

IMAGE_SIZE = 256


def build(folder: Path, weights: Path = WEIGHTS_FILE) -> list[Path]:
    """Write every graph into ``folder``; their files. The whole generator is held to autograd where it is put
    together, with the geometry half (tests/networks/test_open_normalized.py)."""
    folder.mkdir(parents=True, exist_ok=True)
    half = with_lean_gradients(AlbedoHalf(load_synthesis(weights)[0]))
    graphs = export_with_gradient(
        lambda w_plus: (half(w_plus),),
        [torch.zeros(2, LAYERS, W_SIZE)],
        ["W_PLUS"],
        GradientNames(("W_PLUS",), ("ALBEDO",)),
        folder / "albedo",
    )
    files = [graphs.forward, graphs.backward]
    files += export_image_loss("perceptual", PerceptualLoss(OpenPerceptual()), IMAGE_SIZE, folder)
    for file in files:
        store_weights_as_half(file)
    return files


def main() -> None:
    """The command of the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for file in build(options.out):
        print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.stat().st_size:>8}  {file}")


if __name__ == "__main__":
    main()
