"""Files that want to harm or are no checkpoints: each is refused in its own words, nothing of it runs."""

import argparse
import io
import os
import pickle
import resource
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
from facewright_export.checkpoints._array_files import finite_array, read_mat
from facewright_export.checkpoints._pickled_arrays import read_pickle_arrays
from facewright_export.checkpoints._reading import read_checkpoint
from facewright_export.checkpoints._torch_files import read_entries
from facewright_export.checkpoints.state_dict import import_state_dict
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


class _Command:
    """Pickles as a call of ``os.system``, which leaves a marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


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


@contextmanager
def _memory_limit(extra: int) -> Iterator[None]:
    """No more than ``extra`` bytes of address space beyond what the process has."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + extra, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_that_calls_a_command_is_refused(tmp_path: Path, zipped: bool) -> None:
    marker, path = tmp_path / "ran", tmp_path / "x.pt"
    content = {"w": torch.ones(2), "x": _Command(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeCheckpointError, match=r"asks for (posix|os)\.system, .* nothing was run"):
        read_entries(path)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_calls_a_command_is_refused(tmp_path: Path, protocol: int) -> None:
    marker, path = tmp_path / "ran", tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"f": _Command(marker)}, protocol=protocol))
    with pytest.raises(UnsafeCheckpointError, match=r"asks for (posix|os)\.system, .* nothing was run"):
        read_pickle_arrays(path)
    assert not marker.exists()
    # the file is a working attack: plain unpickling runs it
    pickle.loads(path.read_bytes())
    assert marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        b"builtins\neval",
        b"__builtin__\ngetattr",
        b"numpy\nload",
        b"numpy\nndarray.tofile",
        b"numpy.testing._private.utils\nrunstring",
        b"scipy.sparse\ncsc_matrix.__init__",
        b"torch\nload",
        b"facewright_export.checkpoints._pickled_arrays\nread_pickle_arrays",
    ],
)
def test_a_pickle_may_name_nothing_beyond_the_list(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02}U\x01fc" + name + b"\ns.")
    with pytest.raises(UnsafeCheckpointError, match="asks for " + name.decode().replace("\n", ".")):
        read_pickle_arrays(path)


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


def test_a_torch_archive_with_compressed_entries_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(5_000_000)}, tmp_path / "sound.pt")
    with (
        zipfile.ZipFile(tmp_path / "sound.pt") as sound,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in sound.namelist():
            bomb.writestr(name, sound.read(name))
    assert (tmp_path / "bomb.pt").stat().st_size < 1 << 20
    with pytest.raises(
        UnsafeCheckpointError, match=r"entries are compressed \(.*which torch\.save never does"
    ):
        read_entries(tmp_path / "bomb.pt")


def test_a_torch_archive_whose_entries_overlap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": torch.zeros(1000)}, path)
    content = bytearray(path.read_bytes())
    # every entry of the directory claims the size of the largest: together more than the file
    start = content.find(b"PK\x01\x02")
    while start >= 0:
        content[start + 20 : start + 28] = struct.pack("<II", 4000, 4000)
        start = content.find(b"PK\x01\x02", start + 4)
    path.write_bytes(content)
    with pytest.raises(UnsafeCheckpointError, match=r"entries claim .* MiB, the file has .* MiB"):
        read_entries(path)


def test_a_mat_file_that_inflates_without_bound_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(1)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(80)) + packer.flush()
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (tmp_path / "x.mat").write_bytes(header + struct.pack("<II", 15, len(bomb)) + bomb)
    with _memory_limit(1 << 30), pytest.raises(UnsafeCheckpointError, match="inflates beyond 64 MiB"):
        read_mat(tmp_path / "x.mat", ["a"])


def test_a_mat_file_of_another_version_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UnreadableCheckpointError, match=r"version 7\.3 \(HDF5\); save it in MATLAB with -v7"):
        read_mat(tmp_path / "x.mat", ["a"])


def test_an_expanded_tensor_is_refused(tmp_path: Path) -> None:
    torch.save({"deep": {"w": torch.zeros(1).expand(10**9, 10**9)}}, tmp_path / "x.pt")
    told = r"deep\.w claims shape \[1000000000, 1000000000\] but stores 1 numbers"
    with pytest.raises(UnsafeCheckpointError, match=told):
        read_entries(tmp_path / "x.pt")


