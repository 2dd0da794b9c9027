"""What the training of ``face_shape`` leaves: one small file that travels with the code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from facewright.pipelines.tensors import MESH_COUNT
from facewright_client.contract import EXPRESSION_SIZE

FloatArray = npt.NDArray[np.float64]

WEIGHTS_FILE: Final = Path(__file__).with_name("weights.npz")
FORMAT_VERSION: Final = 1
#: Identity coefficients that are regressed: ICT-FaceKit's. The residual modes behind them keep their mean.
IDENTITY_REGRESSED: Final = 100


@dataclass(frozen=True)
class FaceShapeWeights:
    """Trained numbers; F = 3 x 468 + 52 features: the landmarks' form about its mean, millimetres, and the
    scores of the blendshape network.

    Args:
        reference: [468, 3], what landmarks are turned onto, millimetres, head axes.
        mean_shape: [1404], mean of what was turned so.
        landmark_bias: [6, 468, 2], `landmark_bias`, millimetres in the image.
        identity_weights, identity_bias: [F, 100] and [100].
        identity_common: [100], mean of what is regressed from real photos, which is no person's own.
        identity_sigma: [100], of the error on people not trained on.
        distance_axes: [1404, D], whitening axes of the landmarks' form, over its 99.9th percentile.
        expression_axes, expression_offset: [F, K] and [K], what the expressions' layers begin with.
        expression_layers: weights [I, O] and bias [O] of each, ReLU between them.
        expression_gain, expression_dead: [52], estimate = gain x output - dead, cut to 0-1.
        expression_sigma: [52], of its error on people not trained on.
    """

    reference: FloatArray
    mean_shape: FloatArray
    landmark_bias: FloatArray
    identity_weights: FloatArray
    identity_bias: FloatArray
    identity_common: FloatArray
    identity_sigma: FloatArray
    distance_axes: FloatArray
    expression_axes: FloatArray
    expression_offset: FloatArray
    expression_layers: list[tuple[FloatArray, FloatArray]]
    expression_gain: FloatArray
    expression_dead: FloatArray
    expression_sigma: FloatArray

    def save(self, path: Path) -> None:
        """Writes half precision for the large matrices; :meth:`load` gives them back."""
        layers: dict[str, Any] = {}
        for index, (weight, bias) in enumerate(self.expression_layers):
            layers[f"expression_layer_{index}"] = weight.astype(np.float16)
            layers[f"expression_bias_{index}"] = bias.astype(np.float32)
        halves = ("identity_weights", "distance_axes", "expression_axes")
        plain = [name for name in vars(self) if name != "expression_layers"]
        arrays: dict[str, Any] = {
            name: vars(self)[name].astype(np.float16 if name in halves else np.float32) for name in plain
        }
        layers["format_version"] = FORMAT_VERSION
        np.savez_compressed(path, **arrays, **layers)

    @staticmethod
    def load(path: Path = WEIGHTS_FILE) -> FaceShapeWeights:
        """Reads a file of :meth:`save`; ValueError where it is another."""
        with np.load(path) as file:
            if int(file.get("format_version", 0)) != FORMAT_VERSION:
                raise ValueError(f"{path} is no face_shape weights of format {FORMAT_VERSION}")
            arrays = {name: file[name].astype(np.float64) for name in file.files if name != "format_version"}
        layers: list[tuple[FloatArray, FloatArray]] = []
        while (name := f"expression_layer_{len(layers)}") in arrays:
            layers.append((arrays.pop(name), arrays.pop(f"expression_bias_{len(layers)}")))
        weights = FaceShapeWeights(expression_layers=layers, **arrays)
        if weights.reference.shape != (MESH_COUNT, 3) or len(weights.expression_sigma) != EXPRESSION_SIZE:
            raise ValueError(f"{path} is of other landmarks or expressions")
        return weights
