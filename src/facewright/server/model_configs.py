"""Every ``config.pbtxt``, from the table of pipelines: stages, networks and ensembles as Triton is told.

As protobuf messages of Triton's own ``ModelConfig``, written out in one place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from facewright.engines.exported_repository import SERVED_VERSIONS
from facewright.engines.profile import PROFILES, Profile
from facewright.engines.tensorrt_plan import plan_name
from facewright.pipelines.stages import EARLIER_SECTIONS, REQUEST, SECTIONS, Network, Pipeline, Stage, reports
from facewright_client.contract import Tensor

#: GPUs that a fleet may mix (Turing to Blackwell): each takes the plan that was built on its kind.
COMPUTE_CAPABILITIES: Final = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")


@dataclass(frozen=True)
class Sizing:
    """How many instances a machine gets.

    Args:
        cores: CPU cores that the server may use.
    """

    cores: int = 2

    def instances(self, stage: Stage) -> int:
        """Instances of one Python stage."""
        return max(1, stage.instances_per_two_cores * self.cores // 2)


def ensemble_config(pipeline: Pipeline, lacking: Mapping[str, Collection[str]] | None = None) -> str:
    """The text of an ensemble's config. A step's own tensor names are mapped to the pipeline's.

    Args:
        pipeline: the ensemble.
        lacking: of exported networks, by name: which of their place's optional tensors they do not take.

    Steps hand their report sections on under the number of the step, so that each waits for the one before.
    """
    config = triton.ModelConfig(name=pipeline.name, platform="ensemble", max_batch_size=1)
    _add_tensors(config, pipeline.takes, pipeline.gives)
    known = set(pipeline.takes)
    # Triton refuses tensors that nobody reads.
    read = {tensor for step in pipeline.steps for tensor in step.takes} | set(pipeline.gives)
    reporting = [number for number, step in enumerate(pipeline.steps) if reports(step)]
    sections = ""
    for number, step in enumerate(pipeline.steps):
        row = config.ensemble_scheduling.step.add(model_name=step.name, model_version=-1)
        for tensor in step.takes:
            # What is optional and given by nobody is left out, and what a network does without.
            if tensor in known and step.own_name(tensor) not in (lacking or {}).get(step.name, ()):
                row.input_map[step.own_name(tensor)] = tensor.name
        for tensor in read.intersection(step.gives):
            row.output_map[step.own_name(tensor)] = tensor.name
        known |= set(step.gives)
        if number not in reporting:
            continue
        if not step.opens:
            row.input_map[REQUEST.name] = REQUEST.name
            row.input_map[EARLIER_SECTIONS.name] = sections
        if number == reporting[-1]:
            continue
        sections = f"{SECTIONS.name}_{number}"
        row.output_map[SECTIONS.name] = sections
        if step.opens:
            row.output_map[pipeline.request_output.name] = REQUEST.name
    return _text(config)


def stage_config(stage: Stage, served: Iterable[Pipeline], profile: Profile, sizing: Sizing) -> str:
    """The text of a Python stage's config for one profile.

    Args:
        stage: as a model, `Stage.as_model`.
        served: the pipelines that are; an opening stage has a REQUEST for each that it opens.
        profile: what networks run on.
        sizing: of the machine.
    """
    on_gpu = profile != "cpu" and stage.runs == "gpu"
    batch = stage.gpu_batch if on_gpu else 1
    config = triton.ModelConfig(name=stage.name, backend="python", max_batch_size=batch)
    _add_tensors(config, *_borders(stage, served))
    config.model_transaction_policy.decoupled = stage.streams
    if batch > 1:
        config.dynamic_batching.max_queue_delay_microseconds = 0
    instances = 1 if on_gpu else sizing.instances(stage)
    config.instance_group.add(kind=triton.ModelInstanceGroup.KIND_CPU, count=instances)
    if stage.runs_networks:
        config.parameters["network_device"].string_value = "cpu" if profile == "cpu" else "cuda"
    if on_gpu:
        config.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value = "no"
        if profile == "tensorrt":
            config.parameters["network_plans"].string_value = "yes"
    return _text(config)


def open_network_config(network: Network, profile: Profile, sizing: Sizing) -> str:
    """The text of an open network's config for one profile: it has one version, of this machine."""
    plan = profile == "tensorrt"
    config = triton.ModelConfig(name=network.name, max_batch_size=network.largest_batch if plan else 1)
    _add_tensors(config, network.takes, network.gives)
    if plan:
        config.platform = "tensorrt_plan"
        config.instance_group.add(kind=triton.ModelInstanceGroup.KIND_GPU, count=1)
        config.dynamic_batching.max_queue_delay_microseconds = 0
        return _text(config)
    # On a CPU batching gains nothing and makes the first of a batch wait for the last.
    config.backend = "python"
    config.instance_group.add(kind=triton.ModelInstanceGroup.KIND_CPU, count=sizing.instances(network))
    config.parameters["network_device"].string_value = "cpu" if profile == "cpu" else "cuda"
    return _text(config)


