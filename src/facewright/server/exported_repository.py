"""The model repository that ``facewright export`` writes, as a server sees it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from facewright.core.errors import FacewrightError
from facewright.engines.tensorrt_plan import (
    compute_capability,
    plan_name,
    read_identity,
    require_fit,
    serving_tensorrt,
)
from facewright.server.model_configs import Profile
from facewright_client.contract import ErrorCode

#: How many of the newest versions are served, unless a policy names some.
SERVED_VERSIONS: Final = 2


def exported_networks(repository: Path) -> dict[str, Path]:
    """Folders of the exported networks by name, in order.

    Raises:
        FacewrightError: INTERNAL when the repository holds none.
    """
    folders = sorted(repository.iterdir()) if repository.is_dir() else []
    found = {path.name: path for path in folders if path.is_dir() and versions_in(path)}
    if not found:
        raise FacewrightError(
            ErrorCode.INTERNAL,
            f"{repository} holds no exported network",
            "write it with facewright export, or give another folder",
        )
    return found


def versions_in(folder: Path) -> list[int]:
    """The versions in a network's folder, rising."""
    return sorted(int(path.name) for path in folder.iterdir() if path.is_dir() and path.name.isdecimal())


def served_versions(folder: Path) -> list[int]:
    """The versions that the folder's version policy serves, rising."""
    there = versions_in(folder)
    named = re.search(r"specific: { versions: \[ ([\d, ]+) \] }", (folder / "config.pbtxt").read_text())
    if named is None:
        return there[-SERVED_VERSIONS:]
    return [version for version in there if version in {int(n) for n in named[1].split(",")}]


def require_servable(repository: Path, profile: Profile) -> None:
    """Refuses what a server could only half serve.

    Raises:
        FacewrightError: INTERNAL when the repository holds no network; ENGINE_MISMATCH when the profile is
            tensorrt and a served version has no plan for this GPU, this TensorRT and its own ONNX file.
    """
    networks = exported_networks(repository)
    if profile != "tensorrt":
        return
    capability, tensorrt = compute_capability(), serving_tensorrt()
    for folder in networks.values():
        for version in served_versions(folder):
            require_plan(folder / str(version), capability, tensorrt)


def require_plan(version: Path, capability: str, tensorrt: str) -> None:
    """Raises ENGINE_MISMATCH when a version's folder has no plan that fits; see `require_fit`."""
    plan = version / plan_name(capability)
    content = hashlib.sha256((version / "model.onnx").read_bytes()).hexdigest()
    require_fit(plan, read_identity(plan), tensorrt, capability, content)
