"""Starts of refinements that strangers send: nothing is unpacked that is no start."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest

from facewright.core.errors import FacewrightError
from facewright.refine.start_file import read_start
from facewright_client.contract import REFINEMENT_INPUTS

_KINDS = {"TYPE_UINT8": np.uint8, "TYPE_FP32": np.float32}


def _archive(packed: int = zipfile.ZIP_DEFLATED, **others: bytes) -> io.BytesIO:
    """A start, some of whose members are other bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packed) as archive:
        for tensor in REFINEMENT_INPUTS:
            array = io.BytesIO()
            np.save(array, np.zeros(tensor.shape, _KINDS[tensor.dtype]))
            archive.writestr(f"{tensor.name.lower()}.npy", array.getvalue())
        for name, content in others.items():
            archive.writestr(f"{name}.npy", content)
    file.seek(0)
    return file


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_numpy_writes_is_read(packed: int) -> None:
    assert read_start(_archive(packed), "a").face_crop.shape == (1024, 1024, 3)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_header_of_gigabytes_is_not_read() -> None:
    header = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{" + b" " * 1000
    with pytest.raises(FacewrightError, match=r"w_plus in a is of version 2\.0"):
        read_start(_archive(w_plus=header), "a")


@pytest.mark.parametrize("packed", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_packing_is_refused(packed: int) -> None:
    with pytest.raises(FacewrightError, match="packed in another way"):
        read_start(_archive(packed), "a")


def test_a_stranger_does_not_choose_how_much_is_said_of_a_file() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(9):
            archive.writestr(f"{number}{'x' * 60_000}.npy", b"")
    with pytest.raises(FacewrightError) as refused:
        read_start(file, "a")
    assert len(refused.value.message) < 1000
