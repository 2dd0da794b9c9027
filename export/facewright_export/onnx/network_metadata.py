"""What an exported ONNX file says about itself, so that a plan can be built from the file alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import onnx

from facewright_export.export_error import ExportError

_KEY: Final = "facewright"


@dataclass(frozen=True)
class NetworkMetadata:
    """Written into the file by the exporter.

    Args:
        name: of the network.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        batch: least, usual and largest batch.
        weights: name and sha256 of each checkpoint file, or of the seed that made test weights.
        notes: what their importer said of them, which copy was taken or what was drawn; written where there
            are any.
    """

    name: str
    precision: str
    batch: tuple[int, int, int]
    weights: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def write_metadata(model: onnx.ModelProto, metadata: NetworkMetadata) -> None:
    """Store it in the model, replacing what was there."""
    others = {entry.key: entry.value for entry in model.metadata_props if entry.key != _KEY}
    record = {name: value for name, value in asdict(metadata).items() if name != "notes" or value}
    onnx.helper.set_model_props(model, others | {_KEY: json.dumps(record, sort_keys=True)})


def read_metadata(path: Path) -> NetworkMetadata:
    """What the file says.

    Raises:
        ExportError: the file is missing, no ONNX file, or not one of ``facewright export``.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf raises a class of its own making
        raise ExportError(
            f"{path} cannot be read as ONNX ({error})", "export it again: facewright export"
        ) from error
    return metadata_of(model, str(path))


def metadata_of(model: onnx.ModelProto, what: str) -> NetworkMetadata:
    """What a loaded model says; ``what`` names it in the error.

    Raises:
        ExportError: it is not one of ``facewright export``.
    """
    said = {entry.key: entry.value for entry in model.metadata_props}.get(_KEY)
    if said is None:
        raise ExportError(
            f"{what} does not say its batch range and precision", "write it with facewright export"
        )
    record = json.loads(said)
    return NetworkMetadata(
        record["name"],
        record["precision"],
        tuple(record["batch"]),
        tuple(record["weights"]),
        tuple(record.get("notes", ())),
    )
