"""``facewright serve`` and ``facewright doctor``: the server and the machine it runs on."""

from __future__ import annotations

import argparse
import math
import ssl
from pathlib import Path
from typing import Any

from facewright.cli import arguments
from facewright.cli.interrupts import leaving_at_once
from facewright.cli.mends import typed_here
from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode


def add_serve(commands: Any) -> None:
    """The arguments of ``facewright serve``."""
    serve = commands.add_parser(
        "serve",
        help="start a server and keep it alive",
        description="Start Triton with the pipelines, wait until each stage has answered a real photo, and "
        "restart it when a stage dies or falls silent. SIGTERM and Ctrl-C let requests in flight finish.",
    )
    serve.add_argument(
        "--host",
        type=arguments.host,
        default="127.0.0.1",
        help="address to listen on (default: %(default)s; 0.0.0.0: everywhere)",
    )
    for port, default in (("grpc", 8001), ("http", 8000)):
        serve.add_argument(
            f"--{port}-port",
            type=arguments.port,
            default=default,
            metavar="PORT",
            help="default: %(default)s; 0: a free one",
        )
    serve.add_argument(
        "--profile",
        choices=("cpu", "cuda", "tensorrt"),
        default="cpu",
        help="what networks run on (default: %(default)s); the server does not start where it cannot",
    )
    serve.add_argument(
        "--cores",
        type=arguments.count_or_all,
        default=0,
        metavar="N",
        help="CPU cores to size the stages for (default: 0, all)",
    )
    serve.add_argument(
        "--photo-memory",
        type=arguments.count,
        default=256,
        metavar="MIB",
        help="hold as much of requests, MiB; gRPC reads one for each 32 at a time (default: %(default)s)",
    )
    serve.add_argument(
        "--pipelines",
        type=_names,
        default=(),
        metavar="NAME,…",
        help="what is served (default: all; docs/pipelines.md; $FACEWRIGHT_PIPELINES names files of more)",
    )
    serve.add_argument(
        "--networks", type=Path, metavar="REPOSITORY", help="also serve what facewright export wrote there"
    )
    serve.add_argument(
        "--log",
        type=arguments.log_file,
        metavar="FILE",
        help="add Triton's log to this file (default: standard error)",
    )
    serve.add_argument(
        "--spare",
        action="store_true",
        help="keep a second Triton loaded that takes over at once where the first dies: twice the memory",
    )
    serve.add_argument(
        "--job-memory",
        type=arguments.count,
        default=256,
        metavar="MIB",
        help="keep so much of what jobs gave at most, MiB (default: %(default)s)",
    )
    _add_times(serve.add_argument_group("times, in seconds"))
    _add_callers(serve.add_argument_group("who may call"))
    serve.set_defaults(run=_serve)


def _add_times(group: Any) -> None:
    for option, kind, default, meaning in (
        (
            "--longest-wait",
            arguments.seconds_or_never,
            2.0,
            "refuse whoever could not be let in within so long; 0: nobody",
        ),
        ("--probe-every", arguments.seconds, 30.0, "prove an idle server alive by a real request this often"),
        (
            "--unready",
            arguments.seconds_or_never,
            0.0,
            "before it stops, be not ready for so long and answer whoever comes all the same, so that "
            "balancers see it",
        ),
        (
            "--drain",
            arguments.seconds_or_never,
            60.0,
            "when it stops, answer those who are in the house for so long, and let the results of jobs be "
            "fetched",
        ),
        ("--keep-jobs", arguments.seconds, 600.0, "keep what a job gave for so long, in memory"),
    ):
        group.add_argument(
            option, type=kind, default=default, metavar="S", help=f"{meaning} (default: %(default)s)"
        )


