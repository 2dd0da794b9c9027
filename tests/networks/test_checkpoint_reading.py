"""Reading checkpoints that are as they should be, and filling networks strictly."""

import argparse
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from torch import nn

from facewright_export.checkpoints import LayoutError, WeightError
from facewright_export.checkpoints._array_files import finite_array, index_array, read_mat
from facewright_export.checkpoints._pickled_arrays import read_pickle_arrays
from facewright_export.checkpoints._reading import load_strictly
from facewright_export.checkpoints._torch_files import read_entries
from facewright_export.checkpoints._torch_unpickler import class_name
from tests.networks.synthetic_models import chumpy_arrays, write_python2_pickle


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {key: torch.rand_like(value.float()) for key, value in _network().state_dict().items()} | {
        "1.num_batches_tracked": torch.tensor(7)
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_of_torch_are_read(tmp_path: Path, zipped: bool) -> None:
    content = {"g_ema": _state(), "epoch": 3, "names": ["a", "b"]}
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    found = read_entries(tmp_path / "x.pt")
    assert found["epoch"] == 3
    assert all(torch.equal(found[f"g_ema/{key}"], value) for key, value in _state().items())


def test_a_class_is_named_and_not_made(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace(size=256), "w": torch.ones(2)}, tmp_path / "x.pt")
    found = read_entries(tmp_path / "x.pt")
    assert class_name(found["args"]) == "argparse.Namespace"
    assert not hasattr(found["args"], "size")
    assert (class_name(found["w"]), class_name(3)) == ("", "")


@pytest.mark.parametrize("module", [b"numpy.core", b"numpy._core"])
@pytest.mark.parametrize("zipped", [True, False])
def test_numpy_values_of_a_trainer_are_passed_over(tmp_path: Path, zipped: bool, module: bytes) -> None:
    arrays = [np.ones(512, np.float32), np.zeros(0), np.array(["subject"])]
    state = {"best": np.float64(0.5), "embeddings": {"a": arrays}}
    torch.save(
        {"w": torch.ones(2), "validator": state}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped
    )
    # NumPy 1 and 2 call the same functions by different names
    if zipped:
        with zipfile.ZipFile(tmp_path / "x.pt") as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content.replace(b"numpy._core", module))
    else:
        content = (tmp_path / "x.pt").read_bytes()
        (tmp_path / "x.pt").write_bytes(content.replace(b"numpy._core", module))
    assert torch.equal(read_entries(tmp_path / "x.pt")["w"], torch.ones(2))


def test_a_network_is_filled() -> None:
    network, state = _network(), _state()
    load_strictly(network, state, source="f.pt")
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_everything_that_does_not_fit_is_named_and_nothing_is_changed() -> None:
    network, state = _network(), _state()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    del state["0.bias"]
    state |= {"0.weight": torch.ones(4, 4), "1.weight": torch.ones(4, dtype=torch.int64)}
    state |= {"z.b": torch.ones(1), "z.a": torch.ones(1)}
    told = (
        "f.pt does not fit Sequential: 1 missing: 0.bias; 2 extra: z.a, z.b; 2 mis-shaped: "
        "0.weight is float32 [4, 4], expected float32 [4, 3], 1.weight is int64 [4], expected float32 [4];"
    )
    with pytest.raises(LayoutError, match=re.escape(told)):
        load_strictly(network, state, source="f.pt")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_long_lists_say_how_many_there_are() -> None:
    network = nn.Sequential(*(nn.Linear(1, 1) for _ in range(15)))
    with pytest.raises(LayoutError, match=r"29 missing: 0\.bias, 1\.bias, 1\.weight, .*, … \(29 in all\)"):
        load_strictly(network, {"0.weight": torch.ones(1, 1)}, source="f.pt")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_named(bad: float) -> None:
    network, state = _network(), _state()
    before = network[0].weight.detach().clone()
    state["0.weight"][1, 2] = bad
    state["1.running_var"][0] = bad
    with pytest.raises(WeightError, match=r"weights of f\.pt: NaN or infinity in 0\.weight, 1\.running_var;"):
        load_strictly(network, state, source="f.pt")
    assert torch.equal(network[0].weight, before)