def test_sparse_weights_are_refused(tmp_path: Path) -> None:
    torch.save(
        {"w": torch.sparse_coo_tensor([[0]], [1.0], (10**9,), check_invariants=True)}, tmp_path / "x.pt"
    )
    with pytest.raises(CheckpointError):
        read_entries(tmp_path / "x.pt")


def test_a_storage_that_is_shorter_than_claimed_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(10)}, tmp_path / "sound.pt")
    with (
        zipfile.ZipFile(tmp_path / "sound.pt") as sound,
        zipfile.ZipFile(tmp_path / "x.pt", "w") as changed,
    ):
        for name in sound.namelist():
            # ten elements become a million, in the storage's length and in the tensor's
            content = sound.read(name)
            if name.endswith("data.pkl"):
                assert content.count(b"K\x0a") == 2
                content = content.replace(b"K\x0a", b"J" + struct.pack("<i", 10**6))
            changed.writestr(name, content)
    with pytest.raises(UnreadableCheckpointError, match="does not match expected size"):
        read_entries(tmp_path / "x.pt")


def _nested(depth: int) -> bytes:
    """``depth`` lists, each holding the next one twice: 2^depth entries when walked."""
    lists: list[Any] = []
    for _ in range(depth):
        lists = [lists, lists]
    return pickle.dumps({"f": lists}, protocol=2)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x80\x02}r\xff\xff\xff\x7f.", None),  # a memo index of two billion: nothing to allocate
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}.", None),  # a frame of 2^63 bytes: likewise
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.", UnreadableCheckpointError),  # bytes of 2^60
        (_nested(28), None),
        (_nested(60), UnsafeCheckpointError),
        (b"\x80\x02" + b"(" * 200_000 + b".", UnreadableCheckpointError),
        (b"\x80\x02(]" + b"]a" * 3 + b"t.", LayoutError),
        (b"\x80\x02.", UnreadableCheckpointError),
        (b"\x80\x02}U\x01fQ.", UnreadableCheckpointError),  # a persistent id
        (b"\x80\x02\x82\x01.", UnreadableCheckpointError),  # an extension code
    ],
)
def test_a_pickle_cannot_fill_the_memory(
    tmp_path: Path, content: bytes, told: type[CheckpointError] | None
) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    with _memory_limit(1 << 30):
        if told is None:
            assert len(read_pickle_arrays(path)) <= 1
        else:
            with pytest.raises(told):
                read_pickle_arrays(path)


def test_a_number_is_not_taken_for_the_length_of_an_array(tmp_path: Path) -> None:
    float64 = b"cnumpy\ndtype\n(U\x02f8tR"
    hundred_megabytes = b"J" + struct.pack("<i", 100_000_000)
    scalar = b"cnumpy.core.multiarray\nscalar\n(" + float64 + hundred_megabytes + b"tR"
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02}U\x01f" + scalar + b"s.")
    with pytest.raises(UnreadableCheckpointError, match="an array whose content is a int"):
        read_pickle_arrays(tmp_path / "x.pkl")


def test_a_pickle_cannot_change_what_reads_the_next_one(tmp_path: Path) -> None:
    # (None, {"__defaults__": ("rot13",)}) as the state of a function of the list
    change = b"c_codecs\nencode\n(N}U\x0c__defaults__(U\x05rot13tstb"
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02}U\x01f" + change + b"s.")
    with pytest.raises(UnreadableCheckpointError, match="state for something that is no array"):
        read_pickle_arrays(tmp_path / "x.pkl")


