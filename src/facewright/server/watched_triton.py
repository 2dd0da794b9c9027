"""A Triton from its start to its end: started until it answers, then looked at, and what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from facewright.gateway.gateway import Gateway
from facewright.pipelines.registry import stages
from facewright.pipelines.stages import Pipeline
from facewright.server.instance_watch import InstanceWatch, Why
from facewright.server.liveness import LivenessProbe
from facewright.server.model_configs import Sizing
from facewright.server.server_settings import ServerSettings
from facewright.server.triton_process import TritonProcess
from facewright.server.triton_runtime import TritonRuntime
from facewright_client import FacewrightClientError

#: For how long Triton must say of stages that they are not healthy. It looks after them three times a second,
#: and a machine may be busy.
_UNHEALTHY_S: Final = 2.0
#: How long a probe may take before it counts as silence.
_PATIENCE_S: Final = 30.0


@dataclass(frozen=True)
class Fault:
    """Why a Triton must be replaced.

    Attributes:
        reason: in words.
        serves: whether what is left of it still answers requests.
        request_ids: that are in the hands of what died or hangs.
    """

    reason: str
    serves: bool = False
    request_ids: frozenset[str] = frozenset()


class WatchedTriton:
    """One Triton. For one thread; none of its methods but `close` waits.

    Args:
        runtime: the unpacked runtime.
        settings: of the server.
        served: the pipelines by name.
        gateway: what asks it, and hears its stages.
        ended: called, in another thread, as soon as it has ended: time for a look.

    Raises:
        FacewrightError: it cannot be served here; see `TritonProcess`.
    """

    def __init__(
        self,
        runtime: TritonRuntime,
        settings: ServerSettings,
        served: Mapping[str, Pipeline],
        gateway: Gateway,
        ended: Callable[[], None],
    ) -> None:
        self._settings, self._served, self._gateway = settings, served, gateway
        self._watch = InstanceWatch()
        self.process: Final = TritonProcess(runtime, settings, gateway.marks_path, ended)
        self._probe = LivenessProbe(self.process.socket, served)
        self._asking = ThreadPoolExecutor(1)
        self._answer: Future[str | None] | None = None
        self._stubs: set[int] = set()
        self._began = time.monotonic()
        self._until = self._began + settings.start_within_s
        #: Seconds from its start to the first answers.
        self.start_took_s = 0.0
        self._next_probe = 0.0
        self._started = False

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.process.socket

    def started(self) -> bool:
        """Whether every stage is loaded and has answered a real request; look again soon where not.

        Raises:
            StartFailedError: it never will.
        """
        if self._started:
            return True
        if not self.process.running():
            status = self.process.exit_status
            raise StartFailedError(f"start failed: Triton ended with status {status}; its log says why")
        if time.monotonic() > self._until:
            raise StartFailedError(f"start failed: not ready after {self._settings.start_within_s:.0f} s")
        if not self._stubs:
            if self._probe.ready():
                # Every stage has opened its region by now: without names nothing can be left behind.
                self.process.forget_regions()
                self._stubs = self.process.stubs()
                self._answer = self._asking.submit(self._warm_up)
            return False
        dead = self.process.dead(self._stubs)
        if dead:
            raise StartFailedError(f"start failed: {len(dead)} of {len(self._stubs)} stage processes died")
        assert self._answer is not None
        if not self._answer.done():
            return False
        wrong = self._answer.result()
        if wrong:
            raise StartFailedError(f"start failed: {wrong}")
        self._started, self._answer = True, None
        self.start_took_s = time.monotonic() - self._began
        self._next_probe = time.monotonic() + self._settings.probe_every_s
        return True

    def fault(self) -> Fault | None:
        """What is wrong with one that has started."""
        if not self.process.running():
            return Fault(f"Triton ended with status {self.process.exit_status}")
        told = [instance for instance in self._gateway.instances() if instance.pid in self._stubs]
        verdicts = self._watch.look(told, time.monotonic())
        died = [verdict for verdict in verdicts if verdict.why is Why.DIED]
        if died:
            held = frozenset(identity for verdict in died for identity in verdict.request_ids)
            dead = len(died)
            return Fault(f"{dead} of {len(self._stubs)} stage processes died", request_ids=held)
        # Of the others nobody else looks whether they live.
        dead = len(self.process.dead(self._stubs - {instance.pid for instance in told}))
        if dead:
            return Fault(f"{dead} of {len(self._stubs)} stage processes died")
        if verdicts:
            held = frozenset(identity for verdict in verdicts for identity in verdict.request_ids)
            named = ", ".join(sorted(f"{verdict.stage} {verdict.why}" for verdict in verdicts))
            return Fault(f"an instance of {named}", serves=True, request_ids=held)
        if self._gateway.unhealthy_s() > _UNHEALTHY_S:
            return Fault("Triton says of a stage that it does not move", serves=True)
        return self._silence()

    def close(self) -> None:
        """Ask it nothing more. Its process is stopped by `TritonProcess.stop`."""
        self._asking.shutdown(wait=False, cancel_futures=True)
        self._probe.close()

    def _silence(self) -> Fault | None:
        """Whether an idle server no longer answers a real request."""
        if self._answer is None:
            if time.monotonic() >= self._next_probe:
                self._answer = self._asking.submit(self._unanswered)
            return None
        if not self._answer.done():
            return None
        wrong = self._answer.result()
        self._answer = None
        self._next_probe = time.monotonic() + self._settings.probe_every_s
        return Fault(wrong) if wrong else None

    def _warm_up(self) -> str | None:
        sizing = Sizing(self._settings.usable_cores)
        most = max(sizing.instances(stage) for stage in stages(self._served).values())
        try:
            self._probe.warm_up(most, timeout_s=max(self._until - time.monotonic(), 1.0))
        except FacewrightClientError as error:
            return f"{error.stage or 'Triton'} answered the first request {error.code}: {error}"
        return None

    def _unanswered(self) -> str | None:
        return None if self._probe.alive(_PATIENCE_S) else "a probe was not answered"


class StartFailedError(Exception):
    """A Triton did not come up; the message says why."""
