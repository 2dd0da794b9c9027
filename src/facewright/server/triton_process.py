"""One running ``tritonserver`` and the stage processes below it."""

from __future__ import annotations

import os
import resource
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final

from facewright.adapter.marks import VARIABLE as MARKS_VARIABLE
from facewright.adapter.served_files import NETWORKS_VARIABLE, PROFILE_VARIABLE
from facewright.engines.exported_repository import require_servable
from facewright.engines.profile import PROFILES
from facewright.engines.tensorrt_plan import compute_capability
from facewright.server.lifeline import Lifeline
from facewright.server.model_configs import Sizing
from facewright.server.process_end import call_at_end
from facewright.server.served_repository import assemble_repository, served_pipelines
from facewright.server.server_settings import ServerSettings
from facewright.server.server_traces import TRITON_SOCKET, ServerFolder, remove_regions
from facewright.server.triton_log import TritonLog
from facewright.server.triton_runtime import TritonRuntime

_STUB: Final = "triton_python_backend_stub"
#: What no client of an avatar service needs and everyone who reaches its port could misuse.
_RESTRICTED_APIS: Final = "logging,shared-memory,trace,model-repository"


class TritonProcess:
    """Starts Triton on a repository of its own; `stop` leaves no process, file or region behind.

    When this process ends without it, the kernel kills Triton and the stages, and the next server removes the
    rest.

    Args:
        runtime: the unpacked runtime.
        settings: ports (none 0), limits, log.
        marks: the socket that its stages tell what they are at; None: nobody is told.
        ended: called in a thread of its own as soon as Triton itself has ended, whoever ended it.
    """

    def __init__(
        self,
        runtime: TritonRuntime,
        settings: ServerSettings,
        marks: Path | None,
        ended: Callable[[], None],
    ) -> None:
        with ExitStack() as held:
            folder = ServerFolder()
            held.callback(folder.remove)
            self._region_prefix = f"{folder.path.name}-"
            held.callback(remove_regions, self._region_prefix)
            log = TritonLog(settings.log, settings.profile)
            held.callback(log.close)
            lifeline = Lifeline()
            held.callback(lifeline.cut)  # before the log waits for the last process that writes to it
            # Of this user alone, as the folder is: what Triton listens on nobody else reaches.
            self.socket: Final = folder.path / TRITON_SOCKET
            self.metrics_port: Final = _free_port()
            repository = folder.path / "model_repository"
            repository.mkdir()
            if settings.profile == "cuda":
                _require_cuda()
            if settings.networks is not None:
                require_servable(settings.networks, settings.profile)
            assemble_repository(
                repository,
                served_pipelines(settings.pipelines),
                settings.profile,
                Sizing(settings.usable_cores),
                settings.networks,
            )
            environment = runtime.environment()
            environment[PROFILE_VARIABLE] = settings.profile
            if marks is not None:
                environment[MARKS_VARIABLE] = str(marks.absolute())
            if settings.networks is not None:
                environment[NETWORKS_VARIABLE] = str(settings.networks.resolve())
            self._process = subprocess.Popen(
                [str(runtime.binary), *self._arguments(runtime, settings, repository)],
                env=environment,
                cwd=folder.path,
                stdin=subprocess.DEVNULL,
                stdout=log.writing_end,
                stderr=log.writing_end,
                pass_fds=(folder.lock, lifeline.tied_end),
                start_new_session=True,
                preexec_fn=partial(_begin_group, lifeline),
            )
            self._held = held.pop_all()
        call_at_end(self.pid, ended)

    def _arguments(self, runtime: TritonRuntime, settings: ServerSettings, repository: Path) -> list[str]:
        assert settings.profile in PROFILES
        path, _, number = str(self.socket).rpartition(":")
        # Nobody is told this key: these protocols are closed, not protected.
        closed = f"{_RESTRICTED_APIS}:facewright-closed={secrets.token_hex(16)}"
        arguments = [
            f"--grpc-restricted-protocol={closed}",
            f"--model-repository={repository}",
            f"--model-config-name={settings.profile}",
            f"--backend-directory={runtime.backends}",
            f"--backend-config=python,shm-region-prefix-name={self._region_prefix}",
            # Triton puts both into one address, with a colon between, and gRPC takes it for a path.
            f"--grpc-address=unix:{path}",
            f"--grpc-port={number}",
            "--allow-http=false",
            "--metrics-address=127.0.0.1",
            f"--metrics-port={self.metrics_port}",
            "--exit-on-error=true",
            "--exit-timeout-secs=10",
            "--disable-auto-complete-config",
            "--model-load-thread-count=2",
            *(("--log-verbose=2",) if settings.log_verbose else ("--log-info=false",)),
            # Answers are megabytes: keep few response buffers, give their memory back.
            "--grpc-infer-allocation-pool-size=2",
        ]
        if settings.networks is not None:
            arguments.append(f"--model-repository={settings.networks.resolve()}")
        if settings.profile == "cpu":
            arguments += ["--pinned-memory-pool-byte-size=0", "--allow-gpu-metrics=false"]
        return arguments

    @property
    def pid(self) -> int:
        """Triton's process id."""
        return self._process.pid

    def running(self) -> bool:
        """Whether Triton itself has not ended."""
        return self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """Triton's exit status; None while it runs."""
        return self._process.poll()

    def stubs(self) -> set[int]:
        """Process ids of the stages that live."""
        return {pid for pid in _children(self.pid) if _command(pid).startswith(_STUB[:15])}

    @staticmethod
    def dead(stubs: set[int]) -> set[int]:
        """Those of ``stubs`` that have ended."""
        return {pid for pid in stubs if not _command(pid).startswith(_STUB[:15])}

    def forget_regions(self) -> None:
        """Remove the names of the shared-memory regions, once every stage has opened its own."""
        remove_regions(self._region_prefix)

    def stop(self, patience_s: float = 15.0) -> None:
        """Let requests in flight finish for at most ``patience_s``, then kill what is left.

        With no patience it is not even asked: a Triton that starts has none of them, and may crash then.
        """
        if patience_s and self.running():
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)
        # The group outlives Triton where a stage hangs or Triton was killed.
        _signal_group(self.pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + 5
        while _group_lives(self.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        self._held.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _begin_group(lifeline: Lifeline) -> None:
    """In the child, before it runs its program."""
    lifeline.tie_group()
    # What is left of a process that crashes holds photos. (Stages of Triton 2.51 crash at their very end.)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, children.read_text().split())
        except OSError:
            continue
    return found


def _require_cuda() -> None:
    """Refuse what every stage would, after loading everything.

    Raises:
        FacewrightError: ENGINE_MISMATCH: there is no GPU, or ONNX Runtime cannot use it.
    """
    from facewright.engines.onnx_engine import require_provider  # loads ONNX Runtime

    compute_capability()
    require_provider("cuda", "the profile")


def _command(pid: int) -> str:
    """A living process's short name; "" for one that has ended, though nobody may have waited for it yet."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    name, fields = text[text.index("(") + 1 :].rsplit(")", 1)
    return "" if fields.split()[0] in "ZX" else name


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _group_lives(group: int) -> bool:
    # A container's first process inherits the stages of a Triton that died, and nobody else waits for them.
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
