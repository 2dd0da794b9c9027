"""Write the demonstration networks of refinement as ONNX: ``python -m facewright_export.demo [--out
FOLDER]``.

They travel with the package (`facewright/refine/demo_networks`), so that set-up needs no torch.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch

from facewright.refine.demo_networks import DEMO_NETWORKS
from facewright_export.demo.generator import LAYERS, W_SIZE, WEIGHTS_FILE, load_demo_generator
from facewright_export.demo.half_storage import store_weights_as_half
from facewright_export.demo.perceptual import DemoPerceptual
from facewright_export.gradients.refinement_export import export_generator, export_image_loss
from facewright_export.gradients.refinement_functions import PerceptualLoss

IMAGE_SIZE = 256


def build(folder: Path, weights: Path = WEIGHTS_FILE) -> list[Path]:
    """Write every graph of the demonstration networks into ``folder``; their files."""
    folder.mkdir(parents=True, exist_ok=True)
    generator, _ = load_demo_generator(weights)
    graphs = export_generator(generator, (LAYERS, W_SIZE), folder)
    files = [graphs.forward, graphs.backward]
    files += export_image_loss("perceptual", PerceptualLoss(DemoPerceptual()), IMAGE_SIZE, folder)
    for file in files:
        store_weights_as_half(file)
    return files


def main() -> None:
    """The command of the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=DEMO_NETWORKS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for file in build(options.out):
        print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.stat().st_size:>8}  {file}")


if __name__ == "__main__":
    main()
