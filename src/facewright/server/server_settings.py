"""How a server is started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from facewright.engines.profile import Profile


@dataclass(frozen=True)
class ServerSettings:
    """Ports, limits and guests of one server.

    Args:
        host: address to listen on; 0.0.0.0 for all.
        grpc_port, http_port: 0 picks a free one.
        profile: what the networks run on.
        pipelines: which are served; all when empty.
        cores: CPU cores that decide how many instances of a stage run; 0: those this process may use.
        longest_wait_s: who could not be let in within it is refused at once, OVERLOADED.
        photo_memory_mib: how much of requests is held, those that wait to be let in among them.
        probe_every_s: how often a real request proves that an idle server is alive.
        start_within_s: longest time to load all models.
        spare: whether a second Triton is kept loaded, to take over at once: twice the memory.
        unready_s: how long readiness is off before nobody is let in any more, so that balancers see it.
        drain_within_s: longest time for those who are in the house when the server is to stop.
        keep_jobs_s: how long what a job gave is kept.
        job_memory_mib: how much of that.
        networks: a repository of ``facewright export`` whose networks are served too.
        log: file that Triton's log goes to; standard error when None.
        log_verbose: everything that Triton can tell; never a photo.
        tls_certificate, tls_key: PEM files, both or none. They encrypt both doors.
        tls_client_authority: PEM file of who signs callers' certificates; None: they need none.
        keys: file of API keys; None: those of ``$FACEWRIGHT_KEYS``, or nobody is asked for one.
        public: whether anybody is welcome where other machines reach the doors and no key is asked for.
        allow_hosts: names that the REST door answers to, beside its address.
        forwarded_by: addresses and networks of proxies, who are believed when they say for whom they call.
        allow_origins: web pages of others that may call, such as ``https://play.example``.
    """

    host: str = "127.0.0.1"
    grpc_port: int = 8001
    http_port: int = 8000
    profile: Profile = "cpu"
    pipelines: tuple[str, ...] = ()
    cores: int = 0
    longest_wait_s: float = 2.0
    photo_memory_mib: int = 256
    probe_every_s: float = 30.0
    start_within_s: float = 120.0
    spare: bool = False
    unready_s: float = 0.0
    drain_within_s: float = 60.0
    keep_jobs_s: float = 600.0
    job_memory_mib: int = 256
    networks: Path | None = None
    log: Path | None = None
    log_verbose: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_authority: Path | None = None
    keys: Path | None = None
    public: bool = False
    allow_hosts: tuple[str, ...] = ()
    forwarded_by: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()

    @property
    def usable_cores(self) -> int:
        """CPU cores to size the server for."""
        return self.cores or len(os.sched_getaffinity(0))
