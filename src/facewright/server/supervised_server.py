"""A Triton server that is started, watched, restarted when a stage dies, and stopped without traces."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from types import TracebackType
from typing import Final

from facewright.pipelines.registry import stages
from facewright.server.liveness import LivenessProbe
from facewright.server.model_configs import Sizing
from facewright.server.served_repository import served_pipelines
from facewright.server.server_settings import ServerSettings
from facewright.server.server_traces import remove_stale_folders, remove_stale_regions
from facewright.server.triton_process import TritonProcess
from facewright.server.triton_runtime import installed_runtime
from facewright.server.written_places import require_kernels, require_places
from facewright_client import FacewrightClientError

_LOG: Final = logging.getLogger("facewright.server")
#: How often the processes are looked at.
_LOOK_EVERY_S: Final = 0.25
#: Failed starts in a row after which a restart cannot help.
_MOST_FAILED_STARTS: Final = 4


class ServerFailedError(Exception):
    """The server could not be started or kept running; the message says why."""


class Server:
    """A running Facewright server.

        with Server(ServerSettings(grpc_port=0)) as server:
            Client(server.url).create("me.jpg").save("me.glb")

    Starting waits until every stage has answered a real request. A stage or server that dies, or no longer
    answers, is restarted: requests in flight that it can still answer are answered, the others fail with
    UNAVAILABLE, which clients retry.

    Args:
        settings: ports and limits.
    """

    def __init__(self, settings: ServerSettings | None = None) -> None:
        self._settings = _with_ports(settings or ServerSettings())
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._changed = threading.Condition()
        self._failure: Exception | None = None
        self._process: TritonProcess | None = None
        self._thread: threading.Thread | None = None
        self.restarts = 0

    @property
    def settings(self) -> ServerSettings:
        """With the ports that were chosen."""
        return self._settings

    @property
    def url(self) -> str:
        """Host and gRPC port for a client on this machine."""
        return f"{_reachable(self._settings.host)}:{self._settings.grpc_port}"

    @property
    def pid(self) -> int:
        """Triton's process id: another one after a restart.

        Raises:
            ServerFailedError: the server does not run.
        """
        process = self._process
        if process is None:
            raise ServerFailedError("the server does not run")
        return process.pid

    def launch(self) -> None:
        """Start without waiting; `wait_ready` or `wait_failed` tell how it went.

        Raises:
            ServerFailedError: this was started before.
        """
        if self._thread is not None:
            raise ServerFailedError("this server was started before; make another Server to start again")
        self._thread = threading.Thread(target=self._supervise, name="facewright-supervisor", daemon=True)
        self._thread.start()

    def start(self) -> Server:
        """Start, and wait until all stages answer.

        Raises:
            RuntimeMissingError: the Triton runtime is not installed.
            FacewrightError: an asset is missing or the profile cannot run here.
            ServerFailedError: Triton or a stage failed, and its log says why; or this was started before, or
                stopped meanwhile.
        """
        self.launch()
        try:
            if not self.wait_ready():
                raise ServerFailedError("the server was stopped before it was ready")
        except BaseException:
            self.stop()
            raise
        return self

    def wait_ready(self, timeout_s: float | None = None) -> bool:
        """Wait until the server answers (again); False after ``timeout_s`` and when it is stopped.

        Raises what ended the server.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._ready.is_set() or self._stop.is_set() or self._failure, timeout_s
            )
        if self._failure is not None:
            raise self._failure
        return self._ready.is_set()

    def wait_failed(self, timeout_s: float | None = None) -> None:
        """Wait until the server is given up, and raise why; return after ``timeout_s`` or a regular stop."""
        assert self._thread is not None
        self._thread.join(timeout_s)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Let requests in flight finish, then stop; nothing is left running or in /dev/shm."""
        with self._changed:
            self._stop.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _supervise(self) -> None:
        """The life of the server, in one thread."""
        failed_starts = 0
        try:
            _check_ports(self._settings)
            served = served_pipelines(self._settings.pipelines)
            runtime = installed_runtime()
            sizing = Sizing(self._settings.usable_cores)
            require_places(sum(sizing.instances(stage) for stage in stages(served).values()))
            require_kernels()
            remove_stale_regions()
            remove_stale_folders()
            while not self._stop.is_set():
                process = self._process = TritonProcess(runtime, self._settings)
                started = False
                try:
                    probe = LivenessProbe(
                        f"{_reachable(self._settings.http_host)}:{self._settings.http_port}", served
                    )
                    reason = self._await_start(process, probe)
                    started = reason is None
                    if started and not self._stop.is_set():
                        reason = self._watch(process, probe)
                finally:
                    serves = self._ready.is_set()
                    self._set_ready(False)
                    # A dead stage would hold up an orderly end for as long as it may take.
                    process.stop(patience_s=(15.0 if self._stop.is_set() else 4.0) if serves else 0.0)
                    self._process = None
                if reason is None:
                    return
                failed_starts = 0 if started else failed_starts + 1
                if failed_starts and (self.restarts == 0 or failed_starts >= _MOST_FAILED_STARTS):
                    raise ServerFailedError(reason)
                self.restarts += 1
                _LOG.error("restarting the server: %s", reason)
                self._stop.wait(min(2.0**failed_starts - 1, 30.0))
        except BaseException as error:  # whatever ends this thread, somebody waits for it
            what = f"{type(error).__name__}: {error}"
            if self.restarts:  # else whoever starts it is told
                _LOG.error("the server ends: %s", what)
            with self._changed:
                # Others than an Exception are not to end the thread that is told.
                self._failure = error if isinstance(error, Exception) else ServerFailedError(what)
                self._changed.notify_all()

    def _await_start(self, process: TritonProcess, probe: LivenessProbe) -> str | None:
        """Wait until every stage is loaded and has answered; returns why it failed, else None."""
        until = time.monotonic() + self._settings.start_within_s
        while not probe.ready():
            if self._stop.wait(0.1):
                return None
            if not process.running():
                return f"start failed: Triton ended with status {process.exit_status}; its log says why"
            if time.monotonic() > until:
                return f"start failed: not ready after {self._settings.start_within_s:.0f} s"
        # Every stage has opened its region by now: without names nothing can be left behind.
        process.forget_regions()
        sizing = Sizing(self._settings.usable_cores)
        served = served_pipelines(self._settings.pipelines)
        most = max(sizing.instances(stage) for stage in stages(served).values())

        def warm_up() -> str | None:
            try:
                probe.warm_up(most, timeout_s=max(until - time.monotonic(), 1.0))
            except FacewrightClientError as error:
                return f"{error.stage or 'Triton'} answered the first request {error.code}: {error}"
            return None

        reason = self._ask(process, process.stubs(), warm_up)
        return reason and f"start failed: {reason}"

    def _watch(self, process: TritonProcess, probe: LivenessProbe) -> str | None:
        """Watch a process that has started; returns why it must be restarted, or None when it is to stop."""
        stubs = process.stubs()
        patience_s = 30.0 + self._settings.longest_wait_ms / 1e3

        def unanswered() -> str | None:
            return None if probe.alive(patience_s) else "a probe was not answered"

        self._set_ready(True)
        next_probe = time.monotonic() + self._settings.probe_every_s
        while not self._stop.wait(_LOOK_EVERY_S):
            reason = _death(process, stubs)
            if reason is None and time.monotonic() >= next_probe:
                reason = self._ask(process, stubs, unanswered)
                next_probe = time.monotonic() + self._settings.probe_every_s
            if reason is not None:
                return reason
        return None

    def _ask(self, process: TritonProcess, stubs: set[int], question: Callable[[], str | None]) -> str | None:
        """What ``question`` finds wrong; a death or the wish to stop is not kept waiting for its answer."""
        asking = ThreadPoolExecutor(1)
        answer = asking.submit(question)
        asking.shutdown(wait=False)
        while not wait([answer], _LOOK_EVERY_S).done:
            if self._stop.is_set():
                return None
            reason = _death(process, stubs)
            if reason is not None:
                return reason
        return answer.result()

    def _set_ready(self, ready: bool) -> None:
        with self._changed:
            if ready:
                self._ready.set()
            else:
                self._ready.clear()
            self._changed.notify_all()


def _death(process: TritonProcess, stubs: set[int]) -> str | None:
    """What has ended that should not have: Triton, or some of its stages."""
    if not process.running():
        return f"Triton ended with status {process.exit_status}"
    dead = process.dead(stubs)
    return f"{len(dead)} of {len(stubs)} stage processes died" if dead else None


def _reachable(host: str) -> str:
    """Where this machine reaches what listens on ``host``."""
    return "127.0.0.1" if host == "0.0.0.0" else host


def _check_ports(settings: ServerSettings) -> None:
    """Triton would load every stage before it noticed."""
    addresses = {
        "grpc-port": (settings.host, settings.grpc_port),
        "http-port": (settings.http_host, settings.http_port),
        "metrics-port": (settings.host, settings.metrics_port),
    }
    for option, (host, port) in addresses.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise _cannot_listen(host, port, error, option) from error


def _cannot_listen(host: str, port: int, error: OSError, option: str) -> ServerFailedError:
    """What is wrong with an address: the host, unless another port of it may be free."""
    mend = f"choose another --{option}"
    if error.errno not in (errno.EADDRINUSE, errno.EACCES):
        mend = "give --host an IPv4 address of this machine, such as 127.0.0.1, or 0.0.0.0 for all"
    return ServerFailedError(f"cannot listen on {host}:{port}: {error.strerror}; {mend}")


def _with_ports(settings: ServerSettings) -> ServerSettings:
    """Free ports where 0 asks for one, all chosen at once so that they differ."""
    names = [name for name in ("grpc_port", "http_port", "metrics_port") if getattr(settings, name) == 0]
    sockets = []
    chosen = {}
    try:
        for name in names:
            probe = socket.socket()
            sockets.append(probe)
            try:
                probe.bind((settings.host, 0))
            except OSError as error:
                raise _cannot_listen(settings.host, 0, error, name.replace("_", "-")) from error
            chosen[name] = probe.getsockname()[1]
    finally:
        for probe in sockets:
            probe.close()
    return replace(settings, **chosen)