@pytest.mark.parametrize(
    "attributes",
    [
        {"_shape": (10**6, 10**6), "indptr": np.zeros(10**6 + 1, np.int32)},
        {"_shape": (-4, -4)},
        {"_shape": (4, 4, 4)},
        {"indices": np.array([0, 9, 1, 2], np.int32)},
        {"indices": np.array([-1, 0, 1, 2], np.int32)},
        {"indptr": np.array([0, 3, 1, 2, 4], np.int32)},
        {"indptr": np.array([0, 1, 2, 3, 2**30], np.int32)},
        {"data": np.ones(3)},
    ],
)
def test_a_sparse_matrix_that_contradicts_itself_is_refused(
    tmp_path: Path, attributes: dict[str, Any]
) -> None:
    matrix = scipy.sparse.eye(4, format="csc")
    matrix.__dict__.update(attributes)
    path = write_python2_pickle(tmp_path / "x.pkl", {"J_regressor": matrix})
    with _memory_limit(1 << 30), pytest.raises(LayoutError, match="sparse matrix"):
        read_pickle_arrays(path)


@pytest.mark.parametrize("dtype", ["O", "V8", "S4", "U4", "m8[s]", "f3", "f8,i4"])
def test_arrays_of_anything_but_numbers_are_refused(tmp_path: Path, dtype: str) -> None:
    # the dtype's letters in a pickle of a sound array are replaced
    sound = pickle.dumps({"f": np.zeros(4)}, protocol=2)
    letters = b"X\x02\x00\x00\x00f8"
    assert sound.count(letters) == 1
    (tmp_path / "x.pkl").write_bytes(
        sound.replace(letters, b"X" + struct.pack("<i", len(dtype)) + dtype.encode())
    )
    with pytest.raises(UnreadableCheckpointError):
        read_pickle_arrays(tmp_path / "x.pkl")


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
    with _memory_limit(2 << 30), suppress(CheckpointError):
        _reader(format_name)(path)


_NAMES = st.sampled_from(
    [
        "module",
        "state_dict",
        "model",
        "ema",
        "g",
        "weight",
        "bias",
        "0",
        "",
        ".",
        "a.weight",
        "x/y",
        "é",
        3,
        None,
        (1, 2),
    ]
)
_LEAVES = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=3),
    st.sampled_from(
        [torch.ones(2, 3), torch.ones(2).half(), torch.tensor(1), torch.zeros(0), argparse.Namespace(a=1)]
    ),
)
_CONTENT = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=_CONTENT, zipped=st.booleans())
def test_whatever_is_nested_in_whatever_is_read_or_refused(
    tmp_path: Path, content: Any, zipped: bool
) -> None:
    path = tmp_path / "x.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with suppress(CheckpointError):
        import_state_dict(torch.nn.Linear(3, 2), path)


def test_names_without_number_and_end_are_read_or_refused_at_once(tmp_path: Path) -> None:
    """The work grows with the names, not with their square, and stops at what no network is called."""
    weight = torch.ones(1)
    cases: list[Any] = [
        {f"part{i}.weight": weight for i in range(20_000)},
        {"module" + ".module" * 100_000 + ".weight": weight},
        {"weight": weight, "counts": list(range(500_000))},
        {"weight": weight, "config": {f"key{i}": i for i in range(100_000)}},
    ]
    deep: dict[str, Any] = {"weight": weight}
    for _ in range(5000):
        deep = {"model": deep}
    for content in (*cases, deep):
        try:
            torch.save(content, tmp_path / "x.pt")
        except RecursionError:
            continue
        with suppress(CheckpointError):
            import_state_dict(torch.nn.Linear(3, 2), tmp_path / "x.pt")


def test_a_key_of_tuples_without_end_is_refused(tmp_path: Path) -> None:
    """Python hashes a tuple by recursion, and ends at a deep one."""
    key = b")" + b"\x85" * 200_000
    for content in (b"}" + key + b"Ns", b"}(" + key + b"Nu", b"\x8f(" + key + b"\x90"):
        torch.save({"w": torch.ones(1)}, tmp_path / "sound.pt")
        with (
            zipfile.ZipFile(tmp_path / "sound.pt") as sound,
            zipfile.ZipFile(tmp_path / "x.pt", "w") as changed,
        ):
            for name in sound.namelist():
                changed.writestr(
                    name, b"\x80\x04" + content + b"." if name.endswith("data.pkl") else sound.read(name)
                )
        with pytest.raises(UnreadableCheckpointError, match="a key of nested tuples"):
            read_entries(tmp_path / "x.pt")
        (tmp_path / "x.pkl").write_bytes(b"\x80\x04" + content + b".")
        with pytest.raises(UnreadableCheckpointError, match="a key of nested tuples"):
            read_pickle_arrays(tmp_path / "x.pkl")


