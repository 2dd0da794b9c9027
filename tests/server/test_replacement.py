"""What is killed or hangs is replaced, and everybody is answered: on one server, broken again and again."""

from __future__ import annotations

import ctypes
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from facewright.server import Server, ServerFailedError, ServerSettings
from facewright_client import Client, Connection, FacewrightClientError, RetryPolicy
from tests.server.processes import alive, answered, command, eventually, living

pytestmark = pytest.mark.server
#: Sends again as long as its time limit allows: how long a restart takes is the machine's affair.
PATIENT = Connection(timeout_s=300.0, retries=RetryPolicy(attempts=1000))


@pytest.fixture
def as_first_process() -> Iterator[None]:
    """As in a container, processes whose parent has died become children of this one."""
    set_child_subreaper = 36
    prctl = ctypes.CDLL(None).prctl
    assert prctl(set_child_subreaper, 1) == 0
    yield
    prctl(set_child_subreaper, 0)


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose processes are broken, one after the other; each time it is whole again."""
    log = tmp_path_factory.mktemp("breakable") / "triton.log"
    with Server(ServerSettings(grpc_port=0, http_port=0, cores=2, log=log)) as server:
        yield server
        last = server.pid
    assert not Path(f"/proc/{last}").exists()
    assert not list(Path("/dev/shm").glob(f"facewright-{os.getpid()}-*"))


@pytest.fixture
def nobody_looks(breakable: Server) -> Iterator[None]:
    """While all is well the processes are not looked at: what ends must be told of."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("facewright.server.supervised_server._LOOK_CALMLY_EVERY_S", 600.0)
        breakable._look.set()  # the last time
        yield
    breakable._look.set()


class Players:
    """Ask for avatars, at once: who has been let in never hears of what breaks.

    Args:
        server: that they ask.
        number: of players, each of whom wants one avatar after the other.
        photo: of each.
    """

    def __init__(self, server: Server, number: int, photo: bytes) -> None:
        self._url, self._photo = server.url, photo
        self.answers = 0
        self.failures: list[Exception] = []
        self._leaving = threading.Event()
        self._threads = [threading.Thread(target=self._play) for _ in range(number)]

    def __enter__(self) -> Players:
        before = answered(self._url, "find_face")
        for thread in self._threads:
            thread.start()
        assert eventually(lambda: answered(self._url, "find_face") > before, 60), "nobody is on the way"
        return self

    def __exit__(self, *_error: object) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join()

    def _play(self) -> None:
        while not self._leaving.is_set():
            try:
                with Client(self._url, replace(PATIENT, on_retry=self._retried)) as client:
                    client.create(self._photo, texture_size=512)
                self.answers += 1
            except Exception as error:
                self.failures.append(error)

    def _retried(self, failure: FacewrightClientError) -> None:
        """Whoever comes while there is no Triton may be told to come again."""
        if failure.retry_after_s is None:
            self.failures.append(failure)


@pytest.mark.usefixtures("as_first_process", "nobody_looks")
@pytest.mark.parametrize("victim", ["bake_texture", "triton"])
def test_what_is_killed_is_replaced_and_everyone_is_answered(
    breakable: Server, photo: bytes, victim: str
) -> None:
    assert breakable.wait_ready(60)
    first, restarts = breakable.pid, breakable.restarts
    folder = next(
        path for path in Path(tempfile.gettempdir()).glob("facewright-*") if str(path) in command(first)
    )
    with Players(breakable, 6, photo) as players:
        os.kill(first if victim == "triton" else _stage(first, victim), signal.SIGKILL)
        assert eventually(lambda: breakable.restarts > restarts, 30)
        assert eventually(lambda: _serves_another(breakable, first), 240)
        made = players.answers
        assert eventually(lambda: players.answers >= made + 6, 120)
    assert players.failures == []
    assert breakable.restarts == restarts + 1
    assert eventually(lambda: not living(first) and not folder.exists(), 30)
    assert eventually(lambda: _waited_for(first), 30), "a stage is left that nobody waited for"


def test_while_one_bake_hangs_the_other_serves_until_both_are_replaced(
    breakable: Server, photo: bytes
) -> None:
    assert breakable.wait_ready(60)
    first, restarts = breakable.pid, breakable.restarts
    hung, sibling = (pid for pid, line in living(first).items() if "bake_texture" in line)
    with Players(breakable, 4, photo) as players:
        os.kill(hung, signal.SIGSTOP)
        made = players.answers
        assert eventually(lambda: breakable.restarts > restarts, 30), "nobody noticed"
        assert breakable.pid == first, "it serves until the next one does"
        assert eventually(lambda: players.answers >= made + 4, 120)
        assert alive(sibling)
        assert eventually(lambda: _serves_another(breakable, first), 240)
        made = players.answers
        assert eventually(lambda: players.answers >= made + 4, 120)
    assert players.failures == []
    assert breakable.restarts == restarts + 1
    assert eventually(lambda: not living(first), 60)


def _stage(triton: int, name: str) -> int:
    """A process of a stage."""
    return next(pid for pid, line in living(triton).items() if name in line)


def _serves_another(server: Server, first: int) -> bool:
    try:
        return server.pid != first
    except ServerFailedError:  # none does just now
        return False


def _waited_for(group: int) -> bool:
    try:
        os.waitpid(-group, os.WNOHANG)
    except ChildProcessError:
        return True
    return False
