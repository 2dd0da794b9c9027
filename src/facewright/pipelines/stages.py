"""Rows of the table: what a stage takes and gives, what a network is called, what a pipeline is made of."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from facewright.core.errors import FacewrightError
from facewright.core.options import Option, options_with_defaults
from facewright_client.contract import AVATAR_OUTPUTS, PHOTO, PROGRESS_PARAMETER, Tensor

#: What every stage but the first of a pipeline is given, beside its own tensors: JSON, see `Request`.
REQUEST: Final = Tensor("REQUEST", "TYPE_UINT8", (-1,))
#: Report sections of the stages before, and with this stage's own: JSON, see `Section`. They also put the
#: steps in order: where two steps of an ensemble run side by side and both fail, Triton 2.51 crashes.
EARLIER_SECTIONS: Final = Tensor("EARLIER_SECTIONS", "TYPE_UINT8", (-1,))
SECTIONS: Final = Tensor("SECTIONS", "TYPE_UINT8", (-1,))


#: What Triton's own protocol and the gateway put among the request parameters.
PROTOCOL_PARAMETERS: Final = frozenset(
    {"binary_data_output", "sequence_id", "sequence_start", "sequence_end", "priority", "timeout"}
    | {"triton_enable_empty_final_response", "triton_final_response", "headers", PROGRESS_PARAMETER}
)
#: Names become folders, and parts of the names of tensors.
_NAME: Final = re.compile("[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Weights:
    """A file of weights that a stage loads from the open assets.

    Attributes:
        file: its name, such as ``head.npz``.
        licence: SPDX identifier of what it was made from.
    """

    file: str
    licence: str


@dataclass(frozen=True)
class Stage:
    """One step's model: a Python stage; a `Network` is one network and nothing else.

    Attributes:
        name: of the model; its adapter is ``model_repository/<name>/1/model.py``.
        takes, gives: its own tensors, under the names that they have in the pipeline.
        options: those of the request that it reads; a pipeline's table must have them.
        may_read: options that it reads where the pipeline has them.
        runs: "gpu" for a stage that computes on the GPU itself where the profile has one.
        runs_networks: whether it runs networks beside other work.
        opens: whether it takes the request's own parameters: the first of a pipeline.
        instances_per_two_cores: on a CPU; each costs about 100 MB.
        gpu_batch: how many requests it takes at once on a GPU.
        streams: whether it answers a request several times; over streaming gRPC only.
        expected_s: an ordinary request's time in it, two CPU cores, seconds: what its histogram's buckets and
            the alert on slow stages are measured by.
        weights: what it loads from the open assets.
        graphs: of refinement's networks those that it runs, by the names of `facewright.refine.networks`.
        renames: the model's own name of a tensor -> the tensor in the pipeline, where they differ.
        model: of a stage that has no folder in the model repository: its `facewright.adapter.StageModel`.
    """

    name: str
    takes: tuple[Tensor, ...]
    gives: tuple[Tensor, ...]
    options: tuple[str, ...] = ()
    may_read: tuple[str, ...] = ()
    runs: Literal["python", "gpu"] = "python"
    runs_networks: bool = False
    opens: bool = False
    instances_per_two_cores: int = 1
    gpu_batch: int = 1
    streams: bool = False
    expected_s: float = 0.5
    weights: tuple[Weights, ...] = ()
    graphs: tuple[str, ...] = ()
    renames: Mapping[str, Tensor] = field(default_factory=dict, hash=False)
    model: type | None = None

    def __post_init__(self) -> None:
        travelling = (REQUEST.name, EARLIER_SECTIONS.name, SECTIONS.name)
        taken = [t.name for t in (*self.takes, *self.gives) if t.name.startswith(travelling)]
        if taken:
            raise ValueError(
                f"{self.name} has {', '.join(taken)}: such names are those of what travels along"
            )
        bordering = {tensor.name for tensor in (*self.takes, *self.gives)}
        strangers = [tensor.name for tensor in self.renames.values() if tensor.name not in bordering]
        if strangers:
            raise ValueError(f"{self.name} renames {', '.join(strangers)}, which it neither takes nor gives")
        if len(set(self.renames.values())) != len(self.renames):
            raise ValueError(f"{self.name} renames one tensor twice: {', '.join(self.renames)}")
        for names in (self._own_names(self.takes), self._own_names(self.gives)):
            if len(set(names)) != len(names):
                raise ValueError(f"{self.name} has two tensors of one name: {', '.join(names)}")

    def renamed(self, names: Mapping[Tensor, Tensor]) -> Stage:
        """The same model with other tensors at its border: ``names`` maps those that it has to the new ones.

        A tensor has one source in a pipeline: a second stage that gives NEUTRAL_VERTICES needs another name.
        """

        def changed(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(
                replace(names[tensor], optional=tensor.optional) if tensor in names else tensor
                for tensor in tensors
            )

        renames = {**self.renames, **{self.own_name(tensor): other for tensor, other in names.items()}}
        return replace(self, takes=changed(self.takes), gives=changed(self.gives), renames=renames)

    def as_model(self) -> Stage:
        """The stage as its model is, under its own names, whatever a pipeline calls its tensors."""
        takes, gives = (tuple(map(self.own, tensors)) for tensors in (self.takes, self.gives))
        return replace(self, takes=takes, gives=gives, renames={})

    def own_name(self, tensor: Tensor) -> str:
        """What the model calls a tensor of the pipeline."""
        return next((own for own, other in self.renames.items() if other == tensor), tensor.name)

    def own(self, tensor: Tensor) -> Tensor:
        """A tensor of the pipeline under the model's own name."""
        return replace(tensor, name=self.own_name(tensor))

    def _own_names(self, tensors: tuple[Tensor, ...]) -> list[str]:
        return [self.own_name(tensor) for tensor in tensors]


