"""The model repository that ``facewright export`` writes, as a server sees it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from facewright.core.errors import FacewrightError
from facewright.engines.profile import Profile
from facewright.engines.tensorrt_plan import (
    compute_capability,
    content_hash,
    plan_name,
    read_identity,
    require_fit,
    serving_tensorrt,
)
from facewright_client.contract import ErrorCode, Tensor

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
    """The versions in a network's folder, rising; none where there is no such folder."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in found if path.is_dir() and path.name.isdecimal())


def served_versions(folder: Path, profile: Profile = "cpu") -> list[int]:
    """The versions that a profile's version policy serves, rising.

    Raises:
        FacewrightError: ENGINE_MISMATCH when the policy names versions that are not there.
    """
    there = versions_in(folder)
    policy = read_config(folder, profile).version_policy
    if not policy.HasField("specific"):
        return there[-(policy.latest.num_versions or SERVED_VERSIONS) :]
    served = [version for version in there if version in policy.specific.versions]
    if not served:
        raise FacewrightError(
            ErrorCode.ENGINE_MISMATCH,
            f"{folder.name} serves versions {list(policy.specific.versions)} and has {there}",
            "python -m facewright_export.repository_assembly REPOSITORY NETWORK --serve VERSION",
        )
    return served


def read_config(folder: Path, profile: Profile = "cpu") -> Any:
    """A network's config for a profile as Triton's ``ModelConfig`` message: ``configs/<profile>.pbtxt``,
    which Triton is told to prefer, else ``config.pbtxt``.

    Raises:
        FacewrightError: ENGINE_MISMATCH when there is none, or it is no such message.
    """
    # Not above: these load gRPC, and stages that import this module must not pay for it.
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    own = folder / "configs" / f"{profile}.pbtxt"
    path = own if own.is_file() else folder / "config.pbtxt"
    try:
        return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    except (OSError, text_format.ParseError) as error:
        raise FacewrightError(
            ErrorCode.ENGINE_MISMATCH, f"{folder.name}/{path.name}: {error}", "export the network again"
        ) from None


def declared_tensors(config: Any) -> Mapping[str, Mapping[str, Tensor]]:
    """The tensors that a config message declares: ``input`` and ``output``, by name."""
    from tritonclient.grpc import model_config_pb2

    kinds = model_config_pb2.DataType
    return {
        border: {
            row.name: Tensor(row.name, kinds.Name(row.data_type), tuple(row.dims))
            for row in getattr(config, border)
        }
        for border in ("input", "output")
    }


def require_servable(repository: Path, profile: Profile) -> None:
    """Refuses what a server could only half serve.

    Raises:
        FacewrightError: INTERNAL when the repository holds no network; ENGINE_MISMATCH when the profile is
            tensorrt and a served version has no plan for this GPU, this TensorRT and its own ONNX file.
    """
    networks = exported_networks(repository)
    strangers = sorted(
        path.name for path in repository.iterdir() if path.is_dir() and path.name not in networks
    )
    if strangers:
        raise FacewrightError(
            ErrorCode.INTERNAL,
            f"{repository} holds {', '.join(strangers)}, which is no exported network",
            "Triton loads every folder there: move it away",
        )
    for folder in networks.values():
        for version in served_versions(folder, profile):
            if not (folder / str(version) / "model.onnx").is_file():
                raise FacewrightError(
                    ErrorCode.ENGINE_MISMATCH,
                    f"{folder.name}/{version} has no model.onnx",
                    "export the network again",
                )
    if profile != "tensorrt":
        return
    capability, tensorrt = compute_capability(), serving_tensorrt()
    for folder in networks.values():
        for version in served_versions(folder, profile):
            require_plan(folder / str(version), capability, tensorrt)


def require_plan(version: Path, capability: str, tensorrt: str) -> None:
    """Raises ENGINE_MISMATCH when a version's folder has no plan that fits; see `require_fit`."""
    plan = version / plan_name(capability)
    content = content_hash(version / "model.onnx")
    require_fit(plan, read_identity(plan), tensorrt, capability, content)
