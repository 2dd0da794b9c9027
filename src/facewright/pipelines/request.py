"""What travels with a request through every stage: whose it is, its options, its clock, its provenance."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from facewright.core.errors import FacewrightError
from facewright.core.options import OptionValue, options_with_defaults
from facewright.core.provenance import Provenance
from facewright.pipelines.stages import REQUEST, Pipeline
from facewright_client.contract import ErrorCode


@dataclass(frozen=True)
class Request:
    """The tensor REQUEST, written by a pipeline's first stage.

    Attributes:
        pipeline: its name.
        options: all of the pipeline's options by name, validated, defaults filled in.
        accepted_unix_s: when the first stage took it, seconds since 1970.
        deadline_unix_s: when the caller has no more use for the answer; 0: never.
        provenance: release, weights and licences of the pipeline as this server runs it.
    """

    pipeline: str
    options: Mapping[str, OptionValue]
    accepted_unix_s: float
    deadline_unix_s: float = 0.0
    provenance: Provenance = field(default_factory=Provenance)

    @classmethod
    def accepted(
        cls,
        pipeline: Pipeline,
        parameters: Mapping[str, OptionValue],
        provenance: Provenance,
        now_unix_s: float | None = None,
    ) -> Request:
        """A request that comes in now.

        Raises:
            FacewrightError: BAD_OPTION for an option that the pipeline does not have or allow.
        """
        now = time.time() if now_unix_s is None else now_unix_s
        options = options_with_defaults(parameters, pipeline.options)
        allowed_s = float(options.get("deadline_ms", 0)) / 1e3
        return cls(pipeline.name, options, now, now + allowed_s if allowed_s else 0.0, provenance)

    def check_time(self, now_unix_s: float | None = None) -> None:
        """Refuse work that comes too late.

        Args:
            now_unix_s: for tests.

        Raises:
            FacewrightError: DEADLINE_EXCEEDED after the caller's deadline.
        """
        now = time.time() if now_unix_s is None else now_unix_s
        if self.deadline_unix_s and now > self.deadline_unix_s:
            allowed = self.deadline_unix_s - self.accepted_unix_s
            raise FacewrightError(
                ErrorCode.DEADLINE_EXCEEDED,
                f"{1e3 * (now - self.accepted_unix_s):.0f} ms have passed of {1e3 * allowed:.0f} ms allowed",
                "raise deadline_ms, or ask for a smaller texture",
            )

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: bytes | str, pipelines: Mapping[str, Pipeline]) -> Request:
        """The inverse of `to_json`, checked again: anyone may call a stage by itself.

        Without this a texture of any size could be asked of the bake.

        Args:
            text: the tensor.
            pipelines: those that there are, by name.

        Raises:
            FacewrightError: BAD_OPTION when this is not what a first stage writes, or an option is not
                allowed.
        """
        try:
            members: dict[str, Any] = json.loads(text)
            times = [members["accepted_unix_s"], members["deadline_unix_s"]]
            options, name = members["options"], members["pipeline"]
            provenance = Provenance(**members["provenance"])
        except (ValueError, RecursionError, LookupError, TypeError) as error:
            raise _not_ours(type(error).__name__) from None
        if not all(isinstance(at, (int, float)) and abs(at) < 1e12 for at in times):
            raise _not_ours("its times are no times")
        if not isinstance(options, Mapping):
            raise _not_ours("its options are no object")
        if not isinstance(name, str) or name not in pipelines:
            raise _not_ours("its pipeline is none of this server's")
        checked = options_with_defaults(options, pipelines[name].options)
        return cls(name, checked, float(times[0]), float(times[1]), provenance)


def _not_ours(why: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.BAD_OPTION,
        f"{REQUEST.name} is not what a pipeline's first stage writes ({why})",
        "call the pipeline, or send what its first stage answered",
    )
