"""Networks without a published file: what their owner saved with `torch.save(network.state_dict(), path)`."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from torch import nn

from facewright_export.checkpoints._reading import load_strictly, read_torch, section

Network = TypeVar("Network", bound=nn.Module)


def import_state_dict(network: Network, path: Path | str) -> Network:
    """`network` with the weights of `path`: a state dict, or one under `state_dict`.

    Raises CheckpointError.
    """
    content = read_torch(path)
    names = ("state_dict",) if "state_dict" in content else ()
    load_strictly(network, section(content, *names, source=str(path)), source=str(path))
    network.eval()
    return network