def _with_pickle(path: Path, content: bytes, stored: int = 16) -> Path:
    """An archive of ``torch.save`` with one storage, "0", of ``stored`` floats, and this pickle."""
    torch.save({"a": torch.arange(float(stored))}, path)
    with zipfile.ZipFile(path) as sound:
        members = {name: sound.read(name) for name in sound.namelist()}
    with zipfile.ZipFile(path, "w") as changed:
        for name, member in members.items():
            changed.writestr(name, content if name.endswith("data.pkl") else member)
    return path


def _number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _storage(
    key: bytes = _text("0"), kind: bytes = b"ctorch\nFloatStorage\n", name: bytes = _text("storage")
) -> bytes:
    return b"(" + name + kind + key + _text("cpu") + _number(16) + b"tQ"


def _stored_tensor(
    size: bytes = b"K\x10\x85", stride: bytes = b"K\x01\x85", storage: bytes = _storage()
) -> bytes:
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + size + stride + b"\x89}tR"


_TENSOR = _stored_tensor()
_OBJECT = b"cfoo\nBar\n)\x81"
_LONG = b"\x8b" + struct.pack("<i", 2501) + (2**20_000 - 1).to_bytes(2501, "little", signed=True)
#: 3000 objects or lists, each in the one before; and 26, each referring twice to the next.
_DEEP_OBJECT = (_OBJECT + b"K\x00") * 3000 + b"N" + b"s" * 3000
_DEEP_TUPLE = b")" + b"\x85" * 200_000
_TWICE = b"]" + b"".join(
    b"q" + bytes([i]) + b"0](h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(26)
)


def _dict(*entries: bytes) -> bytes:
    return b"\x80\x04}(" + b"".join(entries) + b"u."


#: What a file may not say in its pickle, and what is told.
_REFUSED: dict[str, tuple[bytes, str]] = {
    "long integer": (_dict(_LONG, _TENSOR), "a key with an integer of 20000 bits"),
    "long integer in a tuple": (_dict(_LONG + b"\x85", _TENSOR), "a key with an integer of 20000 bits"),
    "long tuple": (_dict(b"(" + b"N" * 5000 + b"t", _TENSOR), "a key of 5000 parts"),
    "frozenset": (_dict(b"(N\x91", _TENSOR), "a key of the type frozenset"),
    "tensor": (_dict(_TENSOR, _TENSOR), "a key of the type Tensor"),
    "add to a tensor": (_dict(_text("a"), _TENSOR + b"(K\x01\x90"), "entries for a Tensor"),
    "expanded": (
        _dict(_text("a"), _stored_tensor(_number(1 << 40) + b"\x85", b"K\x00\x85") + b"(K\x01\x90"),
        "entries for a Tensor",
    ),
    "append to a tensor": (_dict(_text("a"), _TENSOR + b"K\x01a"), "entries for a Tensor"),
    "appends to a dict": (_dict(_text("a"), b"}(K\x01e"), "entries for a dict"),
    "set a tensor's item": (_dict(_text("a"), _TENSOR + b"K\x00K\x01s"), "entries for a Tensor"),
    "set a tensor's items": (_dict(_text("a"), _TENSOR + b"(K\x00K\x01u"), "entries for a Tensor"),
    "set a list's item": (_dict(_text("a"), b"](K\x00K\x01u"), "entries for a list"),
    "attributes": (_dict(_text("a"), _TENSOR + b"}b"), "attributes of a Tensor"),
    "encoded without end": (b"\x80\x04c_codecs\nencode\n" + _TWICE + b"\x85R.", "bytes of another encoding"),
    "encoding without end": (
        b"\x80\x04c_codecs\nencode\n" + _text("a") + _TWICE + b"\x86R.",
        "bytes of another encoding",
    ),
    "storage's key": (_dict(_text("a"), _stored_tensor(storage=_storage(_DEEP_TUPLE))), "stored nowhere"),
    "storage's name": (_dict(_text("a"), _stored_tensor(storage=_storage(name=_TWICE))), "stored nowhere"),
    "storage's kind": (
        _dict(_text("a"), _stored_tensor(storage=_storage(kind=_TWICE))),
        "stored nowhere",
    ),
    "dimensions": (
        _dict(_text("a"), _stored_tensor(b"(" + b"K\x01" * 5000 + b"t", b"(" + b"K\x01" * 5000 + b"t")),
        "over 64 dimensions",
    ),
    "size": (_dict(_text("a"), _stored_tensor(_TWICE + b"\x85")), "whose sizes are no numbers"),
    "class of a long name": (b"\x80\x02c" + b"a" * 5000 + b"\nb\n.", "a class whose name is no name"),
}


