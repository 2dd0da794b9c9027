"""One strongly typed builder for TensorRT 10.12 to 11.x.

Types come from the ONNX file alone: TensorRT 11 has no precision flags any more, and in 10 a strongly typed
network ignores them. ``STRONGLY_TYPED`` is asked for explicitly because 10 needs it; 11 takes it as the
default it is.

Not run on hardware yet; every name used here is checked against the real bindings of 10.16 and 11.4
(``tests/export/test_tensorrt_api.py`` reads the annotations in this file).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facewright.core.assets import cache_folder
from facewright.core.wheels import sha256_of
from facewright.engines.tensorrt_plan import PlanIdentity, compute_capability, plan_name, write_identity
from facewright_export.export_error import ExportError
from facewright_export.onnx.network_metadata import NetworkMetadata, read_metadata

if TYPE_CHECKING:
    import tensorrt as trt

#: The oldest TensorRT whose strongly typed networks take these files (bfloat16 convolutions, uint8 inputs).
OLDEST_TENSORRT = (10, 12)

#: Told the share done (0-1) and what is being done.
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class BuildOptions:
    """What a model owner may choose; the rest is in the ONNX file.

    Args:
        strip: leave the weights out, for owners who ship engines without them; `restore_weights` puts them
        in.
        refittable: weights can be exchanged later, at some cost in speed; ``strip`` implies it.
        tf32: let float32 convolutions and products round their inputs to 10 bits of mantissa.
        aux_streams: how many more streams TensorRT may use for branches of the network; None: it decides.
        workspace_bytes: memory that a layer may use while it runs; None: all of the GPU's.
        optimisation_level: 0 (builds fast) to 5 (tries everything); TensorRT's own default is 3.
    """

    strip: bool = False
    refittable: bool = False
    tf32: bool = False
    aux_streams: int | None = None
    workspace_bytes: int | None = None
    optimisation_level: int = 3


def build_plan(
    onnx_file: Path,
    options: BuildOptions,
    progress: Progress,
    metadata: NetworkMetadata | None = None,
    folder: Path | None = None,
) -> Path:
    """Builds the plan of a network, with its sidecar.

    The timing cache in Facewright's cache folder, one for each TensorRT and GPU architecture, makes the
    second build of a network much shorter.

    Args:
        onnx_file: written by ``facewright export``: it says its own name, precision and batch range.
        options: see there.
        progress: told TensorRT's own phases.
        metadata: of a file that does not say it itself, as those of the open networks.
        folder: for the plan; by default that of the ONNX file.

    Returns:
        The plan's path, ``model_<compute capability>.plan``.

    Raises:
        FacewrightError: ENGINE_MISMATCH without an NVIDIA driver.
        ExportError: TensorRT is missing or too old, or refuses the network (with the nodes' names).
    """
    capability = compute_capability()
    tensorrt = import_tensorrt()
    metadata = metadata or read_metadata(onnx_file)
    logger: trt.Logger = tensorrt.Logger(tensorrt.Logger.Severity.WARNING)
    builder: trt.Builder = tensorrt.Builder(logger)
    flags = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network: trt.INetworkDefinition = builder.create_network(flags)
    parser: trt.OnnxParser = tensorrt.OnnxParser(network, logger)
    progress(0.0, "reading the network")
    if not parser.parse_from_file(str(onnx_file)):
        raise ExportError(
            f"TensorRT {tensorrt.__version__} refuses {onnx_file}:\n{_parser_errors(parser)}",
            "change the module as `python -m facewright_export.onnx.onnx_lint` says, and export it again",
        )
    config: trt.IBuilderConfig = builder.create_builder_config()
    _configure(tensorrt, config, options)
    profile: trt.IOptimizationProfile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor: trt.ITensor = network.get_input(index)
        sizes = tuple(tensor.shape)[1:]
        low, usual, high = ((batch, *sizes) for batch in metadata.batch)
        profile.set_shape(tensor.name, low, usual, high)
    config.add_optimization_profile(profile)
    cache_file = _timing_cache_file(tensorrt.__version__, capability)
    known = cache_file.read_bytes() if cache_file.is_file() else b""
    cache: trt.ITimingCache = config.create_timing_cache(known)
    config.set_timing_cache(cache, ignore_mismatch=False)
    config.progress_monitor = _progress_monitor(tensorrt, progress)
    plan_bytes: trt.IHostMemory | None = builder.build_serialized_network(network, config)
    if plan_bytes is None:
        raise ExportError(
            f"TensorRT {tensorrt.__version__} could not build {onnx_file}; its log says why",
            "give it more memory (--workspace-gb), or a smaller largest batch in the network table",
        )
    plan = (folder or onnx_file.parent) / plan_name(capability)
    plan.parent.mkdir(parents=True, exist_ok=True)
    _write_at_once(plan, bytes(plan_bytes))
    write_identity(plan, _identity(metadata, onnx_file, tensorrt.__version__, capability, options.strip))
    cache_file.parent.mkdir(parents=True, exist_ok=True)
    _write_at_once(cache_file, bytes(cache.serialize()))
    progress(1.0, f"{plan.stat().st_size / 1e6:.1f} MB")
    return plan


def restore_weights(plan: Path, onnx_file: Path) -> None:
    """Fills a plan that was built without weights from the ONNX file, in place.

    Raises:
        ExportError: TensorRT is missing, cannot read the plan, or the file has other weights than it needs.
    """
    tensorrt = import_tensorrt()
    metadata = read_metadata(onnx_file)
    logger: trt.Logger = tensorrt.Logger(tensorrt.Logger.Severity.WARNING)
    runtime: trt.Runtime = tensorrt.Runtime(logger)
    engine: trt.ICudaEngine | None = runtime.deserialize_cuda_engine(plan.read_bytes())
    if engine is None:
        raise ExportError(
            f"TensorRT {tensorrt.__version__} cannot read {plan}", "build it again: facewright build --strip"
        )
    refitter: trt.Refitter = tensorrt.Refitter(engine, logger)
    parser_refitter: trt.OnnxParserRefitter = tensorrt.OnnxParserRefitter(refitter, logger)
    if not parser_refitter.refit_from_file(str(onnx_file)) or not refitter.refit_cuda_engine():
        missing = ", ".join(refitter.get_missing_weights()[:5]) or "none are missing, others do not fit"
        raise ExportError(
            f"{onnx_file} does not have the weights that {plan.name} needs: {missing}",
            "take the ONNX file that the plan was built from",
        )
    serialization: trt.ISerializationConfig = engine.create_serialization_config()
    serialization.clear_flag(tensorrt.SerializationFlag.EXCLUDE_WEIGHTS)
    filled: trt.IHostMemory = engine.serialize_with_config(serialization)
    _write_at_once(plan, bytes(filled))
    write_identity(
        plan, _identity(metadata, onnx_file, tensorrt.__version__, compute_capability(), stripped=False)
    )


def import_tensorrt() -> Any:
    """The ``tensorrt`` module.

    Raises:
        ExportError: it is missing, or older than `OLDEST_TENSORRT`.
    """
    oldest = ".".join(map(str, OLDEST_TENSORRT))
    try:
        import tensorrt
    except ImportError as error:
        raise ExportError(
            f"TensorRT's Python package cannot be imported ({error})",
            f"pip install 'tensorrt-cu13>={oldest}', or use the container image, which has it",
        ) from error
    version = tuple(int(part) for part in tensorrt.__version__.split(".")[:2])
    if version < OLDEST_TENSORRT:
        raise ExportError(
            f"TensorRT {tensorrt.__version__} is older than {oldest}",
            f"pip install 'tensorrt-cu13>={oldest}'",
        )
    return tensorrt


def _configure(tensorrt: Any, config: trt.IBuilderConfig, options: BuildOptions) -> None:
    config.builder_optimization_level = options.optimisation_level
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.aux_streams is not None:
        config.max_aux_streams = options.aux_streams
    if not options.tf32:
        # On by default, it would make float32 islands narrower than the file says.
        config.clear_flag(tensorrt.BuilderFlag.TF32)
    if options.strip:
        config.set_flag(tensorrt.BuilderFlag.STRIP_PLAN)
        config.set_flag(tensorrt.BuilderFlag.REFIT_IDENTICAL)
    elif options.refittable:
        config.set_flag(tensorrt.BuilderFlag.REFIT)
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED


def _progress_monitor(tensorrt: Any, progress: Progress) -> trt.IProgressMonitor:
    """TensorRT's phases nest; the outermost one's steps are the share that is done."""

    class Monitor(tensorrt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            tensorrt.IProgressMonitor.__init__(self)
            self._outermost = ""
            self._steps = 1

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._outermost, self._steps = phase_name, max(num_steps, 1)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name == self._outermost:
                progress(min((step + 1) / self._steps, 1.0), phase_name)
            return True

        def phase_finish(self, phase_name: str) -> None:
            return

    return Monitor()


def _parser_errors(parser: trt.OnnxParser) -> str:
    lines = []
    for index in range(parser.num_errors):
        error: trt.ParserError = parser.get_error(index)
        lines.append(f"  {error.node_name()} ({error.node_operator()}): {error.desc()}")
    return "\n".join(lines)


def _identity(
    metadata: NetworkMetadata, onnx_file: Path, version: str, capability: str, stripped: bool
) -> PlanIdentity:
    return PlanIdentity(
        metadata.name,
        version,
        capability,
        sha256_of(onnx_file),
        metadata.precision,
        metadata.batch,
        stripped,
    )


def _timing_cache_file(version: str, capability: str) -> Path:
    return cache_folder() / "tensorrt" / f"timing-{version}-{capability}.cache"


def _write_at_once(path: Path, content: bytes) -> None:
    """A server that loads the old file meanwhile never sees half of the new one."""
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
