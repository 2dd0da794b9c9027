"""The demonstration networks of refinement, as ONNX files: what runs where nothing licensed is installed.

A generator of UV maps and a perceptual distance, by the names of `facewright.refinement_networks`. They
were trained by this project on synthetic people: they never saw a photo of a person
(`facewright_export.demo` says more, and ``python -m facewright_export.demo`` writes them again).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: The folder to give to `facewright.refinement_networks.load_refinement_networks`.
DEMO_NETWORKS: Final = Path(__file__).parent
