"""The model repository that one server loads: the source tree's stages with this machine's configs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.engines.tensorrt_plan import (
    compute_capability,
    content_hash,
    open_plan,
    read_identity,
    require_fit,
    serving_tensorrt,
)
from facewright.refine.networks import refinement_files
from facewright.refine.service import refinement_folder
from facewright.server.model_configs import ENSEMBLES, NETWORKS, Profile, Sizing, write_configs
from facewright_client.contract import STAGES, ErrorCode

#: What the stages load from the cache.
OPEN_ASSETS = (
    "head.npz",
    "face_detector.onnx",
    "face_landmarks.onnx",
    "face_landmarks_fast.onnx",
    "person_mask.onnx",
)


def source_repository() -> Path:
    """``$FACEWRIGHT_MODEL_REPOSITORY``, by default the source tree's ``model_repository``."""
    configured = os.environ.get("FACEWRIGHT_MODEL_REPOSITORY")
    return Path(configured) if configured else Path(__file__).parents[3] / "model_repository"


def assemble_repository(folder: Path, profile: Profile, sizing: Sizing) -> None:
    """Fill ``folder`` with every model that the profile needs, configs sized for the machine.

    Raises:
        FacewrightError: INTERNAL when the source tree or an open asset is missing, ENGINE_MISMATCH when
            the profile needs a TensorRT plan that is not there, or is for another GPU, TensorRT or network:
            no server starts with another profile than it was asked for. Refinement's networks may have no
            plans, but no others'.
    """
    source = source_repository()
    for asset in OPEN_ASSETS:
        asset_path(asset)
    for model in (*ENSEMBLES, *STAGES):
        if not (source / model / "1").is_dir():
            raise FacewrightError(
                ErrorCode.INTERNAL,
                f"the model repository {source} has no {model}/1",
                "set FACEWRIGHT_MODEL_REPOSITORY to the source tree's model_repository",
            )
        version = folder / model / "1"
        version.mkdir(parents=True)
        if model in ENSEMBLES:
            continue
        if profile == "tensorrt" and model in NETWORKS:
            plan = open_plan(model, compute_capability())
            _require_fit(plan, asset_path(f"{model}.onnx"))
            version.joinpath("model.plan").symlink_to(plan.resolve())
        else:
            shutil.copy(source / model / "1" / "model.py", version)
    if profile == "tensorrt":
        for network, path in refinement_files(refinement_folder()).items():
            plan = open_plan(network, compute_capability())
            if plan.is_file():
                _require_fit(plan, path)
    write_configs(folder, sizing)


def _require_fit(plan: Path, network: Path) -> None:
    require_fit(plan, read_identity(plan), serving_tensorrt(), compute_capability(), content_hash(network))
