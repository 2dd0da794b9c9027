"""Pipelines in this process, without a server: for tests, benchmarks and users of the library.

The same adapters and networks run as in Triton, in the same order, on the same tensors, so that the answers
are the same to the byte (but for the times in the report).
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from facewright.adapter.served_files import network_file, served_networks
from facewright.adapter.served_provenance import served_provenance
from facewright.adapter.stage_model import Machine, StageModel, brought_model
from facewright.adapter.stage_request import Place, StageRequest, as_sent, continued, finished
from facewright.core.assets import model_repository_folder
from facewright.core.errors import FacewrightError
from facewright.core.options import OptionValue
from facewright.engines.onnx_engine import OnnxEngine
from facewright.pipelines.registry import pipeline
from facewright.pipelines.request import Request
from facewright.pipelines.stages import EARLIER_SECTIONS, REQUEST, SECTIONS, Network, Pipeline, Stage
from facewright_client.contract import PHOTO, ErrorCode, Tensor

#: Tensors of a run: arrays without a batch dimension.
Tensors = Mapping[Tensor, NDArray[Any]]


@dataclass(frozen=True)
class Run:
    """What a pipeline made.

    Attributes:
        tensors: of every step that ran, the caller's included; files and JSON as u8 [N].
        milliseconds: by stage.
    """

    tensors: Tensors = field(repr=False)
    milliseconds: Mapping[str, float]

    def array(self, tensor: Tensor) -> NDArray[Any]:
        """One of the tensors."""
        return self.tensors[tensor]

    def content(self, tensor: Tensor) -> bytes:
        """A file, or JSON."""
        return self.tensors[tensor].tobytes()


class PipelineRunner:
    """A pipeline whose stages are loaded once.

    Args:
        row: the pipeline.
        models: stages to run instead of those of the model repository, by name; they are loaded here too.
        repository: of exported networks, as `facewright serve` takes it.

    Raises:
        FacewrightError: a file is missing; the message says what mends it.
    """

    def __init__(
        self, row: Pipeline, models: Mapping[str, StageModel] | None = None, repository: Path | None = None
    ) -> None:
        self.pipeline = row
        repository = repository or served_networks()
        self._provenance = served_provenance(row, repository)
        self._networks: dict[str, OnnxEngine] = {}
        self._models: dict[str, StageModel] = {}
        for step in row.steps:
            if isinstance(step, Network):
                if step.name not in self._networks:
                    self._networks[step.name] = OnnxEngine(network_file(step, repository))
            elif step.name not in self._models:
                model = (models or {}).get(step.name) or stage_model(step)
                model.load(Machine())
                self._models[step.name] = model

    def run(
        self,
        inputs: Mapping[Tensor, NDArray[Any] | bytes],
        options: Mapping[str, OptionValue] | None = None,
        wanted: Collection[Tensor] | None = None,
    ) -> Run:
        """Run the steps, one after the other.

        Args:
            inputs: what the pipeline takes, without a batch dimension.
            options: of the request.
            wanted: which of its tensors are of interest: steps after the last that gives one do not run. All
                by default.

        Raises:
            FacewrightError: as the stages do.
        """
        have: dict[Tensor, NDArray[Any]] = {tensor: as_sent(value) for tensor, value in inputs.items()}
        milliseconds: dict[str, float] = {}
        sections: NDArray[Any] | None = None
        request: Request | None = None
        for step in self.pipeline.steps_for(wanted or self.pipeline.gives):
            started = time.perf_counter()
            given = {step.own_name(tensor): have[tensor] for tensor in step.takes if tensor in have}
            if isinstance(step, Network):
                network = self._networks[step.name]
                # What is optional goes to those that take it.
                answer = network.run({name: given[name] for name in network.inputs.keys() & given.keys()})
            else:
                sender = _Given(given, json.dumps(options or {}))
                if request is None:
                    request = Request.accepted(self.pipeline, options or {}, self._provenance)
                    asked = StageRequest(sender, Place(self.pipeline, request))
                else:
                    assert sections is not None
                    given |= {
                        REQUEST.name: as_sent(request.to_json().encode()),
                        EARLIER_SECTIONS.name: sections,
                    }
                    asked = continued(sender, step, {self.pipeline.name: self.pipeline})
                model = self._models[step.name]
                answered = finished(model.stage, asked, _computed(model, asked))
                answer = {tensor.name: as_sent(value) for tensor, value in answered.items()}
                sections = answer[SECTIONS.name]
            have |= {tensor: answer[own] for tensor in step.gives if (own := step.own_name(tensor)) in answer}
            milliseconds[step.name] = 1e3 * (time.perf_counter() - started)
        return Run({tensor: value[0] for tensor, value in have.items()}, milliseconds)


def run_in_process(
    name: str,
    photo: bytes | Path,
    options: Mapping[str, OptionValue] | None = None,
    wanted: Collection[Tensor] | None = None,
) -> Run:
    """A photo through a pipeline, in this process; its stages are loaded at the first call and kept.

        run_in_process("avatar_twin", Path("me.jpg")).content(GLB)

    Start Python with ``OPENBLAS_NUM_THREADS=1``, as the server starts its stages: the matrices are small, and
    threads that wait for each other made a fit many times slower on a busy machine.

    Args:
        name: of the pipeline, such as ``avatar_twin``.
        photo: encoded bytes, or the path of such a file.
        options, wanted: see `PipelineRunner.run`.

    Raises:
        FacewrightError: as the stages do; BAD_OPTION when there is no such pipeline.
    """
    content = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
    return _runner(pipeline(name)).run({PHOTO: content}, options, wanted)


def stage_model(step: Stage) -> StageModel:
    """A stage's adapter, not loaded yet: its row's own, else that of the model repository.

    Raises:
        FacewrightError: INTERNAL when there is none.
    """
    if step.model is not None:
        return brought_model(step)()
    path = model_repository_folder() / step.name / "1" / "model.py"
    spec = importlib.util.spec_from_file_location(f"facewright_stage_{step.name}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FacewrightError(
            ErrorCode.INTERNAL,
            f"the model repository {model_repository_folder()} has no {step.name}/1/model.py",
            "give the stage's row its model=, or set FACEWRIGHT_MODEL_REPOSITORY to the source tree's folder",
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model: StageModel = module.TritonPythonModel()
    return model


class _Given:
    """Tensors of this process as a request."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], parameters: str) -> None:
        self._tensors, self._parameters = tensors, parameters

    def tensor(self, name: str) -> NDArray[Any] | None:
        """A tensor with its batch dimension."""
        return self._tensors.get(name)

    def parameters(self) -> str:
        """The options as JSON."""
        return self._parameters

    def cancelled(self) -> bool:
        """Nobody cancels what runs in this process."""
        return False


def _computed(model: StageModel, request: StageRequest) -> Any:
    """The model's outputs; its errors with its name."""
    try:
        return model.compute(request)
    except FacewrightError as error:
        error.stage = error.stage or model.stage.name
        raise


@cache
def _runner(row: Pipeline) -> PipelineRunner:
    return PipelineRunner(row)