def _add_callers(group: Any) -> None:
    for option, metavar, meaning in (
        ("--tls-certificate", "PEM", "serve encrypted, gRPC and REST; needs --tls-key"),
        ("--tls-key", "PEM", "the certificate's private key"),
        (
            "--tls-client-authority",
            "PEM",
            "take callers only who show a certificate that it signed (mutual TLS)",
        ),
        (
            "--keys",
            "FILE",
            "take callers only with an API key of this file (facewright keys new makes one; also "
            "$FACEWRIGHT_KEYS, with what such a file holds)",
        ),
    ):
        group.add_argument(option, type=Path, metavar=metavar, help=meaning)
    group.add_argument(
        "--public",
        action="store_true",
        help="serve whoever comes, where --host is reached from other machines and there are no keys",
    )
    for option, metavar, meaning in (
        ("--allow-host", "NAME", "a name that this server is called by"),
        ("--allow-origin", "ORIGIN", "web pages that may call, such as https://play.example, or *"),
        (
            "--forwarded-by",
            "ADDRESS",
            "a proxy, or network of them, whose X-Forwarded-For says who calls: fairness between callers "
            "without keys is by it",
        ),
    ):
        group.add_argument(
            option, action="append", default=[], metavar=metavar, help=f"{meaning} (repeatable)"
        )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(filter(None, map(str.strip, text.split(","))))
    if not names:
        raise argparse.ArgumentTypeError(f"{text!r} names no pipeline; leave the option out to serve all")
    return names


def _serve(parsed: argparse.Namespace) -> int:
    with leaving_at_once():
        from facewright.cli.serve_command import serve
        from facewright.server import ServerSettings

    _require_usable(parsed)
    return serve(
        ServerSettings(
            host=parsed.host,
            grpc_port=parsed.grpc_port,
            http_port=parsed.http_port,
            profile=parsed.profile,
            cores=parsed.cores,
            longest_wait_s=parsed.longest_wait or math.inf,
            photo_memory_mib=parsed.photo_memory,
            probe_every_s=parsed.probe_every,
            pipelines=parsed.pipelines,
            networks=parsed.networks,
            log=parsed.log,
            tls_certificate=parsed.tls_certificate,
            tls_key=parsed.tls_key,
            tls_client_authority=parsed.tls_client_authority,
            keys=parsed.keys,
            public=parsed.public,
            forwarded_by=tuple(parsed.forwarded_by),
            allow_hosts=tuple(parsed.allow_host),
            allow_origins=tuple(parsed.allow_origin),
            spare=parsed.spare,
            unready_s=parsed.unready,
            drain_within_s=parsed.drain,
            keep_jobs_s=parsed.keep_jobs,
            job_memory_mib=parsed.job_memory,
        )
    )


def _require_usable(parsed: argparse.Namespace) -> None:
    """Refuse ports and files that no server can start with: Triton would say it in its log, after loading
    everything.

    Raises:
        FacewrightError: BAD_OPTION.
    """
    certificate, key, log = parsed.tls_certificate, parsed.tls_key, parsed.log
    if (certificate is None) != (key is None):
        raise _bad("--tls-certificate and --tls-key go together", "give both")
    if parsed.grpc_port == parsed.http_port != 0:
        raise _bad("two of the ports are the same", "give --grpc-port and --http-port that differ")
    if certificate is not None:
        arguments.require_readable(certificate, "--tls-certificate")
        arguments.require_readable(key, "--tls-key")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
        except ssl.SSLError:
            raise _bad(
                f"{certificate} and {key} are no certificate and its key",
                "give PEM files that belong together",
            ) from None
    if log is not None:
        from facewright.server.triton_log import require_log

        for option, path in (("--tls-certificate", certificate), ("--tls-key", key)):
            if path is not None and log.exists() and log.samefile(path):
                raise _bad(f"--log {log} is the file of {option}", "name another file")
        require_log(log)


def _bad(what: str, mend: str) -> FacewrightError:
    return FacewrightError(ErrorCode.BAD_OPTION, what, mend)


def add_doctor(commands: Any) -> None:
    """The arguments of ``facewright doctor``."""
    doctor = commands.add_parser(
        "doctor",
        help="check this machine",
        description="Check everything that serving needs, and name the command that mends what is missing.",
    )
    doctor.add_argument(
        "--install",
        action="store_true",
        help="install what is missing, where this user may (the Triton runtime)",
    )
    doctor.add_argument("--quiet", action="store_true", help="show only what is wrong")
    doctor.add_argument(
        "--networks",
        type=Path,
        metavar="REPOSITORY",
        help="of facewright export: say of each pipeline whose weights it would run",
    )
    doctor.set_defaults(run=_doctor)


def _doctor(parsed: argparse.Namespace) -> int:
    try:
        with leaving_at_once():
            from facewright.cli.doctor import examine
    except ImportError as error:
        mend = "python -m pip install --constraint constraints.txt -e ./client -e '.[assets]'"
        print(f"✗ Python packages: {error}\n  mend: {typed_here(mend)}")
        return 1
    return examine(parsed.install, parsed.quiet, parsed.networks)
