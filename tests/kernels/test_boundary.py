"""Which arrays may meet in one call."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from facewright_kernels._runtime.boundary import Boundary, device_name


def _on_gpu(number: int) -> SimpleNamespace:
    """What a CuPy array shows of itself before it is used."""
    return SimpleNamespace(
        __cuda_array_interface__={},
        device=SimpleNamespace(id=number),
        dtype=np.dtype(np.float32),
        shape=(2,),
    )


def test_every_gpu_is_a_device_of_its_own():
    names = [device_name(array) for array in (np.zeros(2), _on_gpu(0), _on_gpu(1))]
    assert names == ["cpu", "gpu 0", "gpu 1"]


def test_devices_are_not_mixed():
    check = Boundary("f")
    check.array("a", np.zeros(2, np.float32), "float32", "N")
    with pytest.raises(
        ValueError, match=r"f: b must be float32 \[N\] on the cpu .*got float32 \[2\] on the gpu 1"
    ):
        check.array("b", _on_gpu(1), "float32", "N")


@pytest.mark.gpu
def test_two_gpus_are_not_mixed(gpu_device):
    cupy = gpu_device.xp
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one NVIDIA GPU")
    arrays = []
    for number in range(2):
        with cupy.cuda.Device(number):
            arrays.append(cupy.zeros(2, np.float32))
    check = Boundary("f")
    check.array("a", arrays[0], "float32", "N")
    with pytest.raises(ValueError, match=r"on the gpu 0 like the arrays before it, got .* on the gpu 1"):
        check.array("b", arrays[1], "float32", "N")


@pytest.mark.parametrize(
    ("offsets", "complaint"),
    [
        ([0, 2, 5], None),
        ([3, 3, 3], None),
        ([], None),
        ([0, 3, 2], "offsets must not fall, goes from 3 to 2"),
        ([0, 6], "offsets must hold indices 0 to 5, holds 6"),
        ([-1, 2], "offsets must hold indices 0 to 5, holds -1"),
    ],
)
def test_offsets_never_fall_and_stay_within_the_list(offsets, complaint):
    check = Boundary("f")
    if complaint is None:
        check.offsets("offsets", np.array(offsets, np.int32), 5)
        return
    with pytest.raises(ValueError, match=complaint):
        check.offsets("offsets", np.array(offsets, np.int32), 5)