@dataclass(frozen=True)
class Network(Stage):
    """A step that is one network. An owner's and an open one have the same border.

    With ``weights`` there is an open default, the ONNX file of that name; without, `facewright export` writes
    it into the repository that the server is given. ``renames`` has the network's own names.

    Attributes:
        largest_batch: of one run of an open network's TensorRT plan.
    """

    largest_batch: int = 8


@dataclass(frozen=True)
class Pipeline:
    """What a caller asks for by name: an ensemble of steps, or, of one step, that stage itself.

    Attributes:
        name: of the model that is called.
        steps: in order; each waits for the one before.
        options: what a request may say, by name.
        takes, gives: of the whole; the caller's ``contract``.
        summary: one sentence for the page that lists pipelines.
        by_default: whether a server that was told no names serves it.

    Raises:
        ValueError: a step takes what none before it gives, two steps give one tensor, two could run side by
            side, or an option that a step reads is missing.
    """

    name: str
    steps: tuple[Stage, ...]
    options: Mapping[str, Option] = field(hash=False)
    takes: tuple[Tensor, ...] = (PHOTO,)
    gives: tuple[Tensor, ...] = AVATAR_OUTPUTS
    summary: str = ""
    by_default: bool = True

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a pipeline is called {self.name!r}; use small letters, digits and _")
        if not self.steps:
            raise ValueError(f"{self.name} has no steps")
        self._check_options()
        if not self.steps[0].opens:
            raise ValueError(f"{self.name} begins with {self.steps[0].name}, which opens no request")
        if not self.is_ensemble and self.name != self.steps[0].name:
            raise ValueError(
                f"{self.name} is one step, and so that stage itself: call it {self.steps[0].name}"
            )
        known = {tensor for tensor in self.takes if not tensor.optional}
        maybe = {tensor for tensor in self.takes if tensor.optional}
        for number, step in enumerate(self.steps):
            if number and step.opens:
                raise ValueError(f"{self.name}: {step.name} opens requests and is not the first step")
            if self.is_ensemble and step.streams:
                raise ValueError(f"{self.name}: {step.name} answers several times, which no ensemble can")
            uncertain = [t.name for t in step.takes if t in maybe and not t.optional]
            if uncertain:
                raise ValueError(
                    f"{self.name}: {step.name} must have {', '.join(uncertain)}, which a caller may leave out"
                )
            missing = [tensor.name for tensor in step.takes if tensor not in known and not tensor.optional]
            if missing:
                raise ValueError(
                    f"{self.name}: {step.name} takes {', '.join(missing)}, which no step before gives"
                )
            twice = [tensor.name for tensor in step.gives if tensor in known | maybe]
            if twice:
                raise ValueError(
                    f"{self.name}: {step.name} gives {', '.join(twice)} a second time; rename it"
                )
            known |= set(step.gives)
            absent = [name for name in step.options if name not in self.options]
            if absent:
                raise ValueError(f"{self.name} has no option {', '.join(absent)}, which {step.name} reads")
        lost = [tensor.name for tensor in self.gives if tensor not in known]
        if lost:
            raise ValueError(f"{self.name} gives {', '.join(lost)}, which no step gives")
        for step, after in self._loose_steps():
            raise ValueError(
                f"{self.name}: {after.name} could run beside {step.name}, and Triton 2.51 crashes when both "
                f"fail; let it take something that {step.name} gives"
            )

    def _check_options(self) -> None:
        reserved = sorted(PROTOCOL_PARAMETERS & self.options.keys())
        if reserved:
            raise ValueError(f"{self.name}: {', '.join(reserved)} belongs to the protocol and is no option")
        try:
            options_with_defaults({name: row.default for name, row in self.options.items()}, self.options)
        except FacewrightError as error:
            raise ValueError(f"{self.name}: a default is not allowed: {error}") from error

    @property
    def is_ensemble(self) -> bool:
        """Whether there is more than one step."""
        return len(self.steps) > 1

    @property
    def request_output(self) -> Tensor:
        """What the first step calls the REQUEST that it writes for this pipeline.

        A step of an ensemble is told nothing about the ensemble, but which of its outputs are wanted.
        """
        return Tensor(f"{REQUEST.name}_{self.name}", REQUEST.dtype, REQUEST.shape)

    @property
    def weights(self) -> tuple[Weights, ...]:
        """All that the steps load from the open assets, in order, each once."""
        return tuple(dict.fromkeys(weights for step in self.steps for weights in step.weights))

    def steps_for(self, wanted: Collection[Tensor]) -> tuple[Stage, ...]:
        """The steps that run for some of its tensors: those up to the last that gives one of them."""
        last = max((n for n, step in enumerate(self.steps) if set(step.gives) & set(wanted)), default=-1)
        return self.steps[: last + 1]

    def also_wanted(self, names: Collection[str]) -> tuple[str, ...]:
        """What has to be asked for beside some of its tensors, for Triton 2.51 to give them.

        Triton leaves out the steps whose outputs nobody wants. It counts down a step's outputs: each that the
        caller may have and does not want, and each that only steps take which are left out, wanted or not.
        So some are counted twice, and some that are wanted: a step seems to give nothing else, is left out
        itself, and what was wanted of it never comes.

        Args:
            names: of the tensors that are wanted, some of `gives`.
        """
        public = {tensor.name for tensor in self.gives}
        count = len(self.steps_for([tensor for tensor in self.gives if tensor.name in names]))
        while True:
            needed, others = self.steps[:count], self.steps[count:]
            taken = {tensor.name for step in needed for tensor in step.takes}
            only_by_others = {tensor.name for step in others for tensor in step.takes} - taken
            given = [tensor.name for step in needed for tensor in step.gives if tensor.name in public]
            counted_twice = [name for name in given if name in only_by_others and name not in names]
            of_the_last = [tensor.name for tensor in needed[-1].gives if tensor.name in public]
            never_counted = [name for name in of_the_last if name not in only_by_others]
            if not others or set(never_counted) & set(names):
                return tuple(counted_twice)
            if never_counted:
                return (*counted_twice, never_counted[0])
            count += 1  # the last step's outputs are all for the next one

    def _loose_steps(self) -> Iterator[tuple[Stage, Stage]]:
        """Pairs of neighbours of which the second does not wait for the first."""
        for number, after in enumerate(self.steps[1:], 1):
            step = self.steps[number - 1]
            reporting = reports(after) and reports(step)
            if not reporting and not set(step.gives) & set(after.takes):
                yield step, after


def reports(step: Stage) -> bool:
    """Whether a step has a section in the report: networks have not, any backend of Triton may run them."""
    return not isinstance(step, Network)