@pytest.mark.parametrize(("content", "told"), _REFUSED.values(), ids=_REFUSED)
def test_opcodes_call_no_methods_of_what_they_are_applied_to(
    tmp_path: Path, content: bytes, told: str
) -> None:
    path = _with_pickle(tmp_path / "x.pt", content)
    with _memory_limit(1 << 30), pytest.raises(UnreadableCheckpointError, match=told) as caught:
        read_entries(path)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def test_an_object_as_a_key_is_called_what_its_class_is(tmp_path: Path) -> None:
    """Nothing of what it holds is written out: it may be deep, or refer twice to the next without end."""
    twice = b"".join(
        _OBJECT + b"q" + bytes([i]) + (b"(K\x00h%cK\x01h%cu" % (i - 1, i - 1) if i else b"") + b"0"
        for i in range(40)
    )
    for key in (_DEEP_OBJECT, twice + b"h\x27", b"cfoo\nBar\n"):
        path = _with_pickle(tmp_path / "x.pt", _dict(key, _TENSOR))
        with _memory_limit(1 << 30):
            assert list(read_entries(path)) == ["foo.Bar"]


def test_keys_of_plain_values_and_flat_tuples_are_read(tmp_path: Path) -> None:
    weight = torch.ones(1)
    content = {3: weight, None: weight, b"b": weight, (1, "x"): weight, 0.5: weight, "a\nb\x1b": weight}
    torch.save({**content, torch.float16: weight}, tmp_path / "x.pt")
    names = ["3", "None", "b'b'", "(1, 'x')", "0.5", "a\\nb\\x1b", "torch.float16"]
    assert list(read_entries(tmp_path / "x.pt")) == names


def test_what_calls_make_does_not_grow_beyond_the_file(tmp_path: Path) -> None:
    """Each names again, in a few bytes, what is large once in the file."""
    large = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x000"
    encoded = b"".join(b"c_codecs\nencode\nh\x00\x85R" for _ in range(2000))
    with _memory_limit(1 << 30):
        path = _with_pickle(tmp_path / "x.pt", b"\x80\x04" + large + b"(" + encoded + b"t.")
        with pytest.raises(UnreadableCheckpointError, match="makes more of its content than the file"):
            read_entries(path)
        array = b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01J\x00\x00\x10\x00\x85" + (
            b"cnumpy\ndtype\n(U\x02u1tR\x89h\x00tb"
        )
        (tmp_path / "x.pkl").write_bytes(b"\x80\x02" + large + b"(" + array * 2000 + b"t.")
        with pytest.raises(UnreadableCheckpointError, match="makes more of its content than the file"):
            read_pickle_arrays(tmp_path / "x.pkl")


