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
from facewright.cli.messages import complain


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
        "--longest-wait",
        type=arguments.seconds_or_never,
        default=2.0,
        metavar="S",
        help="refuse whoever could not be let in within so long, seconds (default: %(default)s; 0: nobody)",
    )
    serve.add_argument(
        "--photo-memory",
        type=arguments.count,
        default=256,
        metavar="MIB",
        help="hold as much of requests, MiB; gRPC reads one for each 32 at a time (default: %(default)s)",
    )
    serve.add_argument(
        "--probe-every",
        type=arguments.seconds,
        default=30.0,
        metavar="S",
        help="prove an idle server alive by a real request this often, seconds (default: %(default)s)",
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
        "--tls-certificate",
        type=Path,
        metavar="PEM",
        help="serve encrypted, gRPC and REST; needs --tls-key",
    )
    serve.add_argument("--tls-key", type=Path, metavar="PEM", help="the certificate's private key")
    serve.add_argument(
        "--tls-client-authority",
        type=Path,
        metavar="PEM",
        help="take callers only who show a certificate that it signed (mutual TLS)",
    )
    serve.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help="take callers only with an API key of this file (facewright keys new makes one; also "
        "$FACEWRIGHT_KEYS, with what such a file holds)",
    )
    serve.add_argument(
        "--public",
        action="store_true",
        help="serve whoever comes, where --host is reached from other machines and there are no keys",
    )
    serve.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that this server is called by (repeatable)",
    )
    serve.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="web pages that may call, such as https://play.example, or * (repeatable)",
    )
    serve.add_argument(
        "--spare",
        action="store_true",
        help="keep a second Triton loaded that takes over at once where the first dies: twice the memory",
    )
    serve.add_argument(
        "--unready",
        type=arguments.seconds_or_never,
        default=0.0,
        metavar="S",
        help="before it stops, be not ready for so long and answer whoever comes all the same, seconds, so "
        "that balancers see it (default: %(default)s)",
    )
    serve.add_argument(
        "--drain",
        type=arguments.seconds_or_never,
        default=60.0,
        metavar="S",
        help="when it stops, answer those who are in the house for so long, seconds (default: %(default)s)",
    )
    serve.set_defaults(run=_serve)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(filter(None, map(str.strip, text.split(","))))
    if not names:
        raise argparse.ArgumentTypeError(f"{text!r} names no pipeline; leave the option out to serve all")
    return names


def _serve(parsed: argparse.Namespace) -> int:
    with leaving_at_once():
        from facewright.cli.serve_command import serve
        from facewright.server import ServerSettings

    if (parsed.tls_certificate is None) != (parsed.tls_key is None):
        complain("--tls-certificate and --tls-key go together", "give both")
        return arguments.WRONG_USAGE
    problem = _unusable(parsed)
    if problem:
        complain(*problem)
        return arguments.WRONG_USAGE
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
            allow_hosts=tuple(parsed.allow_host),
            allow_origins=tuple(parsed.allow_origin),
            spare=parsed.spare,
            unready_s=parsed.unready,
            drain_within_s=parsed.drain,
        )
    )


def _unusable(parsed: argparse.Namespace) -> tuple[str, str] | None:
    """What is wrong with the ports and files that a server is to start with, and the mend.

    Triton would say it in its log, after loading everything.
    """
    ports = [port for port in (parsed.grpc_port, parsed.http_port) if port]
    if len(set(ports)) < len(ports):
        return "two of the ports are the same", "give --grpc-port and --http-port that differ"
    if parsed.tls_certificate is not None:
        arguments.require_readable(parsed.tls_certificate, "--tls-certificate")
        arguments.require_readable(parsed.tls_key, "--tls-key")
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(parsed.tls_certificate, parsed.tls_key, password="")
        except ssl.SSLError:
            files = f"{parsed.tls_certificate} and {parsed.tls_key}"
            return f"{files} are no certificate and its key", "give PEM files that belong together"
    if parsed.log is not None:
        from facewright.server.triton_log import require_log

        for option, path in (("--tls-certificate", parsed.tls_certificate), ("--tls-key", parsed.tls_key)):
            if path is not None and parsed.log.exists() and parsed.log.samefile(path):
                return f"--log {parsed.log} is the file of {option}", "name another file"
        require_log(parsed.log)
    return None


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
    doctor.set_defaults(run=_doctor)


def _doctor(parsed: argparse.Namespace) -> int:
    try:
        with leaving_at_once():
            from facewright.cli.doctor import examine
    except ImportError as error:
        mend = "python -m pip install --constraint constraints.txt -e ./client -e '.[assets]'"
        print(f"✗ Python packages: {error}\n  mend: {typed_here(mend)}")
        return 1
    return examine(install=parsed.install, quiet=parsed.quiet)
