"""The file that a refinement starts from: an ``.npz`` that a stranger may have written."""

from __future__ import annotations

import zipfile
from dataclasses import fields
from typing import IO, Final

from numpy.lib import format as npy

from facewright.core.errors import FacewrightError
from facewright_client import RefinementStart
from facewright_client._refinement import unfit
from facewright_client.contract import REFINEMENT_INPUTS, ErrorCode, Tensor

#: Every archive begins so, empty ones and those in parts but for the second half.
_ZIP: Final = b"PK"
#: Of the names in it, characters: each may have 65,535.
_SHOWN: Final = 200
_AGAIN: Final = "copy it again, or write it again with numpy.savez"
#: What NumPy writes; others may ask for gigabytes before anything is unpacked, as LZMA's dictionary does.
_PACKED: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_start(source: IO[bytes], called: str) -> RefinementStart:
    """The arrays of a start. Nothing in the file is unpickled, and no more is read than a start has.

    Args:
        source: the file.
        called: its name, for errors.

    Raises:
        FacewrightError: BAD_OPTION when an array is missing or is not the contract's, or the file is no
            ``.npz`` or damaged.
        OSError: the file cannot be read.
    """
    tensors = {tensor.name.lower(): tensor for tensor in REFINEMENT_INPUTS}
    try:
        with zipfile.ZipFile(source) as archive:
            there = [name.removesuffix(".npy") for name in archive.namelist()]
            missing = [field.name for field in fields(RefinementStart) if field.name not in there]
            if missing:
                has = ", ".join(there) or "nothing"
                what = f"{called} has no {', '.join(sorted(missing))}; it has {has[:_SHOWN]}"
                raise _bad(what, "write them with numpy.savez, by these names")
            arrays = {}
            for name, tensor in tensors.items():
                if archive.getinfo(f"{name}.npy").compress_type not in _PACKED:
                    raise _bad(f"{name} in {called} is packed in another way than NumPy's", _AGAIN)
                with archive.open(f"{name}.npy") as file:
                    _require(f"{name} in {called}", tensor, file)
                with archive.open(f"{name}.npy") as file:
                    arrays[name] = npy.read_array(file, allow_pickle=False)
                    file.read(1)  # at its end the checksum is looked at
    except zipfile.BadZipFile as error:
        source.seek(0)
        if source.read(len(_ZIP)) != _ZIP:
            raise _bad(f"{called} is no .npz file", "write one with numpy.savez") from None
        raise _bad(f"{called} is damaged: {str(error)[:_SHOWN]}", _AGAIN) from None
    except (OSError, FacewrightError):
        raise
    except Exception as error:  # zipfile, zlib, NumPy and Python's own parser each have theirs
        raise _bad(f"{called} is damaged: {str(error)[:_SHOWN]}", _AGAIN) from None
    return RefinementStart(**arrays)


def _require(what: str, tensor: Tensor, file: IO[bytes]) -> None:
    """Refuse an array, by its header, that is not the contract's."""
    version = npy.read_magic(file)
    if version != (1, 0):  # the others' headers may have gigabytes, and are read before they are looked at
        raise _bad(f"{what} is of version {version[0]}.{version[1]} of NumPy's format", _AGAIN)
    shape, _, dtype = npy.read_array_header_1_0(file)
    if dtype.hasobject:
        raise _bad(f"{what} is pickled, and is not read", "save it as an array of numbers")
    problem = unfit(shape, dtype, tensor)
    if problem:
        raise _bad(f"{what} {problem[0]}", problem[1])


def _bad(what: str, mend: str) -> FacewrightError:
    return FacewrightError(ErrorCode.BAD_OPTION, what, mend)