@dataclass(frozen=True)
class ServedNetwork:
    """An exported network as Triton serves it: one description from which every profile's config is written.

    Args:
        name: of the model.
        inputs, outputs: without the batch.
        batch: least, usual and largest batch of one run.
        versions: the newest versions that are served at once, or, where given by number, just those: a roll
            back is a version policy.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batch: tuple[int, int, int]
    versions: int | tuple[int, ...] = SERVED_VERSIONS


def network_config(network: ServedNetwork, profile: Profile) -> str:
    """The text of an exported network's config for one profile.

    cpu and cuda run the ONNX file on ONNX Runtime, one instance in a Python stub; tensorrt runs the plan that
    ``facewright build`` made for the GPU's compute capability, on Triton's own backend.
    """
    _, usual, largest = network.batch
    config = triton.ModelConfig(name=network.name, max_batch_size=largest)
    _add_tensors(config, network.inputs, network.outputs)
    if isinstance(network.versions, int):
        config.version_policy.latest.num_versions = network.versions
    else:
        config.version_policy.specific.versions.extend(network.versions)
    if profile == "tensorrt":
        config.platform = "tensorrt_plan"
        for capability in COMPUTE_CAPABILITIES:
            config.cc_model_filenames[capability] = plan_name(capability)
        config.instance_group.add(kind=triton.ModelInstanceGroup.KIND_GPU, count=1)
        config.dynamic_batching.preferred_batch_size.append(usual)
        config.dynamic_batching.max_queue_delay_microseconds = 0
        config.optimization.cuda.graphs = True
        batches = sorted({1, usual})
    else:
        config.backend = "python"
        config.instance_group.add(kind=triton.ModelInstanceGroup.KIND_CPU, count=1)
        config.parameters["network_device"].string_value = "cpu" if profile == "cpu" else "cuda"
        batches = [1]
    for batch in batches:
        # A request of zeros, so that the first player does not wait for memory and kernels.
        warm_up = config.model_warmup.add(name=f"batch_{batch}", batch_size=batch)
        for tensor in network.inputs:
            zeros = warm_up.inputs[tensor.name]
            zeros.data_type = getattr(triton, tensor.dtype)
            zeros.dims.extend(tensor.shape)
            zeros.zero_data = True
    return _text(config)


def write_network_configs(folder: Path, network: ServedNetwork, default: Profile) -> None:
    """Write ``config.pbtxt`` (the ``default`` profile's) and ``configs/<profile>.pbtxt`` into a folder."""
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "config.pbtxt").write_text(network_config(network, default))
    for profile in PROFILES:
        (folder / "configs" / f"{profile}.pbtxt").write_text(network_config(network, profile))


def _borders(stage: Stage, served: Iterable[Pipeline]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """What a Python stage takes and gives as a model: its own tensors, and what travels with requests."""
    if not stage.opens:
        return (*stage.takes, REQUEST, EARLIER_SECTIONS), (*stage.gives, SECTIONS)
    opened = [row for row in served if row.is_ensemble and row.steps[0].name == stage.name]
    if not opened:  # it is a pipeline by itself
        return stage.takes, stage.gives
    return stage.takes, (*stage.gives, SECTIONS, *(row.request_output for row in opened))


def _add_tensors(config: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
    for tensor in inputs:
        config.input.add(
            name=tensor.name,
            data_type=getattr(triton, tensor.dtype),
            dims=tensor.shape,
            optional=tensor.optional,
        )
    for tensor in outputs:
        config.output.add(name=tensor.name, data_type=getattr(triton, tensor.dtype), dims=tensor.shape)


def _text(config: Any) -> str:
    return f"# Written by facewright.server.model_configs.\n{text_format.MessageToString(config)}"
