"""The trained network as the ONNX file that travels with the code: half the file, its provenance inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import onnx
import torch

from facewright.pipelines.tensors import UV_MAP_SIZE
from facewright_export.detail_refinement.network import OpenDetailRefinement
from facewright_export.network import Batch
from facewright_export.onnx.network_metadata import NetworkMetadata, write_metadata
from facewright_export.onnx.onnx_export import EXAMPLE_BATCH, export_onnx
from facewright_export.open_normalized.half_storage import store_weights_as_half

NETWORK_FILE: Final = Path(__file__).with_name("detail_refinement.onnx")
LICENCE: Final = "Apache-2.0 AND MIT"
_BATCH: Final = Batch(1, 1, 8)


def write_network(network: OpenDetailRefinement, path: Path, provenance: Mapping[str, Any]) -> None:
    """Writes the network; ``provenance`` (command, seed, errors) goes into the file as JSON."""
    # Two tensors: one for both inputs is one input to torch.export.
    texture, prior = torch.rand(2, EXAMPLE_BATCH, 3, UV_MAP_SIZE, UV_MAP_SIZE).unbind()
    light = torch.zeros(EXAMPLE_BATCH, 9, 3)
    light[:, 0] = 3.5
    model = export_onnx(
        network.eval(),
        {"UV_TEXTURE": texture, "PRIOR_ALBEDO": prior, "SH_LIGHT": light},
        ("DETAILED_ALBEDO", "SH_LIGHT_MAP"),
        largest_batch=_BATCH.largest,
    )
    said = json.dumps(dict(provenance), sort_keys=True)
    onnx.helper.set_model_props(model, {"licence": LICENCE, "provenance": said})
    batch = (_BATCH.least, _BATCH.usual, _BATCH.largest)
    write_metadata(model, NetworkMetadata("detail_refinement", "fp32", batch))
    onnx.save(model, path)
    store_weights_as_half(path)
