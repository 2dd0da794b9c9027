"""What an avatar was made with: pipeline, release, fingerprints of the weights, licences."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

#: Open assets by file name -> SPDX licence of what they were made from.
_OPEN_LICENCES: Final = {
    "head.npz": "CC0-1.0",
    "face_detector.onnx": "Apache-2.0",
    "face_landmarks.onnx": "Apache-2.0",
    "face_landmarks_fast.onnx": "Apache-2.0",
    "person_mask.onnx": "Apache-2.0",
}


@dataclass(frozen=True)
class Provenance:
    """Written into every report and into every file's ``asset.extras``.

    Attributes:
        pipeline: the ensemble's name.
        version: of Facewright.
        models: file name -> sha256 of the weights used.
        licences: file name -> SPDX identifier.
    """

    pipeline: str = "avatar_twin"
    version: str = field(default_factory=lambda: version("facewright"))
    models: Mapping[str, str] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_open_assets(cls, folder: Path, pipeline: str = "avatar_twin") -> Provenance:
        """Fingerprints of the open assets that are in ``folder`` (about 20 MB are read)."""
        models = {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in _OPEN_LICENCES
            if (folder / name).is_file()
        }
        return cls(pipeline, models=models, licences={name: _OPEN_LICENCES[name] for name in models})

    @property
    def generator(self) -> str:
        """glTF's ``asset.generator``."""
        return f"Facewright {self.version}"
