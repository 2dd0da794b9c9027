"""Files that are damaged, cut short or no checkpoints: each is refused in its own words."""

import io
import pickle
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from facewright_export.checkpoints import (
    CheckpointError,
    LayoutError,
    UnreadableCheckpointError,
    UnsafeCheckpointError,
)
from facewright_export.checkpoints._array_files import read_mat
from facewright_export.checkpoints._pickled_arrays import read_pickle_arrays
from facewright_export.checkpoints._torch_files import read_entries
from tests.networks.hostile_pickles import memory_limit
from tests.networks.synthetic_models import write_python2_pickle

Read = Callable[[Path], Any]


def _read_mat(path: Path) -> Any:
    return read_mat(path, ["a"])


_READERS: dict[str, Read] = {
    "torch": read_entries,
    "pickle": read_pickle_arrays,
    "mat": _read_mat,
}

_EVERY_READER = pytest.mark.parametrize("read", _READERS.values(), ids=_READERS)


def _write_sound(format_name: str, path: Path) -> Path:
    """A small file that the reader of its format accepts."""
    array = np.arange(300.0).reshape(3, 100)
    if format_name == "torch":
        torch.save({"a": torch.from_numpy(array), "b": {"c": torch.ones(3)}}, path)
    elif format_name == "legacy torch":
        torch.save({"a": torch.from_numpy(array)}, path, _use_new_zipfile_serialization=False)
    elif format_name == "safetensors":
        save_file({"model.a": torch.from_numpy(array), "model.b": torch.ones(3).half()}, path)
    elif format_name == "pickle":
        write_python2_pickle(path, {"a": array, "b": scipy.sparse.eye(4, format="csc"), "c": "text"})
    elif format_name == "mat":
        scipy.io.savemat(path, {"a": array, "b": array[:2]}, do_compression=True)
    return path


_FORMATS = ["torch", "legacy torch", "safetensors", "pickle", "mat"]


def _reader(format_name: str) -> Read:
    return _READERS[format_name.removeprefix("legacy ").replace("safetensors", "torch")]


@pytest.mark.parametrize("format_name", _FORMATS)
def test_a_file_that_is_cut_short_is_refused_wherever_it_ends(tmp_path: Path, format_name: str) -> None:
    content = _write_sound(format_name, tmp_path / "x").read_bytes()
    _reader(format_name)(tmp_path / "x")
    cut = tmp_path / "cut"
    for end in sorted({1, 20, len(content) // 2, len(content) * 9 // 10, len(content) - 1}):
        cut.write_bytes(content[:end])
        with pytest.raises(UnreadableCheckpointError):
            _reader(format_name)(cut)


@pytest.mark.parametrize("format_name", _FORMATS)
def test_a_truncated_download_says_what_to_do(tmp_path: Path, format_name: str) -> None:
    content = _write_sound(format_name, tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(UnreadableCheckpointError, match=r"cut short.*; download the file again"):
        _reader(format_name)(tmp_path / "x")


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("mica/readme"))
    return file.getvalue()


@_EVERY_READER
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<!DOCTYPE html><html>Google Drive: virus scan", "it is a web page; the download ended on a login"),
        (b"\n\n<html><head>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer.*git lfs pull"),
        (b"weights: see the readme\n" * 9, "it is text: 'weights: see the readme"),
        (b"\x1f\x8b\x08\x00" + bytes(20), "compressed with gzip; unpack it"),
        (_tar(), "it is a tar archive that holds mica/readme; unpack it"),
        (b"", "the file is empty"),
    ],
    ids=["web page", "web page after lines", "LFS pointer", "text", "gzip", "tar", "empty"],
)
def test_what_is_no_checkpoint_is_called_what_it_is(
    tmp_path: Path, read: Read, content: bytes, told: str
) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(UnreadableCheckpointError, match=told):
        read(tmp_path / "x.pt")


@_EVERY_READER
def test_a_path_without_a_file_is_told(tmp_path: Path, read: Read) -> None:
    with pytest.raises(UnreadableCheckpointError, match="No such file or directory; check the path"):
        read(tmp_path / "missing.pt")
    with pytest.raises(UnreadableCheckpointError, match="Is a directory; check the path"):
        read(tmp_path)


def test_a_whole_network_or_a_list_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([torch.ones(1)], tmp_path / "x.pt")
    with pytest.raises(
        LayoutError, match=r"holds a list, expected a dict; save the network's state_dict\(\)"
    ):
        read_entries(tmp_path / "x.pt")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "x.pt")
    with pytest.raises(UnsafeCheckpointError, match=r"torch\.nn\.modules\.linear\.Linear.*state_dict\(\)"):
        read_entries(tmp_path / "x.pt")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_torchscript_program_and_a_plain_pickle_are_no_state_dict(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(1, 1)).save(tmp_path / "x.pt")
    with pytest.raises(UnreadableCheckpointError, match=r"is a TorchScript program; .*state_dict\(\)"):
        read_entries(tmp_path / "x.pt")
    (tmp_path / "x.pt").write_bytes(pickle.dumps({"w": 1}))
    with pytest.raises(UnreadableCheckpointError, match=r"is a pickle that torch\.save did not write"):
        read_entries(tmp_path / "x.pt")


def test_a_mat_file_of_another_version_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UnreadableCheckpointError, match=r"version 7\.3 \(HDF5\); save it in MATLAB with -v7"):
        read_mat(tmp_path / "x.mat", ["a"])


@pytest.fixture(scope="module")
def sound_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    for name in _FORMATS:
        _write_sound(name, folder / name)
    return folder


@pytest.mark.parametrize("format_name", _FORMATS)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6))
def test_damaged_bytes_are_read_or_refused_but_raise_nothing_else(
    tmp_path: Path, sound_files: Path, format_name: str, changes: list[tuple[int, int]]
) -> None:
    content = bytearray((sound_files / format_name).read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with memory_limit(2 << 30), suppress(CheckpointError):
        _reader(format_name)(path)
