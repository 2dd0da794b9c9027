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
    """The versions in a network's folder, rising."""
    return sorted(int(path.name) for path in folder.iterdir() if path.is_dir() and path.name.isdecimal())


def served_versions(folder: Path) -> list[int]:
    """The versions that the folder's version policy serves, rising."""
    there = versions_in(folder)
    policy = read_config(folder).version_policy
    if policy.HasField("specific"):
        return [version for version in there if version in policy.specific.versions]
    return there[-(policy.latest.num_versions or SERVED_VERSIONS) :]


def read_config(folder: Path) -> Any:
    """A network's ``config.pbtxt`` as Triton's ``ModelConfig`` message.

    Raises:
        FacewrightError: ENGINE_MISMATCH when there is none, or it is no such message.
    """
    # Not above: these load gRPC, and stages that import this module must not pay for it.
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    except (OSError, text_format.ParseError) as error:
        raise FacewrightError(
            ErrorCode.ENGINE_MISMATCH, f"{folder.name}/config.pbtxt: {error}", "export the network again"
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
    if profile != "tensorrt":
        return
    capability, tensorrt = compute_capability(), serving_tensorrt()
    for folder in networks.values():
        for version in served_versions(folder):
            require_plan(folder / str(version), capability, tensorrt)


def require_plan(version: Path, capability: str, tensorrt: str) -> None:
    """Raises ENGINE_MISMATCH when a version's folder has no plan that fits; see `require_fit`."""
    plan = version / plan_name(capability)
    content = content_hash(version / "model.onnx")
    require_fit(plan, read_identity(plan), tensorrt, capability, content)
