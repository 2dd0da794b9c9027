"""PyTorch's files that want to harm: nothing of them runs, or claims more than the file has."""

import struct
import zipfile
from pathlib import Path

import pytest
import torch

from facewright_export.checkpoints import (
    CheckpointError,
    UnreadableCheckpointError,
    UnsafeCheckpointError,
)
from facewright_export.checkpoints._pickled_arrays import read_pickle_arrays
from facewright_export.checkpoints._torch_files import read_entries
from tests.networks.hostile_pickles import (
    DEEP_OBJECT,
    DEEP_TUPLE,
    LONG_INTEGER,
    OBJECT,
    TENSOR,
    TWICE,
    Command,
    dict_of,
    memory_limit,
    push_number,
    push_storage,
    push_tensor,
    push_text,
    with_pickle,
)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_that_calls_a_command_is_refused(tmp_path: Path, zipped: bool) -> None:
    marker, path = tmp_path / "ran", tmp_path / "x.pt"
    content = {"w": torch.ones(2), "x": Command(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeCheckpointError, match=r"asks for (posix|os)\.system, .* nothing was run"):
        read_entries(path)
    assert not marker.exists()


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


#: What a file may not say in its pickle, and what is told.
_REFUSED: dict[str, tuple[bytes, str]] = {
    "long integer": (dict_of(LONG_INTEGER, TENSOR), "a key with an integer of 20000 bits"),
    "long integer in a tuple": (
        dict_of(LONG_INTEGER + b"\x85", TENSOR),
        "a key with an integer of 20000 bits",
    ),
    "long tuple": (dict_of(b"(" + b"N" * 5000 + b"t", TENSOR), "a key of 5000 parts"),
    "frozenset": (dict_of(b"(N\x91", TENSOR), "a key of the type frozenset"),
    "tensor": (dict_of(TENSOR, TENSOR), "a key of the type Tensor"),
    "add to a tensor": (dict_of(push_text("a"), TENSOR + b"(K\x01\x90"), "entries for a Tensor"),
    "expanded": (
        dict_of(push_text("a"), push_tensor(push_number(1 << 40) + b"\x85", b"K\x00\x85") + b"(K\x01\x90"),
        "entries for a Tensor",
    ),
    "append to a tensor": (dict_of(push_text("a"), TENSOR + b"K\x01a"), "entries for a Tensor"),
    "appends to a dict": (dict_of(push_text("a"), b"}(K\x01e"), "entries for a dict"),
    "set a tensor's item": (dict_of(push_text("a"), TENSOR + b"K\x00K\x01s"), "entries for a Tensor"),
    "set a tensor's items": (dict_of(push_text("a"), TENSOR + b"(K\x00K\x01u"), "entries for a Tensor"),
    "set a list's item": (dict_of(push_text("a"), b"](K\x00K\x01u"), "entries for a list"),
    "attributes": (dict_of(push_text("a"), TENSOR + b"}b"), "attributes of a Tensor"),
    "encoded without end": (b"\x80\x04c_codecs\nencode\n" + TWICE + b"\x85R.", "bytes of another encoding"),
    "encoding without end": (
        b"\x80\x04c_codecs\nencode\n" + push_text("a") + TWICE + b"\x86R.",
        "bytes of another encoding",
    ),
    "storage's key": (
        dict_of(push_text("a"), push_tensor(storage=push_storage(DEEP_TUPLE))),
        "stored nowhere",
    ),
    "storage's name": (
        dict_of(push_text("a"), push_tensor(storage=push_storage(name=TWICE))),
        "stored nowhere",
    ),
    "storage's kind": (
        dict_of(push_text("a"), push_tensor(storage=push_storage(kind=TWICE))),
        "stored nowhere",
    ),
    "dimensions": (
        dict_of(push_text("a"), push_tensor(b"(" + b"K\x01" * 5000 + b"t", b"(" + b"K\x01" * 5000 + b"t")),
        "over 64 dimensions",
    ),
    "size": (dict_of(push_text("a"), push_tensor(TWICE + b"\x85")), "whose sizes are no numbers"),
    "class of a long name": (b"\x80\x02c" + b"a" * 5000 + b"\nb\n.", "a class whose name is no name"),
}


@pytest.mark.parametrize(("content", "told"), _REFUSED.values(), ids=_REFUSED)
def test_opcodes_call_no_methods_of_what_they_are_applied_to(
    tmp_path: Path, content: bytes, told: str
) -> None:
    path = with_pickle(tmp_path / "x.pt", content)
    with memory_limit(1 << 30), pytest.raises(UnreadableCheckpointError, match=told) as caught:
        read_entries(path)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def test_an_object_as_a_key_is_called_what_its_class_is(tmp_path: Path) -> None:
    """Nothing of what it holds is written out: it may be deep, or refer twice to the next without end."""
    twice = b"".join(
        OBJECT + b"q" + bytes([i]) + (b"(K\x00h%cK\x01h%cu" % (i - 1, i - 1) if i else b"") + b"0"
        for i in range(40)
    )
    for key in (DEEP_OBJECT, twice + b"h\x27", b"cfoo\nBar\n"):
        path = with_pickle(tmp_path / "x.pt", dict_of(key, TENSOR))
        with memory_limit(1 << 30):
            assert list(read_entries(path)) == ["foo.Bar"]


def test_what_calls_make_does_not_grow_beyond_the_file(tmp_path: Path) -> None:
    """Each names again, in a few bytes, what is large once in the file."""
    large = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x000"
    encoded = b"".join(b"c_codecs\nencode\nh\x00\x85R" for _ in range(2000))
    with memory_limit(1 << 30):
        path = with_pickle(tmp_path / "x.pt", b"\x80\x04" + large + b"(" + encoded + b"t.")
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
    number = push_number(1 << 20)
    entries = b""
    for i in range(1000):
        key = "".join(letter.upper() if i >> bit & 1 else letter for bit, letter in enumerate("abcdefghij"))
        entries += push_text(str(i)) + push_tensor(storage=push_storage(push_text(key))).replace(
            push_number(16), number
        )
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as changed:
        for name, member in members.items():
            content = dict_of(entries) if name.endswith("data.pkl") else member
            changed.writestr(name.replace("data/0", "data/abcdefghij"), content)
    with memory_limit(1 << 30), pytest.raises(UnreadableCheckpointError, match="more bytes than the file"):
        read_entries(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (b"]" + DEEP_TUPLE + b"a", "storages whose keys are no keys"),  # torch hashes them, by recursion
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