def test_a_storage_that_is_read_by_many_keys_is_refused(tmp_path: Path) -> None:
    """PyTorch finds an archive's entry whatever its letters' case: "aB" reads "ab" again."""
    torch.save({"a": torch.zeros(1 << 20)}, tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as sound:
        members = {name: sound.read(name) for name in sound.namelist()}
    number = _number(1 << 20)
    entries = b""
    for i in range(1000):
        key = "".join(letter.upper() if i >> bit & 1 else letter for bit, letter in enumerate("abcdefghij"))
        entries += _text(str(i)) + _stored_tensor(storage=_storage(_text(key))).replace(_number(16), number)
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as changed:
        for name, member in members.items():
            content = _dict(entries) if name.endswith("data.pkl") else member
            changed.writestr(name.replace("data/0", "data/abcdefghij"), content)
    with _memory_limit(1 << 30), pytest.raises(UnreadableCheckpointError, match="more bytes than the file"):
        read_entries(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (b"]" + _DEEP_TUPLE + b"a", "storages whose keys are no keys"),  # torch hashes them, by recursion
        (b"]", "storages without content"),  # torch would give what happens to be in the memory
        (b"}", "storages without content"),
    ],
    ids=["deep", "none", "a dict"],
)
def test_the_keys_of_the_older_format_are_those_of_its_storages(
    tmp_path: Path, keys: bytes, told: str
) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "x.pt").read_bytes()
    start = content.rindex(b"\x80\x02]")
    (tmp_path / "x.pt").write_bytes(content[:start] + b"\x80\x02" + keys + b".")
    with pytest.raises(UnreadableCheckpointError, match=told):
        read_entries(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "content",
    [
        b"c__builtin__\nset\n(]" + _DEEP_TUPLE + b"atR",  # hashes, by recursion, what a set gets
        b"cnumpy\ndtype\n" + _TWICE + b"\x85R",  # writes out what it is given
    ],
)
def test_calls_of_a_pickle_of_arrays_take_what_they_are_for(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02}U\x01f" + content + b"s.")
    with _memory_limit(1 << 30), pytest.raises(CheckpointError) as caught:
        read_pickle_arrays(tmp_path / "x.pkl")
    assert len(str(caught.value)) < 600


def test_lists_that_refer_to_one_another_become_no_array(tmp_path: Path) -> None:
    matrix = scipy.sparse.eye(4, format="csc")
    lists: list[Any] = [1]
    for _ in range(29):
        lists = [lists, lists]
    matrix.indices = lists
    path = write_python2_pickle(tmp_path / "x.pkl", {"J_regressor": matrix, "v": lists})
    with _memory_limit(1 << 30), pytest.raises(LayoutError, match="sparse matrix"):
        read_pickle_arrays(path)
    path = write_python2_pickle(tmp_path / "x.pkl", {"v": lists})
    with _memory_limit(1 << 30), pytest.raises(LayoutError, match="v is a list, expected an array"):
        finite_array(read_pickle_arrays(path), "v", [None, 3], source="x")


_FIRST, _SECOND = torch.zeros(2), torch.ones(2)


@pytest.mark.parametrize(
    ("content", "first", "second"),
    [
        ({"module": {"a": _FIRST}, "module.a": _SECOND}, "module/a", "module.a"),
        ({"m": {"a": _FIRST}, "m.a": _SECOND}, "m/a", "m.a"),
        ({"module.a": _FIRST, "module": {"a": _SECOND}}, "module/a", "module.a"),
        ({1: _FIRST, "1": _SECOND}, "[1]", "['1']"),
        ({"a|b": _FIRST, "a/b": _SECOND}, "['a|b']", "['a/b']"),
        ({"x": {"a|b": {"c": _FIRST}, "a/b": {"c": _SECOND}}}, "['x']['a|b']['c']", "['x']['a/b']['c']"),
        ({None: _FIRST, "None": _SECOND.double()}, "[None]", "['None']"),
        ({"": {"a": _FIRST}, "a": _SECOND}, "['']['a']", "['a']"),
        ({"a": _FIRST, "": {"a": "text"}}, "['']['a']", "['a']"),
        ({"l": [_FIRST], "l.0": _SECOND}, "l/0", "l.0"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_two_tensors_of_one_name_are_refused_with_both_names(
    tmp_path: Path, content: dict[Any, Any], first: str, second: str
) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(LayoutError, match="which are one name, with other content") as caught:
        read_checkpoint(tmp_path / "x.pt")
    assert first in str(caught.value)
    assert second in str(caught.value)


def test_equal_tensors_of_one_name_are_one(tmp_path: Path) -> None:
    content = {"module": {"a": _SECOND}, "module.a": _SECOND.clone(), 1: _FIRST, "1": _FIRST.clone()}
    torch.save({**content, 2: "text", "2": "another"}, tmp_path / "x.pt")
    assert set(read_checkpoint(tmp_path / "x.pt").tensors) >= {"1"}
