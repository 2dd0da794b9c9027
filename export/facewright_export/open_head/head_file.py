"""Write the head model file: the ``.npz`` of CONVENTIONS.md with reproducible bytes."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_TIMESTAMP: Final = (1980, 1, 1, 0, 0, 0)
#: Lengths are rounded to 0.1 µm, so that differences between BLAS libraries do not reach the file.
LENGTH_DECIMALS: Final = 7


def write_head_file(
    arrays: Mapping[str, npt.NDArray[Any]], out: Path, compression: int = zipfile.ZIP_STORED
) -> None:
    """Write ``arrays`` in their order, uncompressed (fast to load) if not asked otherwise; the file appears
    in one step.
    """
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(
                member, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False
            )
            info = zipfile.ZipInfo(f"{name}.npy", _TIMESTAMP)
            info.external_attr = 0o644 << 16
            archive.writestr(info, member.getvalue(), compression)
    partial.replace(out)


def rounded(array: npt.NDArray[np.float64], decimals: int = LENGTH_DECIMALS) -> npt.NDArray[np.float32]:
    """Rounded to ``decimals`` as float32, without negative zeros."""
    return (np.round(array, decimals) + 0.0).astype(np.float32)
