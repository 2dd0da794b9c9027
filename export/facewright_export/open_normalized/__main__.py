"""Write the graphs that travel with this package: ``python -m facewright_export.open_normalized``.

They are those of the perceptual distance; the others are written at set-up, without torch
(`facewright_export.open_normalized.generator_graphs`, `embedding_graph`).
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch

from facewright_export.gradients.refinement_export import export_image_loss
from facewright_export.gradients.refinement_functions import PerceptualLoss
from facewright_export.open_normalized.half_storage import store_weights_as_half
from facewright_export.open_normalized.perceptual import OpenPerceptual

IMAGE_SIZE = 256


def build(folder: Path) -> list[Path]:
    """Write every graph into ``folder``; their files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = export_image_loss("perceptual", PerceptualLoss(OpenPerceptual()), IMAGE_SIZE, folder)
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
