"""What an avatar was made with: release, fingerprints of the weights, licences."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Provenance:
    """Travels with every request, and is written into every report and every file's ``asset.extras``.

    Attributes:
        version: of Facewright.
        models: weights -> sha256 of the file that was used.
        licences: weights -> SPDX identifier.
    """

    version: str = field(default_factory=lambda: version("facewright"))
    models: Mapping[str, str] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_files(cls, files: Mapping[str, Path], licences: Mapping[str, str]) -> Provenance:
        """Fingerprints of weights; every file is read."""
        return cls(models={name: _sha256(path) for name, path in files.items()}, licences=licences)

    @property
    def generator(self) -> str:
        """glTF's ``asset.generator``."""
        return f"Facewright {self.version}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
