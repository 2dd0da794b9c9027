"""A server: the front door, and behind it a Triton that is started, watched, replaced, leaves no trace."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final

from facewright.core.open_files import require_open_files
from facewright.gateway.addresses import Proxies, require_keys_or_loopback
from facewright.gateway.admission import AdmissionSettings
from facewright.gateway.callers import Callers
from facewright.gateway.encryption import CertificateFiles, Encryption
from facewright.gateway.gateway import Gateway, GatewaySettings
from facewright.gateway.origins import page_rules
from facewright.gateway.rest import JobSettings
from facewright.gateway.tracing import Tracing
from facewright.pipelines.registry import stages
from facewright.pipelines.stages import Pipeline
from facewright.server.model_configs import Sizing
from facewright.server.retirement import Retirement
from facewright.server.running_servers import ServerStatus
from facewright.server.served_repository import served_pipelines
from facewright.server.server_settings import ServerSettings
from facewright.server.server_traces import ServerFolder, remove_stale_folders, remove_stale_regions
from facewright.server.succession import Succession
from facewright.server.triton_runtime import installed_runtime
from facewright.server.watched_triton import StartFailedError, WatchedTriton
from facewright.server.written_places import passed_over, require_kernels, require_places

_LOG: Final = logging.getLogger("facewright.server")
#: How often the processes are looked at while one loads, and when all is well: what ends is told of at once,
#: and only what hangs or has become slow is found by looking.
_LOOK_EVERY_S: Final = 0.25
_LOOK_CALMLY_EVERY_S: Final = 1.0
#: What is still in Triton's hands when the server has drained, or was told to hurry.
_FINISHES_WITHIN_S: Final = 15.0


#: An idle gateway has 35 open (measured); a second Triton that takes over, and each caller, has more.
_LEAST_FILES: Final = 256
#: Each door has a thousand connections; many systems give a process 1,024 files unless it asks.
_FILES: Final = 4096


class ServerFailedError(Exception):
    """The server could not be started or kept running; the message says why."""


class Server:
    """A running Facewright server.

        with Server(ServerSettings(grpc_port=0)) as server:
            Client(server.url).create("me.jpg").save("me.glb")

    Starting waits until every stage has answered a real request. A Triton that dies, or a stage of
    which does, or that no longer answers, is replaced: what it had in its hands is computed again, and
    callers wait for it.

    Args:
        settings: ports and limits.

    Raises:
        FacewrightError: this process may have too few open files.
    """

    def __init__(self, settings: ServerSettings | None = None) -> None:
        require_open_files("a server", _LEAST_FILES, _FILES)
        self._settings = _with_ports(settings or ServerSettings())
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._look = threading.Event()  # now, without waiting
        self._ready = threading.Event()
        self._changed = threading.Condition()
        self._failure: Exception | None = None
        self._succession: Succession | None = None
        self._thread: threading.Thread | None = None

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
        """Process id of the Triton that serves.

        Raises:
            ServerFailedError: none does.
        """
        serving = self._succession.serving if self._succession else None
        if serving is None:
            raise ServerFailedError("the server does not run")
        return serving.process.pid

    @property
    def restarts(self) -> int:
        """How often another Triton had to take over."""
        return self._succession.replaced if self._succession else 0

    def reload(self) -> None:
        """Let another Triton take over, with the weights and configurations of now; nobody is refused for it.

        Where it does not come up, the one before serves on, and the log says why.
        """
        if self._succession is not None:
            self._succession.reload()
            self._look.set()

    def launch(self) -> None:
        """Start without waiting; `wait_ready` or `wait_failed` tell how it went.

        Raises:
            ServerFailedError: this was started before.
            FacewrightError: anybody could call it, or its keys cannot be read.
        """
        if self._thread is not None:
            raise ServerFailedError("this server was started before; make another Server to start again")
        self._callers()  # before anything else is done or told
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
        """Let nobody in, answer who is in the house, then stop; nothing is left running or in /dev/shm.

        Those are waited for as long as `ServerSettings.drain_within_s` says, or until `hurry` is called.
        """
        with self._changed:
            self._stop.set()
            self._changed.notify_all()
        self._look.set()
        if self._thread is not None:
            self._thread.join()

    def hurry(self) -> None:
        """Stop, and wait for nobody."""
        self._hurry.set()

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
        try:
            _check_ports(self._settings)
            served = served_pipelines(self._settings.pipelines)
            runtime = installed_runtime()
            sizing = Sizing(self._settings.usable_cores)
            if problem := passed_over():
                _LOG.warning("%s; set TMPDIR to a folder with a short name that you may write", problem)
            require_places(sum(sizing.instances(stage) for stage in stages(served).values()))
            require_kernels()
            remove_stale_regions()
            remove_stale_folders()
            with ExitStack() as held:
                folder = ServerFolder()
                held.callback(folder.remove)
                gateway = self._gateway(served, folder.path / "marks")
                held.callback(gateway.close)
                gateway.open()
                retirement = held.enter_context(Retirement(gateway))

                def another() -> WatchedTriton:
                    return WatchedTriton(runtime, self._settings, served, gateway, self._look.set)

                self._succession = Succession(another, gateway, retirement, self._settings.spare)
                held.callback(self._succession.end, _FINISHES_WITHIN_S)
                self._keep_serving(self._succession, folder.path)
                if self._succession.serving is not None:
                    self._drain(gateway)
        except BaseException as error:  # whatever ends this thread, somebody waits for it
            what = f"{type(error).__name__}: {error}"
            if self.restarts:  # else whoever starts it is told
                _LOG.error("the server ends: %s", what)
            with self._changed:
                # Others than an Exception are not to end the thread that is told.
                self._failure = error if isinstance(error, Exception) else ServerFailedError(what)
                self._changed.notify_all()

    def _keep_serving(self, succession: Succession, folder: Path) -> None:
        """Until the server is to stop. What becomes of it is said in its folder."""
        said: ServerStatus | None = None
        while not self._stop.is_set():
            self._look.clear()
            try:
                succession.look()
            except StartFailedError as failure:
                raise ServerFailedError(str(failure)) from None
            finally:
                self._set_ready(succession.serving is not None)
            status = self._status(succession)
            if status != said:
                status.write(folder)
                said = status
            self._look.wait(_LOOK_EVERY_S if succession.loads else _LOOK_CALMLY_EVERY_S)
        self._set_ready(False)

    def _status(self, succession: Succession) -> ServerStatus:
        return ServerStatus(
            os.getpid(),
            self.url,
            succession.serving is not None,
            succession.reloaded,
            succession.not_reloaded,
            succession.why_not,
        )

    def _drain(self, gateway: Gateway) -> None:
        """Answer those who are in the house; nobody is let in any more."""
        gateway.unready()
        self._hurry.wait(self._settings.unready_s)
        until = time.monotonic() + self._settings.drain_within_s
        while not self._hurry.is_set() and time.monotonic() < until:
            if gateway.drain(_LOOK_EVERY_S):
                return

    def _callers(self) -> Callers:
        """Who may call."""
        settings = self._settings
        callers = Callers.from_settings(settings.keys, os.environ)
        asked = callers.keys_asked or settings.tls_client_authority is not None
        require_keys_or_loopback(settings.host, asked, settings.public)
        return callers

    def _gateway(self, served: Mapping[str, Pipeline], marks: Path) -> Gateway:
        settings, encryption = self._settings, None
        callers = self._callers()
        if settings.tls_certificate is not None and settings.tls_key is not None:
            encryption = Encryption(
                CertificateFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_authority)
            )
        asked = callers.keys_asked or settings.tls_client_authority is not None
        guarded = asked or encryption is not None or settings.public
        pages = page_rules(settings.host, guarded, settings.allow_hosts, settings.allow_origins)
        # Two for each core keep the stages busy, and whoever is inside is answered in twice its time alone.
        admission = AdmissionSettings(
            at_once=2 * settings.usable_cores,
            longest_wait_s=settings.longest_wait_s,
            photo_budget_bytes=settings.photo_memory_mib * 2**20,
        )
        doors = GatewaySettings(
            settings.host,
            settings.grpc_port,
            settings.http_port,
            pages,
            admission,
            encryption,
            JobSettings(settings.job_memory_mib * 2**20, settings.keep_jobs_s),
            Tracing.from_environment(os.environ),
            Proxies.of(settings.forwarded_by),
        )
        return Gateway(doors, served, callers, marks, self._look.set)

    def _set_ready(self, ready: bool) -> None:
        with self._changed:
            if ready:
                self._ready.set()
            else:
                self._ready.clear()
            self._changed.notify_all()


def _reachable(host: str) -> str:
    """Where this machine reaches what listens on ``host``."""
    return "127.0.0.1" if host == "0.0.0.0" else host


def _check_ports(settings: ServerSettings) -> None:
    """Triton would load every stage before it noticed."""
    addresses = {
        "grpc-port": (settings.host, settings.grpc_port),
        "http-port": (settings.host, settings.http_port),
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
    names = [name for name in ("grpc_port", "http_port") if getattr(settings, name) == 0]
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
