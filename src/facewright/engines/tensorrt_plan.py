"""What a TensorRT plan was built for: the sidecar beside it, and the refusal to run it anywhere else.

A plan holds machine code for one GPU architecture and one TensorRT version. TensorRT's own error for the
wrong one does not say what to do, and some mismatches (a plan of an older network) it cannot see.
``model_9.0.plan`` therefore comes with ``model_9.0.plan.json``.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from facewright.core.assets import cache_folder
from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

#: Builds plans on the GPU that serves them: of an exported repository, or, without one, of the open networks.
BUILD_COMMAND = "facewright build [REPOSITORY]"


@dataclass(frozen=True)
class PlanIdentity:
    """What decides whether a plan may run, as in its sidecar.

    Args:
        network: name of the network.
        tensorrt: version that built it, ``major.minor.patch``.
        compute_capability: of the GPU that it was built on, ``major.minor``.
        onnx_sha256: of the file that it was built from, hexadecimal.
        precision: of that file: ``fp32``, ``fp16`` or ``bf16``.
        batch: least, usual and largest batch.
        stripped: whether its weights were left out and must be filled in from the ONNX file before it runs.
    """

    network: str
    tensorrt: str
    compute_capability: str
    onnx_sha256: str
    precision: str
    batch: tuple[int, int, int]
    stripped: bool = False


def plan_name(compute_capability: str) -> str:
    """The file name of a plan; Triton's ``cc_model_filenames`` chooses by it."""
    return f"model_{compute_capability}.plan"


def write_identity(plan: Path, identity: PlanIdentity) -> None:
    """Write the sidecar of ``plan``."""
    _sidecar(plan).write_text(json.dumps(asdict(identity), indent=2) + "\n", encoding="utf-8")


def read_identity(plan: Path) -> PlanIdentity:
    """The sidecar of ``plan``.

    Raises:
        FacewrightError: ENGINE_MISMATCH when plan or sidecar is missing or not readable.
    """
    if not plan.is_file():
        raise _mismatch(f"there is no plan {plan}")
    try:
        record = json.loads(_sidecar(plan).read_text(encoding="utf-8"))
        identity = PlanIdentity(**{**record, "batch": tuple(record["batch"])})
        _require_types(identity)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise _mismatch(
            f"{_sidecar(plan)} does not say what {plan.name} was built for ({type(error).__name__}: {error})"
        ) from error
    return identity


def require_fit(
    plan: Path, identity: PlanIdentity, tensorrt: str, compute_capability: str, onnx_sha256: str | None = None
) -> None:
    """Refuses a plan that another machine, TensorRT or network made.

    Args:
        plan: its path, for the message.
        identity: what it was built for.
        tensorrt: version here.
        compute_capability: of the GPU here.
        onnx_sha256: of the network that is to be served; None: not compared.

    Raises:
        FacewrightError: ENGINE_MISMATCH with every difference and the command that builds it again.
    """
    wrong = []
    if _release(identity.tensorrt) != _release(tensorrt):
        wrong.append(f"by TensorRT {identity.tensorrt}, here is {tensorrt}")
    if identity.compute_capability != compute_capability:
        wrong.append(
            f"for compute capability {identity.compute_capability}, this GPU has {compute_capability}"
        )
    if onnx_sha256 is not None and identity.onnx_sha256 != onnx_sha256:
        built_from, here = identity.onnx_sha256[:12], onnx_sha256[:12]
        wrong.append(f"from a network with sha256 {built_from}, the file beside it has {here}")
    if wrong:
        raise _mismatch(f"{plan} was built {'; '.join(wrong)}")
    if identity.stripped:
        raise FacewrightError(
            ErrorCode.ENGINE_MISMATCH,
            f"{plan} was built without weights",
            "put them in from the ONNX file beside it: facewright build REPOSITORY --restore",
        )


def open_plan(network: str, capability: str) -> Path:
    """Where ``facewright build`` puts the plan of a network of the default pipeline or of a refinement."""
    return cache_folder() / "plans" / network / plan_name(capability)


def content_hash(network: Path) -> str:
    """What a sidecar knows an ONNX file by: its sha256, hexadecimal."""
    return hashlib.sha256(network.read_bytes()).hexdigest()


def serving_tensorrt() -> str:
    """The version of the TensorRT that Triton loads plans with: NVIDIA's images say it in ``TRT_VERSION``.

    Raises:
        FacewrightError: ENGINE_MISMATCH where neither the image nor an installed package says it.
    """
    said = os.environ.get("TRT_VERSION")
    if said:
        return said
    try:
        return metadata.version("tensorrt_cu13")
    except metadata.PackageNotFoundError as error:
        raise FacewrightError(
            ErrorCode.ENGINE_MISMATCH,
            "nothing says which TensorRT loads the plans: no TRT_VERSION, no package tensorrt-cu13",
            "run in NVIDIA's Triton image, or set TRT_VERSION to its TensorRT version",
        ) from error


def compute_capability(device: int = 0) -> str:
    """``major.minor`` of a GPU, asked of the driver.

    Args:
        device: as CUDA counts, i.e. among ``CUDA_VISIBLE_DEVICES``.

    Raises:
        FacewrightError: ENGINE_MISMATCH where there is no driver or no such GPU.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise FacewrightError(
            ErrorCode.ENGINE_MISMATCH,
            "this machine has no NVIDIA driver (libcuda.so.1 is missing)",
            "run this on the GPU machine that serves, or choose the cpu profile",
        ) from error
    handle, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    calls = (
        ("cuInit", (0,)),
        ("cuDeviceGet", (ctypes.byref(handle), device)),
        ("cuDeviceGetAttribute", (ctypes.byref(major), _CC_MAJOR, handle)),
        ("cuDeviceGetAttribute", (ctypes.byref(minor), _CC_MINOR, handle)),
    )
    for name, arguments in calls:
        status = getattr(driver, name)(*arguments)
        if status != 0:
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"the NVIDIA driver gives no GPU {device} ({name}: error {status})",
                "look at nvidia-smi and CUDA_VISIBLE_DEVICES, or choose the cpu profile",
            )
    return f"{major.value}.{minor.value}"


#: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
_CC_MAJOR, _CC_MINOR = 75, 76


def _sidecar(plan: Path) -> Path:
    return plan.with_name(plan.name + ".json")


def _require_types(identity: PlanIdentity) -> None:
    """Raises TypeError naming what a sidecar says in another type, null among them."""
    texts = ("network", "tensorrt", "compute_capability", "onnx_sha256", "precision")
    wrong = [name for name in texts if not isinstance(getattr(identity, name), str)]
    if len(identity.batch) != 3 or any(type(size) is not int for size in identity.batch):
        wrong.append("batch")
    if not isinstance(identity.stripped, bool):
        wrong.append("stripped")
    if wrong:
        raise TypeError(f"{', '.join(wrong)} of another type than is written there")


def _release(version: str) -> tuple[str, ...]:
    """Major, minor and patch: what a plan is tied to; the build number is not."""
    return tuple(version.split(".")[:3])


def _mismatch(message: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.ENGINE_MISMATCH, message, f"build it on the GPU that serves it: {BUILD_COMMAND}"
    )
