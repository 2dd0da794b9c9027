"""The file of the shape prior: the arrays of ICT-FaceKit (MIT) as the open head has them."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from facewright_export.open_head.head_file import write_head_file

FloatArray = npt.NDArray[np.float64]

PRIOR_FILE: Final = Path(__file__).with_name("prior.npz")


@dataclass(frozen=True)
class ShapePrior:
    """``mean`` float64 [V, 3]; ``identity`` float64 [100, V, 3], 1 sigma each; ``expressions`` float64 [52,
    V, 3] in ARKit's order; head space, metres. ``metadata``: sources with their sha256, licence, residuals.
    """

    mean: FloatArray
    identity: FloatArray
    expressions: FloatArray
    metadata: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write the mean as float32 and displacements as float16, compressed; the same prior gives the same
        bytes."""
        arrays = {
            "metadata": np.array(json.dumps(self.metadata, sort_keys=True)),
            "mean": self.mean.astype(np.float32),
            "identity": self.identity.astype(np.float16),
            "expressions": self.expressions.astype(np.float16),
        }
        write_head_file(arrays, path, zipfile.ZIP_DEFLATED)

    @classmethod
    def load(cls, path: Path = PRIOR_FILE) -> ShapePrior:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            mean, identity, expressions = (
                arrays[name].astype(np.float64) for name in ("mean", "identity", "expressions")
            )
            return cls(mean, identity, expressions, json.loads(str(arrays["metadata"])))
