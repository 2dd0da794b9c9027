"""Face models of the published sizes with made-up numbers, and the files in which their owners have them.

The pickles are those of Python 2 with a chumpy object inside, as FLAME's are; writing them needs neither.
"""

import io
import pickle
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, ClassVar

import numpy as np
import scipy.io
import scipy.sparse
from numpy.typing import NDArray

from facewright_export.seeded_weights import seeded_uniform

Arrays = dict[str, NDArray[Any]]

FLAME_VERTICES, FLAME_TRIANGLES = 5023, 9976
BFM_VERTICES, BFM_TRIANGLES = 35709, 70789


def flame_arrays() -> Arrays:
    """FLAME's arrays by the names and shapes of ``generic_model.pkl``: a head's size, no head's form."""
    v = FLAME_VERTICES
    template = _numbers((v, 3), "v_template", 0.1)
    # a mirrored pair of eyes: vertex 0 is left, vertex 1 right; the regressor's last rows look at them
    template[0], template[1] = (0.03, 0.02, 0.05), (-0.03, 0.02, 0.05)
    regressor = np.abs(_numbers((5, v), "J_regressor", 1)) ** 40
    regressor[regressor < 1e-3] = 0
    regressor[3:] = 0
    regressor[3, 0] = regressor[4, 1] = 1
    regressor /= regressor.sum(1, keepdims=True)
    skin = np.abs(_numbers((v, 5), "weights", 1)) ** 4
    # the first ten vertices are on eyeballs, left and right by turns
    skin[:10] = 0
    skin[0:10:2, 3] = skin[1:10:2, 4] = 1
    kinship = np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32)
    corners = (np.abs(_numbers((FLAME_TRIANGLES, 3), "f", 1)) * (v - 1)).astype(np.uint32)
    corners[:2] = (0, 2, 4), (1, 3, 5)
    return {
        "f": corners,
        "v_template": template,
        "shapedirs": _numbers((v, 3, 400), "shapedirs", 0.003),
        "posedirs": _numbers((v, 3, 36), "posedirs", 0.002),
        "J_regressor": regressor,
        "kintree_table": kinship,
        "weights": skin / skin.sum(1, keepdims=True),
    }


def write_flame_pickle(path: Path, arrays: Arrays) -> Path:
    """Write ``arrays`` as FLAME 2020's file has them: one chumpy array, one sparse, Python 2's strings."""
    content: dict[str, Any] = {**arrays, "bs_style": "lbs", "bs_type": "lrotmin"}
    with chumpy_arrays() as chumpy_array:
        content["shapedirs"] = chumpy_array(arrays["shapedirs"])
        content["J_regressor"] = scipy.sparse.csc_matrix(arrays["J_regressor"])
        write_python2_pickle(path, content)
    return path


def write_python2_pickle(path: Path, content: Any) -> Path:
    """Write ``content`` as Python 2.7 did in protocol 2: byte strings for text, the old names of modules."""
    buffer = io.BytesIO()
    _Python2Pickler(buffer, protocol=2).dump(content)
    path.write_bytes(buffer.getvalue())
    return path


def bfm_arrays() -> Arrays:
    """The Basel face model's arrays by the names and shapes of ``BFM_model_front.mat``; indices from 1."""
    n = 3 * BFM_VERTICES
    corners = np.abs(_numbers((BFM_TRIANGLES, 3), "tri", 1)) * (BFM_VERTICES - 1)
    neighbours = np.abs(_numbers((BFM_VERTICES, 8), "point_buf", 1)) * BFM_TRIANGLES
    return {
        "meanshape": _numbers((1, n), "meanshape", 1).astype(np.float32),
        "idBase": _numbers((n, 80), "idBase", 0.02).astype(np.float32),
        "exBase": _numbers((n, 64), "exBase", 0.02).astype(np.float32),
        "meantex": 100 + _numbers((1, n), "meantex", 50).astype(np.float32),
        "texBase": _numbers((n, 80), "texBase", 2).astype(np.float32),
        "tri": corners.astype(np.int32) + 1,
        "point_buf": neighbours.astype(np.int32) + 1,
        "keypoints": np.arange(1, 69, dtype=np.int32)[None] * 500,
    }


def write_mat(path: Path, arrays: Arrays) -> Path:
    scipy.io.savemat(path, arrays)
    return path


def _numbers(shape: tuple[int, ...], name: str, scale: float) -> NDArray[np.float64]:
    return seeded_uniform(shape, name, seed=3).astype(np.float64) * scale


_OLD_MODULES = {
    "numpy._core.multiarray": "numpy.core.multiarray",
    "scipy.sparse._csc": "scipy.sparse.csc",
    "builtins": "__builtin__",
    "copyreg": "copy_reg",
}


# Python 2's str held bytes: an opcode writes it that the pickler of today never uses.
class _Python2Pickler(pickle._Pickler):  # type: ignore[misc,name-defined]
    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)

    def save_str(self, value: str) -> None:
        self.save_bytes(value.encode("latin1"))

    def save_global(self, value: Any, name: str | None = None) -> None:
        module = _OLD_MODULES.get(value.__module__, value.__module__)
        self.write(pickle.GLOBAL + f"{module}\n{name or value.__qualname__}\n".encode())
        self.memoize(value)

    def save_set(self, value: set[Any]) -> None:
        self.save_reduce(set, (list(value),), obj=value)

    dispatch[bytes], dispatch[str], dispatch[set] = save_bytes, save_str, save_set
    dispatch[type] = save_global
    dispatch[FunctionType] = save_global


@contextmanager
def chumpy_arrays() -> Iterator[Callable[[Any], Any]]:
    """Makes instances of chumpy's class ``Ch``, which can be imported while a pickle is written."""
    made = type("Ch", (), {"__module__": "chumpy.ch"})

    def chumpy_array(values: Any) -> Any:
        instance = made()
        instance.__dict__.update(x=values, _dirty_vars={"x"}, _itr=None, _depends_on_deps=True)
        return instance

    modules = {"chumpy": ModuleType("chumpy"), "chumpy.ch": ModuleType("chumpy.ch")}
    modules["chumpy.ch"].Ch = made  # type: ignore[attr-defined]
    sys.modules.update(modules)
    try:
        yield chumpy_array
    finally:
        for name in modules:
            del sys.modules[name]
