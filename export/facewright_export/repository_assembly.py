"""Exported networks as a Triton model repository: versions, configs, and the proof of parity.

    <repository>/<network>/config.pbtxt            of the profile that it was exported for
    <repository>/<network>/configs/<profile>.pbtxt for `--model-config-name`
    <repository>/<network>/<version>/model.onnx    what was verified
    <repository>/<network>/<version>/model.py      three lines, for the Python backend
    <repository>/<network>/<version>/parity.json   the gate's numbers
    <repository>/<network>/<version>/*_*.onnx      with gradients, for refinement, of networks that it runs
    <repository>/<network>/<version>/model_9.0.plan, .json   after `facewright build`, on the GPU that serves

Exporting again makes the next version; the newest two are served. To roll back, and to end it:

    python -m facewright_export.repository_assembly REPOSITORY NETWORK --serve 1
    python -m facewright_export.repository_assembly REPOSITORY NETWORK --latest

A network that was rolled back stays so: exporting again writes the next version beside what is served.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import onnx
from onnx import TensorProto

from facewright.core.errors import FacewrightError
from facewright.engines.exported_repository import SERVED_VERSIONS, read_config, versions_in
from facewright.engines.profile import PROFILES, Profile
from facewright.server.model_configs import ServedNetwork, write_network_configs
from facewright.server.served_repository import NETWORK_MODEL
from facewright_client.contract import Tensor
from facewright_export.export_error import ExportError
from facewright_export.onnx.network_metadata import metadata_of

_TRITON_TYPES: Final = {
    TensorProto.FLOAT: "TYPE_FP32",
    TensorProto.FLOAT16: "TYPE_FP16",
    TensorProto.UINT8: "TYPE_UINT8",
    TensorProto.INT32: "TYPE_INT32",
    TensorProto.INT64: "TYPE_INT64",
    TensorProto.BOOL: "TYPE_BOOL",
}


def describe(model: onnx.ModelProto, versions: int | tuple[int, ...] = SERVED_VERSIONS) -> ServedNetwork:
    """What Triton must know of an exported network, read from the file that it serves.

    Raises:
        ExportError: the file is not one of ``facewright export``, or a type that Triton does not know.
    """
    metadata = metadata_of(model, "the model")
    return ServedNetwork(
        metadata.name,
        tuple(_tensor(value) for value in model.graph.input),
        tuple(_tensor(value) for value in model.graph.output),
        metadata.batch,
        versions,
    )


def add_version(
    repository: Path,
    model: onnx.ModelProto,
    parity: Sequence[dict[str, object]],
    profile: Profile,
    beside: Callable[[Path], None] = lambda _folder: None,
) -> Path:
    """Adds a network to the repository: its first version, or the next one, complete at once.

    Args:
        repository: a folder; created if need be.
        model: as `export_network` gives it.
        parity: the gate's rows, kept beside the file.
        profile: of ``config.pbtxt``; the files for all profiles are written.
        beside: writes what else belongs into the version's folder.

    Returns:
        The folder of the new version.

    Which versions are served stays as it was: the newest, or those that the network was rolled back to.

    Raises:
        ExportError: see `describe`; or the repository cannot be written.
    """
    network = describe(model)
    folder = repository / network.name
    try:
        return _add_version(folder, network, model, parity, profile, beside)
    except OSError as error:
        raise ExportError(
            f"{folder} cannot be written: {error.strerror or error}", "free space, or give another --output"
        ) from error


def _add_version(
    folder: Path,
    network: ServedNetwork,
    model: onnx.ModelProto,
    parity: Sequence[dict[str, object]],
    profile: Profile,
    beside: Callable[[Path], None],
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    version = max(versions_in(folder), default=0) + 1
    # Triton takes folders with a number for a name: it never sees half of one.
    unfinished = folder / f".unfinished-{version}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        (unfinished / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
        (unfinished / "model.py").write_text(NETWORK_MODEL)
        (unfinished / "parity.json").write_text(json.dumps(list(parity), indent=1) + "\n")
        beside(unfinished)
        held = rolled_back_to(folder)
        write_network_configs(folder, _served(folder, held) if held else network, profile)
        os.replace(unfinished, folder / str(version))
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not versions_in(folder):
            shutil.rmtree(folder, ignore_errors=True)  # a server refuses a network without a version
    return folder / str(version)


def rolled_back_to(folder: Path) -> tuple[int, ...]:
    """The versions that a network was rolled back to, rising; () while the newest are served."""
    if not (folder / "config.pbtxt").is_file():
        return ()
    policy = read_config(folder).version_policy
    return tuple(version for version in versions_in(folder) if version in policy.specific.versions)


def _served(folder: Path, versions: tuple[int, ...]) -> ServedNetwork:
    """What Triton must know of a network of which it serves these versions."""
    return describe(onnx.load(folder / str(max(versions)) / "model.onnx"), versions)


def serve_versions(repository: Path, name: str, versions: tuple[int, ...] | None) -> None:
    """Says which versions are served: just those, or None for the newest ones again.

    Raises:
        ExportError: there is no such network or version.
    """
    folder = repository / name
    there = versions_in(folder) if folder.is_dir() else []
    missing = sorted(set(versions or ()) - set(there))
    if not there or missing:
        raise ExportError(
            f"{folder} has no version {', '.join(map(str, missing))}"
            if there
            else f"{folder} holds no network",
            f"versions there: {', '.join(map(str, there)) or 'none'}; exported by facewright export",
        )
    network = (
        _served(folder, versions)
        if versions
        else describe(onnx.load(folder / str(max(there)) / "model.onnx"))
    )
    text = (folder / "config.pbtxt").read_text()
    same = [profile for profile in PROFILES if (folder / "configs" / f"{profile}.pbtxt").read_text() == text]
    write_network_configs(folder, network, same[0] if same else "cpu")


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type.elem_type
    if kind not in _TRITON_TYPES:
        raise ExportError(
            f"{value.name} has the type {TensorProto.DataType.Name(kind)}",
            "inputs and outputs are float32, integers or bytes in every precision: mend the row's narrow_io",
        )
    shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])
    # Triton has no scalars: a number for each of the batch is a vector of one.
    return Tensor(value.name, _TRITON_TYPES[kind], shape)


def parity_rows(results: Sequence[object]) -> list[dict[str, object]]:
    """Gate results as plain rows for a file."""
    return [json.loads(json.dumps(asdict(result))) for result in results]  # type: ignore[call-overload]


def main(arguments: Sequence[str] | None = None) -> int:
    """Changes which versions of a network are served."""
    parser = argparse.ArgumentParser(
        prog="python -m facewright_export.repository_assembly",
        description="Choose which versions of an exported network Triton serves. A running server follows "
        "when it polls, or is told to reload the model.",
    )
    parser.add_argument("repository", type=Path, metavar="REPOSITORY")
    parser.add_argument("network", metavar="NETWORK")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--serve", type=int, nargs="+", metavar="VERSION", help="just these")
    choice.add_argument("--latest", action="store_true", help=f"the newest {SERVED_VERSIONS}")
    options = parser.parse_args(arguments)
    try:
        serve_versions(options.repository, options.network, tuple(options.serve) if options.serve else None)
    except FacewrightError as error:
        sys.stderr.write(f"error: {error.message}\n  mend: {error.hint}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
