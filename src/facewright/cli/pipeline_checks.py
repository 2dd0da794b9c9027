"""Whether there is what the pipelines need: the stages' folders, weights of open networks, plans that fit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from facewright.cli.finding import Finding
from facewright.core.assets import (
    BUILD_COMMAND,
    asset_state,
    cache_folder,
    model_repository_folder,
    open_assets_folder,
    source_folder,
)
from facewright.core.errors import FacewrightError
from facewright.engines.tensorrt_plan import (
    compute_capability,
    content_hash,
    open_plan,
    plan_name,
    read_identity,
    require_fit,
    serving_tensorrt,
)
from facewright.pipelines.registry import networks, pipelines, stages
from facewright.pipelines.stages import Network, Pipeline
from facewright.refine.network_files import refinement_files, refinement_folder


def check_table() -> list[Finding]:
    """What the pipelines need: stages, weights, plans."""
    try:
        rows = pipelines().values()
    except FacewrightError as error:
        return [Finding("pipelines", error.message, error.hint)]
    findings = [_check_model_repository(), _check_open_assets(), *map(_describe, rows)]
    return [*findings, _check_plans()]


def _check_open_assets() -> Finding:
    """All that are missing or damaged at once: one command builds them."""
    files = sorted({weights.file for row in pipelines().values() for weights in row.weights})
    folder = open_assets_folder()
    states = {name: asset_state(name) for name in files}
    wrong = [f"{name} is {state}" for name, state in states.items() if state != "intact"]
    if wrong:
        return Finding(f"open assets in {folder}", ", ".join(wrong), BUILD_COMMAND)
    return Finding(f"{len(files)} open assets")


def _describe(row: Pipeline) -> Finding:
    brought = [step.name for step in row.steps if isinstance(step, Network) and not step.weights]
    return Finding(
        f"pipeline {row.name}: "
        + (f"serve --networks must bring {', '.join(brought)}" if brought else "its weights are open")
    )


def _check_model_repository() -> Finding:
    source = model_repository_folder()
    missing = [
        name
        for name, stage in stages(pipelines()).items()
        if stage.model is None and not isinstance(stage, Network)
        if not (source / name / "1" / "model.py").is_file()
    ]
    if not missing:
        return Finding("model repository")
    ours = source_folder()
    mend = "name the model_repository of a clone in FACEWRIGHT_MODEL_REPOSITORY"
    if "FACEWRIGHT_MODEL_REPOSITORY" in os.environ and ours is not None:
        mend = "unset FACEWRIGHT_MODEL_REPOSITORY"
    return Finding("model repository", f"{source} holds no {', '.join(missing)}", mend)


def _check_plans() -> Finding:
    """Exported networks in the default repository, and plans that this GPU refuses: theirs, and the open
    networks'.
    """
    repository = cache_folder() / "model_repository"
    exported = {plan: plan.with_name("model.onnx") for plan in sorted(repository.glob("*/*/model_*.plan"))}
    try:
        opened = _open_plans()
    except FacewrightError as error:  # and no server starts
        return Finding("networks of refinement", error.message, error.hint)
    plans = len(exported) + len(opened)
    networks = len(list(repository.glob("*/config.pbtxt")))
    if not plans:
        return Finding(f"{networks} exported networks, no TensorRT plans")
    try:
        capability = compute_capability()
    except FacewrightError:
        return Finding(f"{networks} exported networks, {plans} plans, which need a GPU")
    try:
        tensorrt = serving_tensorrt()
    except FacewrightError as error:
        return Finding("TensorRT plans", error.message, error.hint, warning=True)
    refused: list[str] = []
    commands: list[str] = []
    for files, command in ((opened, "facewright build"), (exported, f"facewright build {repository}")):
        problems = _refused_plans(files, capability, tensorrt)
        refused += problems
        commands += [command] if problems else []
    if refused:
        return Finding("TensorRT plans", "; ".join(refused), " && ".join(commands), warning=True)
    return Finding(f"{networks} exported networks, {plans} plans")


def _open_plans() -> dict[Path, Path]:
    """The plans, for any GPU, of the networks of the default pipeline and of refinement, each with its ONNX
    file.

    Raises:
        FacewrightError: ENGINE_MISMATCH when one of refinement's networks is missing.
    """
    files = {
        name: open_assets_folder() / network.weights[0].file
        for name, network in sorted(networks(pipelines()).items())
        if network.weights
    }
    files |= refinement_files(refinement_folder())
    return {
        plan: onnx_file
        for name, onnx_file in files.items()
        for plan in sorted(open_plan(name, "").parent.glob("model_*.plan"))
    }


def _refused_plans(files: Mapping[Path, Path], capability: str, tensorrt: str) -> list[str]:
    """What is wrong with the plans for this kind of GPU, each given with its ONNX file."""
    refused = []
    for plan, onnx_file in files.items():
        if plan.name != plan_name(capability):
            continue  # of another kind of GPU in the same fleet
        try:
            content = content_hash(onnx_file) if onnx_file.is_file() else None
            require_fit(plan, read_identity(plan), tensorrt, capability, content)
        except FacewrightError as error:
            refused.append(error.message)
    return refused
