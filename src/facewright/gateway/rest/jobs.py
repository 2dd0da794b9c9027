"""Work whose answer is kept for a while, so that its caller may leave and come back for it.

Everything is kept in the memory of this process and ends with it: what runs, what is kept, and the keys.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from facewright.core.errors import FacewrightError
from facewright.gateway.exposition import family
from facewright.gateway.rest.errors import RequestError
from facewright.gateway.rest.job import Job, Key, Work
from facewright_client.contract import ErrorCode

#: What a job takes of the memory beside its result, generously, bytes.
_OVERHEAD: Final = 4096
#: Of so many jobs that are no more it is known whose they were.
_MOST_GONE: Final = 10_000
#: Failures that the same request meets again; after the others a key begins anew.
_LASTING: Final = frozenset(
    {
        ErrorCode.BAD_PHOTO,
        ErrorCode.PHOTO_TOO_LARGE,
        ErrorCode.NO_FACE,
        ErrorCode.FACE_TOO_SMALL,
        ErrorCode.BAD_CODE,
        ErrorCode.BAD_OPTION,
        ErrorCode.BAD_REQUEST,
    }
)


@dataclass(frozen=True)
class JobSettings:
    """How much is kept, and for how long.

    Attributes:
        kept_bytes: of results; when there are more, whoever holds most loses what was finished first.
        kept_s: seconds from a job's end until it is dropped.
        most_per_caller: jobs that run or are kept; a further one takes the place of the caller's own that was
            finished first, and is refused where all of them run.
    """

    kept_bytes: int = 256 * 2**20
    kept_s: float = 600.0
    most_per_caller: int = 64


class Jobs:
    """The jobs of all callers. On one event loop.

    Args:
        settings: see there.
    """

    def __init__(self, settings: JobSettings | None = None) -> None:
        self._settings = settings or JobSettings()
        self._jobs: dict[str, Job] = {}
        self._by_key: dict[tuple[str, str], Job] = {}
        self._ended: dict[Job, asyncio.TimerHandle] = {}  # first ended first
        self._held: Counter[str] = Counter()  # bytes by caller
        self._gone: OrderedDict[str, tuple[str, str]] = OrderedDict()  # by id: whose it was, and why
        self._changed = asyncio.Event()

    def begun_under(self, caller: str, key: Key) -> Job | None:
        """What a caller has begun under a key.

        Raises:
            RequestError: 422: the key stands for another request.
        """
        job = self._by_key.get((caller, key.text))
        if job is not None and job.key != key:
            raise RequestError(
                422, "this Idempotency-Key was sent with another request", "make a new key for each"
            )
        return job

    def start(self, caller: str, work: Work, key: Key | None = None) -> Job:
        """Begin some work, under a key that nothing was begun under.

        Raises:
            FacewrightError: OVERLOADED: too many run.
        """
        self._make_room(caller)
        job = Job(caller, work, key)
        self._jobs[job.id] = job
        if key is not None:
            self._by_key[caller, key.text] = job
        job.task.add_done_callback(lambda _: self._end(job))
        return job

    def of(self, caller: str, identity: str) -> Job:
        """A caller's job.

        Raises:
            RequestError: 404: it has none of that id; 410: it had.
        """
        job = self._jobs.get(identity)
        if job is not None and job.caller == caller:
            return job
        owner, why = self._gone.get(identity, ("", ""))
        if owner == caller and job is None:
            raise RequestError(410, f"the job {why}", "send the request again")
        raise RequestError(404, "you have no job of this id", "ids are in Location when a job begins")

    def delete(self, job: Job) -> None:
        """Stop a job where it runs, and forget what it gave."""
        job.task.cancel()
        self._drop(job, "was deleted")

    def discard(self, job: Job) -> None:
        """Forget a job that nobody was told of: refusals come by the thousand."""
        self._drop(job, None)

    def collect(self, job: Job) -> None:
        """Note that a job's end was told."""
        job.collected = job.task.done()
        self._announce()

    async def all_collected(self) -> None:
        """Return when nothing runs and every end was told or dropped."""
        while any(not job.collected for job in self._jobs.values()):
            await self._changed.wait()

    async def close(self) -> None:
        """Stop and forget all of them."""
        jobs = list(self._jobs.values())
        for job in jobs:
            self.delete(job)
        await asyncio.gather(*(job.task for job in jobs), return_exceptions=True)

    def metrics(self) -> Iterator[str]:
        """Lines for Prometheus."""
        counts = {"running": len(self._jobs) - len(self._ended), "kept": len(self._ended)}
        samples = [({"state": state}, float(count)) for state, count in counts.items()]
        yield from family("facewright_jobs", "gauge", "Jobs that run, and whose end is kept.", samples)
        held: list[tuple[dict[str, str], float]] = [({}, float(self._held.total()))]
        yield from family("facewright_jobs_held_bytes", "gauge", "Of results that are kept.", held)

    def _make_room(self, caller: str) -> None:
        most = self._settings.most_per_caller
        if sum(job.caller == caller for job in self._jobs.values()) < most:
            return
        mine = next((job for job in self._ended if job.caller == caller), None)
        if mine is None:
            raise FacewrightError(
                ErrorCode.OVERLOADED,
                f"{most} jobs of this caller run, as many as may",
                "wait for one of them, or delete it",
                retry_after_s=1.0,
            )
        self._drop(mine, f"gave way to a newer one: {most} are kept of one caller")

    def _end(self, job: Job) -> None:
        """A job's work is over."""
        if self._jobs.get(job.id) is job:
            settings = self._settings
            if job.failure is not None and job.failure.code not in _LASTING:
                self._forget_key(job)
            why = f"was dropped: results are kept for {settings.kept_s:g} s"
            self._ended[job] = asyncio.get_running_loop().call_later(settings.kept_s, self._drop, job, why)
            self._held[job.caller] += _size(job)
            while self._held.total() > settings.kept_bytes:
                greediest = max(self._held, key=self._held.__getitem__)
                first = next(other for other in self._ended if other.caller == greediest)
                self._drop(first, f"was dropped: {settings.kept_bytes} bytes of results are kept")
        self._announce()

    def _drop(self, job: Job, why: str | None) -> None:
        """Keep no more of a job than why; None: not even that."""
        if self._jobs.pop(job.id, None) is None:
            return
        self._forget_key(job)
        timer = self._ended.pop(job, None)
        if timer is not None:
            timer.cancel()
            self._held[job.caller] -= _size(job)
            if not self._held[job.caller]:
                del self._held[job.caller]
        if why is not None:
            self._gone[job.id] = job.caller, why
            if len(self._gone) > _MOST_GONE:
                self._gone.popitem(last=False)
        self._announce()

    def _forget_key(self, job: Job) -> None:
        if job.key is not None and self._by_key.get((job.caller, job.key.text)) is job:
            del self._by_key[job.caller, job.key.text]

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _size(job: Job) -> int:
    return _OVERHEAD + (0 if job.result is None else job.result.size)
