"""The simulated GPU shows the mistakes that it is there for."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from facewright_kernels import vertex_normals
from tests.support.gpu import IS_REAL
from tests.support.simulated_cuda import threads_backwards

pytestmark = pytest.mark.skipif(IS_REAL, reason="this machine has a GPU")


@pytest.fixture
def cupy(gpu_device: Any) -> Any:
    return gpu_device.xp


def _kernel(cupy: Any, body: str, parameters: str = "float* x") -> Any:
    return cupy.RawKernel(f'extern "C" __global__ void probe({parameters}) {{ {body} }}', "probe")


def test_a_missing_wait_of_the_host_shows(cupy: Any) -> None:
    stream = cupy.cuda.Stream(non_blocking=True)
    array = cupy.zeros(3, np.float32)
    cupy.cuda.Device().synchronize()
    with stream:
        array += 1
    assert array.get().tolist() == [0, 0, 0]  # on another stream, which does not wait
    stream.synchronize()
    assert array.get().tolist() == [1, 1, 1]


def test_a_stream_waits_only_where_it_is_told_to(cupy: Any) -> None:
    first, second = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
    array, copies = cupy.zeros(1, np.float32), cupy.zeros(2, np.float32)
    cupy.cuda.Device().synchronize()
    with first:
        array += 1
    with second:
        copies[:1] = array
    second.synchronize()
    second.wait_event(first.record())
    with second:
        copies[1:] = array
    second.synchronize()
    assert copies.get().tolist() == [0, 1]


def test_a_wait_of_the_host_spoils_a_capture(cupy: Any) -> None:
    array = cupy.zeros(3, np.float32)
    array += 1  # compiled
    with cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        array += 1
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="StreamCaptureUnsupported"):
            cupy.cuda.Device().synchronize()
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="StreamCaptureInvalidated"):
            stream.end_capture()


def test_host_memory_is_refused(cupy: Any) -> None:
    host = np.zeros(3, np.float32)
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="700"):
        _kernel(cupy, "*x = 1.0f;")((1,), (1,), (np.uintp(host.ctypes.data),))
    pointer = ctypes.c_void_p(host.ctypes.data).value
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="IllegalAddress"):
        cupy.cuda.runtime.memcpyAsync(pointer, pointer, 4, cupy.cuda.runtime.memcpyDeviceToHost, 0)


def test_what_depends_on_the_order_of_threads_shows(cupy: Any) -> None:
    last = _kernel(cupy, "*x = (float)(blockIdx.x * blockDim.x + threadIdx.x);")
    array = cupy.zeros(1, np.float32)
    last((3,), (4,), (array,))
    assert array.get() == 11
    with threads_backwards():
        last((3,), (4,), (array,))
    assert array.get() == 0


@pytest.mark.parametrize("threads", [(256,), (2, 3, 4)])
def test_blocks_and_threads_are_those_of_the_launch(cupy: Any, threads: tuple[int, ...]) -> None:
    count = _kernel(cupy, "atomicAdd(x + threadIdx.x, 1.0f + threadIdx.y + 10 * threadIdx.z);")
    array = cupy.zeros(threads[0], np.float32)
    count((5,), threads, (array,))
    y, z = (np.arange((*threads, 1, 1)[axis]) for axis in (1, 2))
    assert array.get().tolist() == [5 * (1 + y + 10 * z[:, None]).sum()] * threads[0]
    with pytest.raises(cupy.cuda.driver.CUDADriverError):
        count((5,), (1025,), (array,))


def test_memory_that_nobody_wrote_is_not_a_number(cupy: Any) -> None:
    cupy.get_default_memory_pool().free_all_blocks()
    assert np.isnan(cupy.empty(1 << 20, np.float32).get()).all()


def test_threads_wait_for_each_other(cupy: Any) -> None:
    turn = _kernel(
        cupy,
        """__shared__ float seen[64];
        seen[threadIdx.x] = x[threadIdx.x];
        __syncthreads();
        x[threadIdx.x] = seen[63 - threadIdx.x] + __shfl_down_sync(~0u, seen[threadIdx.x], 1);""",
    )
    values = np.arange(64, dtype=np.float32)
    array = cupy.asarray(values)
    turn((1,), (64,), (array,))
    neighbour = np.where(values % 32 == 31, values, values + 1)
    np.testing.assert_array_equal(array.get(), values[::-1] + neighbour)


def test_cupys_own_sums_and_products(cupy: Any) -> None:
    values = np.random.default_rng(0).normal(size=(7, 300, 5)).astype(np.float32)
    array = cupy.asarray(values)
    np.testing.assert_allclose(array.sum(axis=1).get(), values.sum(axis=1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        (array @ array.transpose(0, 2, 1)).get(), values @ values.transpose(0, 2, 1), atol=1e-5
    )
    np.testing.assert_array_equal(cupy.argsort(array[0, :, 0]).get(), values[0, :, 0].argsort())


def test_a_mistake_in_a_kernel_is_told(cupy: Any) -> None:
    with pytest.raises(cupy.cuda.compiler.CompileException, match="nothing"):
        _kernel(cupy, "*x = nothing;")((1,), (1,), (cupy.zeros(1, np.float32),))


def test_arrays_of_two_devices_are_not_mixed(cupy: Any, ball: Any) -> None:
    vertices = cupy.asarray(ball.vertices[None])
    with cupy.cuda.Device(1):
        triangles = cupy.asarray(ball.triangles)
    with pytest.raises(ValueError, match=r"on the gpu 0 like the arrays before it, got .* on the gpu 1"):
        vertex_normals(vertices, triangles)
