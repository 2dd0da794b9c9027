"""Where the open assets are: the head model and the face networks that ``facewright_export.open_assets``
builds.

``$FACEWRIGHT_CACHE/open``, by default ``~/.cache/facewright/open``.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Literal

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

#: The command that builds, or repairs, every open asset.
BUILD_COMMAND = "python -m facewright_export.open_assets"
#: What to do where the cache cannot be written.
ANOTHER_CACHE = "make room there, or set FACEWRIGHT_CACHE to another folder of yours and run scripts/setup"


def cache_folder() -> Path:
    """The project's cache: ``$FACEWRIGHT_CACHE``, by default ``~/.cache/facewright``.

    Raises:
        FacewrightError: INTERNAL, when the variable is not set and this user has no home.
    """
    root = os.environ.get("FACEWRIGHT_CACHE")
    if root:
        return Path(root)
    try:
        return Path.home() / ".cache" / "facewright"
    except RuntimeError:
        raise FacewrightError(
            ErrorCode.INTERNAL,
            f"user {os.getuid()} has no home, where the cache would be",
            "set FACEWRIGHT_CACHE to a folder",
        ) from None


def require_cache() -> None:
    """Refuse a ``$FACEWRIGHT_CACHE`` that names no folder: else all that the cache holds would seem missing.

    Raises:
        FacewrightError: INTERNAL.
    """
    root = os.environ.get("FACEWRIGHT_CACHE")
    if not root or Path(root).is_dir():
        return
    there = os.path.lexists(root)
    raise FacewrightError(
        ErrorCode.INTERNAL,
        f"FACEWRIGHT_CACHE is {root}, {'which is no folder' if there else 'where there is no folder'}",
        "set it to the folder that scripts/setup filled, unset it for ~/.cache/facewright"
        + ("" if there else ", or run scripts/setup to fill this one"),
    )


def cache_failure(error: OSError) -> FacewrightError:
    """What to say when something cannot be written into the cache."""
    return FacewrightError(
        ErrorCode.INTERNAL,
        f"{error.filename or cache_folder()} cannot be written: {error.strerror}",
        ANOTHER_CACHE,
    )


def open_assets_folder() -> Path:
    """The folder of the open assets; it need not exist."""
    return cache_folder() / "open"


def asset_path(name: str, folder: Path | None = None) -> Path:
    """The path of an open asset.

    Args:
        name: ``head.npz``, ``face_detector.onnx``, ``face_landmarks.onnx``,
            ``face_landmarks_fast.onnx`` or ``person_mask.onnx``.
        folder: where to look; the cache by default.

    Raises:
        FacewrightError: INTERNAL, with the command that builds it, when the file is not there; as
            `require_cache`.
    """
    path = (folder or open_assets_folder()) / name
    if not path.is_file():
        if folder is None:
            require_cache()
        raise FacewrightError(
            ErrorCode.INTERNAL, f"the open asset {name} is not in {path.parent}", f"run: {BUILD_COMMAND}"
        )
    return path


def asset_state(name: str) -> Literal["intact", "missing", "damaged"]:
    """Whether an open asset of the cache is what was built, by the sha256 in ``manifest.json``.

    An asset that the manifest does not know was put there by hand, and is taken as it is.
    """
    folder = open_assets_folder()
    path = folder / name
    if not path.is_file():
        return "missing"
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        built = str(manifest["assets"][name]["sha256"])
    except (OSError, ValueError, LookupError, TypeError):
        return "intact"
    with path.open("rb") as file:
        return "intact" if hashlib.file_digest(file, "sha256").hexdigest() == built else "damaged"


def source_folder() -> Path | None:
    """The source tree that this package is in; None where it was installed without one."""
    root = Path(__file__).parents[3]
    return root if (root / "scripts" / "setup").is_file() else None


def model_repository_folder() -> Path:
    """The stages' adapters: ``$FACEWRIGHT_MODEL_REPOSITORY``, by default the source tree's
    ``model_repository``.
    """
    configured = os.environ.get("FACEWRIGHT_MODEL_REPOSITORY")
    return Path(configured) if configured else Path(__file__).parents[3] / "model_repository"
