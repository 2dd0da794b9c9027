"""Pickles and MATLAB files of arrays that want to harm: nothing of them runs, or fills the memory."""

import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from facewright_export.checkpoints import (
    CheckpointError,
    LayoutError,
    UnreadableCheckpointError,
    UnsafeCheckpointError,
)
from facewright_export.checkpoints._array_files import finite_array, read_mat
from facewright_export.checkpoints._pickled_arrays import read_pickle_arrays
from tests.networks.hostile_pickles import DEEP_TUPLE, TWICE, Command, memory_limit
from tests.networks.synthetic_models import write_python2_pickle


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_calls_a_command_is_refused(tmp_path: Path, protocol: int) -> None:
    marker, path = tmp_path / "ran", tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"f": Command(marker)}, protocol=protocol))
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


def test_a_mat_file_that_inflates_without_bound_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(1)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(80)) + packer.flush()
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (tmp_path / "x.mat").write_bytes(header + struct.pack("<II", 15, len(bomb)) + bomb)
    with memory_limit(1 << 30), pytest.raises(UnsafeCheckpointError, match="inflates beyond 64 MiB"):
        read_mat(tmp_path / "x.mat", ["a"])


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
    with memory_limit(1 << 30):
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
    with memory_limit(1 << 30), pytest.raises(LayoutError, match="sparse matrix"):
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


@pytest.mark.parametrize(
    "content",
    [
        b"c__builtin__\nset\n(]" + DEEP_TUPLE + b"atR",  # hashes, by recursion, what a set gets
        b"cnumpy\ndtype\n" + TWICE + b"\x85R",  # writes out what it is given
    ],
)
def test_calls_of_a_pickle_of_arrays_take_what_they_are_for(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02}U\x01f" + content + b"s.")
    with memory_limit(1 << 30), pytest.raises(CheckpointError) as caught:
        read_pickle_arrays(tmp_path / "x.pkl")
    assert len(str(caught.value)) < 600


def test_lists_that_refer_to_one_another_become_no_array(tmp_path: Path) -> None:
    matrix = scipy.sparse.eye(4, format="csc")
    lists: list[Any] = [1]
    for _ in range(29):
        lists = [lists, lists]
    matrix.indices = lists
    path = write_python2_pickle(tmp_path / "x.pkl", {"J_regressor": matrix, "v": lists})
    with memory_limit(1 << 30), pytest.raises(LayoutError, match="sparse matrix"):
        read_pickle_arrays(path)
    path = write_python2_pickle(tmp_path / "x.pkl", {"v": lists})
    with memory_limit(1 << 30), pytest.raises(LayoutError, match="v is a list, expected an array"):
        finite_array(read_pickle_arrays(path), "v", [None, 3], source="x")
