"""Where a refinement computes: NumPy and the CPU, or CuPy with two streams on a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from facewright.core.arrays import Array
from facewright.core.errors import FacewrightError
from facewright.engines.engine import Engine
from facewright.engines.onnx_engine import OnnxEngine
from facewright.engines.tensorrt_engine import TensorRTEngine
from facewright.engines.tensorrt_plan import compute_capability, open_plan
from facewright_client.contract import ErrorCode

#: NumPy arrays, or CuPy arrays with the same interface.


@dataclass(frozen=True)
class RefinementDevice:
    """An array module, and on a GPU the streams that a step is queued on.

    Attributes:
        xp: ``numpy`` or ``cupy``.
        stream: what everything but the identity network is queued on; None on a CPU.
        identity_stream: the identity network's own, so that it fills what the perceptual network leaves idle.
        threads: CPU threads of the networks.
        plans: whether networks run from TensorRT plans, where there are any.
    """

    xp: Any
    stream: Any = None
    identity_stream: Any = None
    threads: int = 1
    plans: bool = False

    @classmethod
    def cpu(cls, threads: int = 1) -> RefinementDevice:
        """NumPy."""
        return cls(np, threads=threads)

    @classmethod
    def cuda(cls, plans: bool = False) -> RefinementDevice:
        """The current GPU.

        Raises:
            FacewrightError: ENGINE_MISMATCH where CuPy is not installed.
        """
        try:
            import cupy
        except ImportError as error:
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"refinement on a GPU needs CuPy, and {error.name} cannot be imported",
                "install it (facewright doctor says how), or choose the cpu profile",
            ) from error
        stream, identity_stream = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
        return cls(cupy, stream, identity_stream, plans=plans)

    @classmethod
    def named(cls, device: Literal["cpu", "cuda"], plans: bool = False) -> RefinementDevice:
        """The CPU with at most two of its cores (more gain little at batch 1), or the current GPU: `cuda`."""
        return cls.cuda(plans) if device == "cuda" else cls.cpu(min(2, len(os.sched_getaffinity(0))))

    @property
    def is_gpu(self) -> bool:
        """Whether arrays are CuPy's."""
        return self.stream is not None

    def open_engine(self, path: Path) -> Engine:
        """An engine on this device for an ONNX file, its runs queued on the stream of its network.

        Raises:
            FacewrightError: ENGINE_MISMATCH when the engine cannot load the file, or its plan was built for
                another GPU, TensorRT or network; a network without a plan runs on ONNX Runtime.
        """
        if not self.is_gpu:
            return OnnxEngine(path, "cpu", self.threads)
        stream = self.identity_stream if path.name.startswith("identity_") else self.stream
        if self.plans:
            plan = open_plan(path.stem, compute_capability())
            if plan.is_file():
                return TensorRTEngine(plan, path, stream.ptr)
        return OnnxEngine(path, "cuda", stream=stream.ptr)

    def array(self, values: Any) -> Array:
        """The values as a C-contiguous array here, whichever memory they are in."""
        if not self.is_gpu and hasattr(values, "__cuda_array_interface__"):
            values = values.get()
        array: Array = self.xp.ascontiguousarray(self.xp.asarray(values))
        return array

    def host(self, array: Array) -> Array:
        """A copy in the host's memory, complete: of what is queued on either stream, or on the caller's."""
        if not self.is_gpu:
            return np.array(array)
        self.finish()
        copy: Array = self.xp.asnumpy(array)
        return copy

    @contextmanager
    def queue(self) -> Iterator[None]:
        """Queues CuPy's work of the block on `stream`."""
        if not self.is_gpu:
            yield
            return
        with self.stream:
            yield

    def fork_identity(self) -> None:
        """Lets the identity stream go on once what is queued on `stream` so far is done."""
        if self.is_gpu:
            self.identity_stream.wait_event(self.stream.record())

    def join_identity(self) -> None:
        """Lets `stream` wait for what is queued on the identity stream so far."""
        if self.is_gpu:
            self.stream.wait_event(self.identity_stream.record())

    def mark(self) -> Any:
        """What `wait` waits for: the end of what is queued so far."""
        return self.stream.record() if self.is_gpu else None

    def finish(self) -> None:
        """Lets the host wait for everything that is queued."""
        if self.is_gpu:
            self.stream.synchronize()
            self.identity_stream.synchronize()

    @staticmethod
    def wait(mark: Any) -> None:
        """Lets the host wait for a mark of `mark`; None: for nothing."""
        if mark is not None:
            mark.synchronize()
