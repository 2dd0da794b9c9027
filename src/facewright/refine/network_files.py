"""Where the networks of refinement are, by the names of `facewright.refine.networks`.

By default they are open assets: `facewright_export.open_normalized` says what those are made of. The identity
distance goes with them where `IDENTITY_COMMAND` was run: its network is another's, in the public domain, and
exporting it needs torch.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from facewright.core.assets import BUILD_COMMAND, open_assets_folder
from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

#: Adds the identity pair to the open assets.
IDENTITY_COMMAND: Final = (
    "scripts/setup --export && .venv-export/bin/python -m facewright_export.open_normalized.identity"
)
_FILES: Final = ("generator_forward", "generator_backward", "perceptual_targets", "perceptual_loss")
_IDENTITY_FILES: Final = ("identity_targets", "identity_loss")


def refinement_folder() -> Path:
    """Where the networks are: ``$FACEWRIGHT_REFINEMENT_NETWORKS``, by default the open assets."""
    configured = os.environ.get("FACEWRIGHT_REFINEMENT_NETWORKS")
    return Path(configured) if configured else open_assets_folder()


def refinement_files(folder: Path) -> dict[str, Path]:
    """A folder's ONNX files by the names of `facewright.refine.networks`; an identity pair may be missing.

    Raises:
        FacewrightError: ENGINE_MISMATCH when a file is missing.
    """
    identity = [name for name in _IDENTITY_FILES if (folder / f"{name}.onnx").is_file()]
    names = (*_FILES, *(_IDENTITY_FILES if identity else ()))
    files = {name: folder / f"{name}.onnx" for name in names}
    for path in files.values():
        if not path.is_file():
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"refinement needs {path.name}, which is not in {folder}",
                _mend(folder, path.stem),
            )
    return files


def _mend(folder: Path, name: str) -> str:
    if folder != open_assets_folder():
        return "export it with its gradient: see docs/refinement.md"
    return IDENTITY_COMMAND if name in _IDENTITY_FILES else f"run: {BUILD_COMMAND}"
