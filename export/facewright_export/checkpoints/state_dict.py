"""Networks without a published file: what their owner saved with `torch.save(network.state_dict(), path)`."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from torch import nn

from facewright_export.checkpoints._reading import fill

Network = TypeVar("Network", bound=nn.Module)


def import_state_dict(network: Network, path: Path | str) -> Network:
    """`network` with the weights of `path`. Raises CheckpointError."""
    fill(network, path)
    network.eval()
    return network
