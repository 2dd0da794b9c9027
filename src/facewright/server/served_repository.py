"""The model repository that one server loads: the stages and networks of the pipelines that it serves.

    python -m facewright.server.served_repository FOLDER [--profile PROFILE] [--pipelines NAME …]

writes one for a Triton that is started by hand, as `facewright serve` does for its own.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from facewright.adapter.served_provenance import network_file
from facewright.core.assets import asset_path, model_repository_folder
from facewright.core.errors import FacewrightError
from facewright.engines.exported_repository import declared_tensors, read_config, versions_in
from facewright.engines.profile import PROFILES, Profile
from facewright.engines.tensorrt_plan import (
    compute_capability,
    content_hash,
    open_plan,
    read_identity,
    require_fit,
    serving_tensorrt,
)
from facewright.pipelines.registry import pipeline, pipelines, stages
from facewright.pipelines.stages import Network, Pipeline, Stage
from facewright.refine.network_files import refinement_files, refinement_folder
from facewright.server.model_configs import (
    Sizing,
    ensemble_config,
    open_network_config,
    stage_config,
)
from facewright_client.contract import ErrorCode

#: The ``model.py`` of every network, ours and exported ones.
NETWORK_MODEL: Final = '''\
"""Runs the model.onnx beside it."""

from facewright.server.network_stage import TritonPythonModel as TritonPythonModel
'''
_BROUGHT_MODEL: Final = '''\
"""The stage {name}, whose code its pipeline's file brings along."""

from facewright.adapter.stage_model import brought_model
from facewright.pipelines.registry import pipelines, stages

TritonPythonModel = brought_model(stages(pipelines())["{name}"])
'''


def served_pipelines(names: Sequence[str]) -> dict[str, Pipeline]:
    """The pipelines of some names, or all where there are none.

    Raises:
        FacewrightError: BAD_OPTION for a name that no pipeline has.
    """
    return {name: pipeline(name) for name in names} if names else dict(pipelines())


def assemble_repository(
    folder: Path,
    served: Mapping[str, Pipeline],
    profile: Profile,
    sizing: Sizing,
    exported: Path | None = None,
) -> None:
    """Fill ``folder`` with every model that some pipelines need, configs sized for the machine.

    Networks that the ``exported`` repository has are left to it.

    Raises:
        FacewrightError: INTERNAL when the source tree, an open asset or an exported network is missing;
            ENGINE_MISMATCH when an exported network's tensors are not those of its place, or the profile
            needs a TensorRT plan that is not there, or is for another GPU, TensorRT or network: no server
            starts with another profile than it was asked for. Refinement's networks may have no plans, but
            no others'.
    """
    for row in served.values():
        for weights in row.weights:
            asset_path(weights.file)
    on_gpu = [stage for stage in stages(served).values() if stage.runs == "gpu"]
    refinement = refinement_files(refinement_folder()) if on_gpu else {}
    for name, stage in stages(served).items():
        if isinstance(stage, Network):
            if exported is not None and (exported / name).is_dir() and versions_in(exported / name):
                _require_border(stage, exported / name, profile)
                continue
            version = _add_model(folder, name, open_network_config(stage, profile, sizing))
            network = network_file(stage, None)
            if profile == "tensorrt":
                plan = open_plan(name, compute_capability())
                _require_fit(plan, network)
                version.joinpath("model.plan").symlink_to(plan.resolve())
            else:
                version.joinpath("model.onnx").symlink_to(network.resolve())
                version.joinpath("model.py").write_text(NETWORK_MODEL)
            continue
        if exported is not None and (exported / name).is_dir():
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"{exported} has a network called {name}, as one of the stages is",
                "move it out of the repository",
            )
        version = _add_model(folder, name, stage_config(stage, served.values(), profile, sizing))
        if stage.model is not None:
            version.joinpath("model.py").write_text(_BROUGHT_MODEL.format(name=name))
        else:
            shutil.copy(_source(name), version)
    for row in served.values():
        if row.is_ensemble:
            _add_model(folder, row.name, ensemble_config(row))
    if profile == "tensorrt":
        for name, path in refinement.items():
            plan = open_plan(name, compute_capability())
            if plan.is_file():
                _require_fit(plan, path)


def _add_model(folder: Path, name: str, config: str) -> Path:
    """The folder of a model's only version."""
    version = folder / name / "1"
    version.mkdir(parents=True)
    (folder / name / "config.pbtxt").write_text(config)
    return version


def _source(stage: str) -> Path:
    path = model_repository_folder() / stage / "1" / "model.py"
    if not path.is_file():
        raise FacewrightError(
            ErrorCode.INTERNAL,
            f"the model repository {model_repository_folder()} has no {stage}/1/model.py",
            "give the stage's row its model=, or set FACEWRIGHT_MODEL_REPOSITORY to the source tree's folder",
        )
    return path


def _require_border(stage: Stage, folder: Path, profile: Profile) -> None:
    """Refuse an exported network that does not take and give what its place in the pipelines does."""
    there = declared_tensors(read_config(folder, profile))
    unknown = there["input"].keys() - {tensor.name for tensor in stage.takes}
    if unknown:
        raise FacewrightError(
            ErrorCode.ENGINE_MISMATCH,
            f"the exported network {folder.name} also needs {', '.join(sorted(unknown))}, which nobody gives",
            "export the network that the pipeline was written for",
        )
    for border, wanted in (("input", stage.takes), ("output", stage.gives)):
        for tensor in wanted:
            found = there[border].get(tensor.name)
            if found != tensor and not (tensor.optional and found is None):
                have = ", ".join(
                    f"{row.name} {row.dtype} {list(row.shape)}" for row in there[border].values()
                )
                raise FacewrightError(
                    ErrorCode.ENGINE_MISMATCH,
                    f"the exported network {folder.name} has no {border} {tensor.name} {tensor.dtype} "
                    f"{list(tensor.shape)}; it has {have}",
                    "export the network that the pipeline was written for",
                )


def _require_fit(plan: Path, network: Path) -> None:
    require_fit(plan, read_identity(plan), serving_tensorrt(), compute_capability(), content_hash(network))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a repository; returns the exit status."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m facewright.server.served_repository",
        description="Write the model repository that facewright serve would load, for another Triton.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="created, or empty")
    parser.add_argument("--profile", choices=PROFILES, default="cpu")
    parser.add_argument("--pipelines", nargs="+", default=(), metavar="NAME", help="default: all")
    parser.add_argument("--cores", type=int, default=2, help="of the machine that serves")
    parser.add_argument("--networks", type=Path, metavar="REPOSITORY", help="of facewright export")
    given = parser.parse_args(arguments)
    try:
        if given.folder.exists() and any(given.folder.iterdir()):
            raise FacewrightError(ErrorCode.BAD_OPTION, f"{given.folder} is not empty", "name another folder")
        served = served_pipelines(given.pipelines)
        assemble_repository(given.folder, served, given.profile, Sizing(given.cores), given.networks)
    except FacewrightError as error:
        sys.stderr.write(f"error: {error.message}\n  mend: {error.hint}\n")
        return 1
    sys.stdout.write(f"{given.folder}: {', '.join(served)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
