"""What every ``model.py`` derives from: a stage that Triton loads, or this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.core.errors import FacewrightError
from facewright.pipelines.stages import Stage


@dataclass(frozen=True)
class Machine:
    """What a stage runs on.

    Attributes:
        device: where it runs networks, and computes where it can.
        plans: whether its networks run as TensorRT plans where there are some.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    plans: bool = False


class StageModel:
    """A stage that can be run: `load`, then `compute` for each request.

    In Triton's stub it is the ``TritonPythonModel`` of a ``model.py``; `facewright.adapter.in_process` calls
    `load` and `compute` itself.
    """

    stage: ClassVar[Stage]

    def load(self, machine: Machine) -> None:
        """Load what all requests share.

        Raises:
            FacewrightError: something is missing; the message says what mends it.
        """

    def compute(self, request: StageRequest) -> Outputs:
        """Answer one request.

        Raises:
            FacewrightError: the wire form of which is the answer. Of any other error the caller is told the
                kind alone.
        """
        raise NotImplementedError

    def initialize(self, args: dict[str, str]) -> None:
        """Triton's entry point."""
        from facewright.adapter.triton_stage import TritonStage

        self._triton = TritonStage(self, args)

    def execute(self, requests: list[Any]) -> list[Any] | None:
        """Triton's entry point."""
        return self._triton.execute(requests)


class BatchModel(StageModel):
    """A stage that answers requests together, of a size that Triton collects."""

    def accept(self, request: StageRequest) -> Any:
        """What is to be computed of one request; what this raises fails that request alone."""
        raise NotImplementedError

    def compute_batch(self, accepted: Sequence[Any]) -> Sequence[Outputs | FacewrightError]:
        """An answer, or an error, for each of `accept`'s."""
        raise NotImplementedError

    def compute(self, request: StageRequest) -> Outputs:
        """One request by itself."""
        (answer,) = self.compute_batch([self.accept(request)])
        if isinstance(answer, FacewrightError):
            raise answer
        return answer


class StreamModel(StageModel):
    """A stage that answers a request several times."""

    def compute_stream(self, request: StageRequest, send: Callable[[Outputs], None]) -> Outputs:
        """Answer one request.

        Args:
            request: Triton's.
            send: sends some of the outputs on at once.

        Returns:
            The outputs of the last answer.
        """
        raise NotImplementedError

    def compute(self, request: StageRequest) -> Outputs:
        """One request, of which only the last answer is wanted."""
        return self.compute_stream(request, lambda _outputs: None)


def brought_model(row: Stage) -> type[StageModel]:
    """The model of a stage whose code its pipeline's file brings along, bound to its row."""
    assert row.model is not None, f"{row.name} has a folder in the model repository"
    return type(row.model.__name__, (row.model,), {"stage": row.as_model()})
