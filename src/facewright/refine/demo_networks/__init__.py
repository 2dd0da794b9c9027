"""The demonstration networks of refinement, as ONNX files: what runs where nothing licensed is installed.

A generator of UV maps and a perceptual distance, by the names of `facewright.refine.networks`. They
were trained by this project on synthetic people: they never saw a photo of a person
(`facewright_export.demo` says more, and ``python -m facewright_export.demo`` writes them again).

The identity distance goes with them where `IDENTITY_COMMAND` was run: its network is another's, in the public
domain, and exporting it needs torch.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from facewright.core.assets import open_assets_folder

#: The folder to give to `facewright.refine.networks.load_refinement_networks`.
DEMO_NETWORKS: Final = Path(__file__).parent
#: Builds `networks_with_identity`.
IDENTITY_COMMAND: Final = (
    "scripts/setup --export && .venv-export/bin/python -m facewright_export.demo.identity"
)


def networks_with_identity() -> Path:
    """Where `IDENTITY_COMMAND` puts the identity pair, beside links to `DEMO_NETWORKS`; it need not exist."""
    return open_assets_folder() / "refinement"


def refinement_folder() -> Path:
    """Where the networks are: ``$FACEWRIGHT_REFINEMENT_NETWORKS``, by default the demonstration networks,
    with an identity network where one was built (`IDENTITY_COMMAND`).
    """
    configured = os.environ.get("FACEWRIGHT_REFINEMENT_NETWORKS")
    if configured:
        return Path(configured)
    built = networks_with_identity()
    return built if (built / "identity_loss.onnx").is_file() else DEMO_NETWORKS
