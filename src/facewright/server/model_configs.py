"""Every ``config.pbtxt`` of the model repository, from the contract and one table of how stages run.

    python -m facewright.server.model_configs model_repository

writes them; a test holds the committed files to this module, so that nothing can drift apart.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from facewright.engines.tensorrt_plan import plan_name
from facewright_client.contract import AVATAR, STAGES, Tensor

Profile = Literal["cpu", "cuda", "tensorrt"]
PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)

#: Ensembles by name, and their steps in order.
ENSEMBLES: Final[Mapping[str, tuple[str, ...]]] = {
    "avatar_twin": (
        "find_face",
        "face_landmarks",
        "fit_head",
        "bake_texture",
        "package_avatar",
        "render_preview",
    )
}

#: Stages that are one network and nothing else: the tensorrt profile hands them to Triton's TensorRT backend.
NETWORKS: Final = frozenset({"face_landmarks"})
#: Stages that run networks themselves, beside other work.
RUNS_NETWORKS: Final = NETWORKS | {"find_face", "refine_latent", "refine_latent_progress"}
#: Stages that answer a request several times; over streaming gRPC only.
STREAMING: Final = frozenset({"refine_latent_progress"})
#: Stages that compute on the GPU themselves: one instance of each, and how many requests it takes at once.
GPU_BATCHES: Final[Mapping[str, int]] = {"refine_latent": 32, "refine_latent_progress": 1}

#: Instances of each stage for every two CPU cores. The bake takes more than half of the time, so that one
#: instance would leave a core idle; each instance of any stage costs about 100 MB.
INSTANCES_PER_TWO_CORES: Final[Mapping[str, int]] = {
    "find_face": 1,
    "face_landmarks": 1,
    "fit_head": 1,
    "bake_texture": 2,
    "package_avatar": 1,
    "render_preview": 1,
    "refine_latent": 1,
    "refine_latent_progress": 1,
}
#: Requests that the TensorRT backend runs as one batch. Python stages take one request at a time: on a CPU
#: batching gains nothing and makes the first of a batch wait for the last.
LARGEST_NETWORK_BATCH: Final = 8

#: GPUs that a fleet may mix (Turing to Blackwell): each takes the plan that was built on its kind.
COMPUTE_CAPABILITIES: Final = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")


@dataclass(frozen=True)
class Sizing:
    """How many instances a machine gets.

    Args:
        cores: CPU cores that the server may use.
    """

    cores: int = 2

    def instances(self, stage: str) -> int:
        """Instances of one Python stage."""
        return max(1, INSTANCES_PER_TWO_CORES[stage] * self.cores // 2)


def model_config(model: str, profile: Profile, sizing: Sizing | None = None) -> str:
    """The text of one model's config for one profile.

    Raises:
        KeyError: there is no such model.
    """
    if model in ENSEMBLES:
        return _ensemble(model)
    inputs, outputs = STAGES[model]
    if profile == "tensorrt" and model in NETWORKS:
        return _text(
            f'name: "{model}"',
            'platform: "tensorrt_plan"',
            f"max_batch_size: {LARGEST_NETWORK_BATCH}",
            _tensors("input", inputs),
            _tensors("output", outputs),
            "instance_group [ { kind: KIND_GPU count: 1 } ]",
            "dynamic_batching { max_queue_delay_microseconds: 0 }",
        )
    device = "cpu" if profile == "cpu" else "cuda"
    batch = 1 if device == "cpu" else GPU_BATCHES.get(model, 1)
    on_gpu = device == "cuda" and model in GPU_BATCHES
    count = 1 if on_gpu else (sizing or Sizing()).instances(model)
    return _text(
        f'name: "{model}"',
        'backend: "python"',
        f"max_batch_size: {batch}",
        _tensors("input", inputs),
        _tensors("output", outputs),
        "model_transaction_policy { decoupled: true }" if model in STREAMING else "",
        "dynamic_batching { max_queue_delay_microseconds: 0 }" if batch > 1 else "",
        f"instance_group [ {{ kind: KIND_CPU count: {count} }} ]",
        _parameter("network_device", device) if model in RUNS_NETWORKS else "",
        _parameter("network_plans", "yes") if on_gpu and profile == "tensorrt" else "",
        _parameter("FORCE_CPU_ONLY_INPUT_TENSORS", "no") if on_gpu else "",
    )


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
    versions: int | tuple[int, ...] = 2


def network_config(network: ServedNetwork, profile: Profile) -> str:
    """The text of an exported network's config for one profile.

    cpu and cuda run the ONNX file on ONNX Runtime, one instance in a Python stub; tensorrt runs the plan that
    ``facewright build`` made for the GPU's compute capability, on Triton's own backend.
    """
    _, usual, largest = network.batch
    shared = (
        f"max_batch_size: {largest}",
        _tensors("input", network.inputs),
        _tensors("output", network.outputs),
        _version_policy(network.versions),
    )
    if profile == "tensorrt":
        return _text(
            f'name: "{network.name}"',
            'platform: "tensorrt_plan"',
            *shared,
            *(
                f'cc_model_filenames {{ key: "{cc}" value: "{plan_name(cc)}" }}'
                for cc in COMPUTE_CAPABILITIES
            ),
            "instance_group [ { kind: KIND_GPU count: 1 } ]",
            f"dynamic_batching {{ preferred_batch_size: [ {usual} ] max_queue_delay_microseconds: 0 }}",
            "optimization { cuda { graphs: true } }",
            *(_warm_up(network, batch) for batch in sorted({1, usual})),
        )
    return _text(
        f'name: "{network.name}"',
        'backend: "python"',
        *shared,
        "instance_group [ { kind: KIND_CPU count: 1 } ]",
        _parameter("network_device", "cpu" if profile == "cpu" else "cuda"),
        _warm_up(network, 1),
    )


def write_network_configs(folder: Path, network: ServedNetwork, default: Profile) -> None:
    """Write ``config.pbtxt`` (the ``default`` profile's) and ``configs/<profile>.pbtxt`` into a folder."""
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "config.pbtxt").write_text(network_config(network, default))
    for profile in PROFILES:
        (folder / "configs" / f"{profile}.pbtxt").write_text(network_config(network, profile))


