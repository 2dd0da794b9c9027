"""Importers of published checkpoints: a file in its published format → a network with its weights.

One module per format. Nothing runs code from a file: PyTorch files are read with ``weights_only`` and the
smallest allow-list, pickles of arrays are rebuilt without the classes that they name, NumPy archives without
pickles. What does not fit is refused as a whole (``CheckpointError``), naming every entry that is missing,
extra or mis-shaped.
"""

from facewright_export.checkpoints._files import (
    CheckpointError,
    LayoutError,
    UnreadableCheckpointError,
    UnsafeCheckpointError,
    WeightError,
)

__all__ = [
    "CheckpointError",
    "LayoutError",
    "UnreadableCheckpointError",
    "UnsafeCheckpointError",
    "WeightError",
]
