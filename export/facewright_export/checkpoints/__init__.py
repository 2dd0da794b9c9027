"""Importers of published checkpoints: a file in its published format → a network with its weights.

One module per format. Nothing runs code from a file: PyTorch files and pickles of arrays are rebuilt without
the classes that they name, NumPy archives without pickles. What does not fit is refused as a whole
(``CheckpointError``), naming every entry that is missing, extra or mis-shaped; what lies in a file beside its
network is said (``import_notes``).
"""

from facewright_export.checkpoints._files import (
    CheckpointError,
    LayoutError,
    UnreadableCheckpointError,
    UnsafeCheckpointError,
    WeightError,
)
from facewright_export.checkpoints._formats import require_checkpoint
from facewright_export.checkpoints._notes import import_notes

__all__ = [
    "CheckpointError",
    "LayoutError",
    "UnreadableCheckpointError",
    "UnsafeCheckpointError",
    "WeightError",
    "import_notes",
    "require_checkpoint",
]