_ARRAYS: dict[str, Any] = {
    "doubles": np.linspace(-1, 1, 12).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
    "big_endian": np.arange(5, dtype=">i4"),
    "empty": np.zeros((0, 3)),
    "flags": np.array([True, False]),
    "scalar": np.float64(0.25),
    "sparse": scipy.sparse.random(5, 40, 0.2, "csc", rng=np.random.default_rng(1)),
    "text": "lbs",
    "number": 3,
    "nested": {"list": [np.arange(3, dtype=np.uint8), None, 2.5]},
}


@pytest.mark.parametrize("protocol", ["Python 2", 2, 4, 5])
def test_pickles_of_arrays_give_the_arrays(tmp_path: Path, protocol: int | str) -> None:
    path = tmp_path / "x.pkl"
    if isinstance(protocol, int):
        path.write_bytes(pickle.dumps(_ARRAYS, protocol=protocol))
    else:
        write_python2_pickle(path, _ARRAYS)
    found = read_pickle_arrays(path)
    for name in ("doubles", "fortran", "big_endian", "empty", "flags"):
        assert np.array_equal(found[name], _ARRAYS[name]), name
        assert found[name].dtype == _ARRAYS[name].dtype.newbyteorder("="), name
    assert np.array_equal(found["sparse"], _ARRAYS["sparse"].toarray())
    assert (found["scalar"], found["text"], found["number"]) == (0.25, "lbs", 3)
    assert np.array_equal(found["nested"]["list"][0], [0, 1, 2])
    assert found["nested"]["list"][1:] == [None, 2.5]


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_chumpy_arrays_are_the_arrays_that_they_hold(tmp_path: Path, protocol: int) -> None:
    values = np.arange(6.0).reshape(2, 3)
    with chumpy_arrays() as chumpy_array:
        content = {"plain": chumpy_array(values), "nested": chumpy_array(chumpy_array(values))}
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_pickle_arrays(tmp_path / "x.pkl")
    assert np.array_equal(found["plain"], values)
    assert np.array_equal(found["nested"], values)


@pytest.mark.parametrize("compressed", [True, False])
def test_mat_files_give_the_matrices_asked_for(tmp_path: Path, compressed: bool) -> None:
    matrices = {"meanshape": np.arange(6.0)[None], "tri": np.arange(6, dtype=np.int32).reshape(2, 3)}
    scipy.io.savemat(tmp_path / "x.mat", matrices | {"name": "text"}, do_compression=compressed)
    found = read_mat(tmp_path / "x.mat", ["tri", "meanshape"])
    assert list(found) == ["tri", "meanshape"]
    assert all(np.array_equal(found[name], matrix) for name, matrix in matrices.items())
    with pytest.raises(LayoutError, match=r"missing or not numeric: idBase, name \(<U4\);"):
        read_mat(tmp_path / "x.mat", ["name", "idBase", "tri"])


def test_arrays_are_held_to_shapes_and_bounds() -> None:
    content = {
        "v": np.zeros((4, 3), np.float32),
        "f": np.array([[0.0, 3.0]]),
        "bad": np.array([0.5]),
        "s": "x",
    }
    assert finite_array(content, "v", [None, 3], source="f").dtype == np.float64
    assert index_array(content, "f", [None, 2], below=4, source="f").tolist() == [[0, 3]]
    with pytest.raises(LayoutError, match=r"f: v is float32 \[4, 3\], expected \[any, 2\];"):
        finite_array(content, "v", [None, 2], source="f")
    with pytest.raises(LayoutError, match="f: no 'w'; it holds bad, f, s, v;"):
        finite_array(content, "w", [1], source="f")
    with pytest.raises(LayoutError, match="s is <U1"):
        finite_array(content, "s", [], source="f")
    with pytest.raises(LayoutError, match=r"f has values 0 … 3, expected indices in 0 … 2"):
        index_array(content, "f", [None, 2], below=3, source="f")
    with pytest.raises(LayoutError, match=r"bad has values 0\.5 … 0\.5, expected indices"):
        index_array(content, "bad", [1], below=3, source="f")