def write_configs(repository: Path, sizing: Sizing | None = None) -> list[Path]:
    """Write ``config.pbtxt`` (cpu) and ``configs/<profile>.pbtxt`` for every model; returns their paths."""
    written = []
    for model in (*ENSEMBLES, *STAGES):
        folder = repository / model
        (folder / "configs").mkdir(parents=True, exist_ok=True)
        files = {folder / "config.pbtxt": model_config(model, "cpu", sizing)}
        files |= {
            folder / "configs" / f"{profile}.pbtxt": model_config(model, profile, sizing)
            for profile in PROFILES
        }
        for path, text in files.items():
            path.write_text(text)
            written.append(path)
    return written


def _ensemble(name: str) -> str:
    steps = []
    for stage in ENSEMBLES[name]:
        inputs, outputs = STAGES[stage]
        maps = [f'      input_map {{ key: "{tensor.name}" value: "{tensor.name}" }}' for tensor in inputs]
        maps += [f'      output_map {{ key: "{tensor.name}" value: "{tensor.name}" }}' for tensor in outputs]
        body = "\n".join(maps)
        steps.append(f'    {{\n      model_name: "{stage}"\n      model_version: -1\n{body}\n    }}')
    scheduling = "ensemble_scheduling {\n  step [\n" + ",\n".join(steps) + "\n  ]\n}"
    return _text(
        f'name: "{name}"',
        'platform: "ensemble"',
        "max_batch_size: 1",
        _tensors("input", AVATAR[0]),
        _tensors("output", AVATAR[1]),
        scheduling,
    )


def _tensors(field: str, tensors: tuple[Tensor, ...]) -> str:
    rows = []
    for tensor in tensors:
        shape = ", ".join(map(str, tensor.shape))
        rows.append(f'  {{ name: "{tensor.name}" data_type: {tensor.dtype} dims: [ {shape} ] }}')
    return f"{field} [\n" + ",\n".join(rows) + "\n]"


def _version_policy(versions: int | tuple[int, ...]) -> str:
    if isinstance(versions, int):
        return f"version_policy: {{ latest: {{ num_versions: {versions} }} }}"
    return f"version_policy: {{ specific: {{ versions: [ {', '.join(map(str, versions))} ] }} }}"


def _warm_up(network: ServedNetwork, batch: int) -> str:
    """A request of zeros, so that the first player does not wait for memory and kernels."""
    inputs = "".join(
        f'\n  inputs {{ key: "{tensor.name}" value: {{ data_type: {tensor.dtype} '
        f"dims: [ {', '.join(map(str, tensor.shape))} ] zero_data: true }} }}"
        for tensor in network.inputs
    )
    return f'model_warmup [ {{\n  name: "batch_{batch}"\n  batch_size: {batch}{inputs}\n}} ]'


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}'


def _text(*parts: str) -> str:
    header = "# Generated by facewright.server.model_configs; change it there."
    return "\n".join([header, *(part for part in parts if part)]) + "\n"


if __name__ == "__main__":
    for path in write_configs(Path(sys.argv[1])):
        print(path)
