"""The ``facewright`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from facewright.errors import FacewrightError
from facewright_client.contract import OPTIONS, REFINE_OPTIONS, ErrorCode, Option

_DESCRIPTION: Final = """\
One photo in, one game-ready 3D head avatar out.

  facewright serve                              start a server, stop it with Ctrl-C
  facewright create me.jpg -o me.glb            one photo, by the server on this machine
  facewright create photos/*.jpg -o avatars/    many photos; run it again to finish what is missing
  facewright create me.jpg -o me.glb --embedded the same without a server: starts one, stops it after
  facewright doctor                             what is missing on this machine, and the command that mends it

For owners of published networks (needs scripts/setup --export, but for build):

  facewright export twin --weights *.pth        checkpoints to verified ONNX files in a model repository
  facewright build [REPOSITORY]                 TensorRT plans of them, on the GPU that serves
  facewright parity                             how exactly every network's file computes what its module does
"""

#: What `facewright export` knows; the network table says which networks each has.
_PIPELINES: Final = ("twin", "normalized", "rerenderable", "generative", "animatable")
_PRECISIONS: Final = ("fp32", "fp16", "bf16")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 1 something failed, 2 wrong usage."""
    parsed = _parser().parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except FacewrightError as error:
        print(f"error: {error.message}\n  mend: {error.hint}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "facewright", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_create(commands)
    _add_refine(commands)
    _add_serve(commands)
    _add_doctor(commands)
    _add_export(commands)
    _add_build(commands)
    _add_parity(commands)
    return parser


def _add_create(commands: Any) -> None:
    create = commands.add_parser(
        "create",
        help="make avatars of photos",
        description="Make an avatar (.glb) of each photo (JPEG, PNG or WebP). What is finished already, by "
        "the photo's content and the options, is not made again. Exit status 1 when any photo failed.",
    )
    create.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    create.add_argument(
        "-o", "--output", type=Path, required=True, metavar="PATH", help="a .glb for one photo, else a folder"
    )
    create.add_argument("--preview", action="store_true", help="also write NAME.preview.png")
    create.add_argument("--report", action="store_true", help="also write NAME.report.json")
    create.add_argument("--again", action="store_true", help="make finished avatars again")
    server = create.add_argument_group("server")
    server.add_argument(
        "--server",
        default="localhost:8001",
        metavar="HOST:PORT",
        help="(default: %(default)s)",
    )
    server.add_argument(
        "--tls-authority",
        type=Path,
        metavar="PEM",
        help="connect encrypted; who signed the server's certificate, or the certificate itself",
    )
    server.add_argument("--embedded", action="store_true", help="start a server for this, and stop it after")
    server.add_argument(
        "--pipeline", default="avatar_twin", help="the ensemble to ask (default: %(default)s)"
    )
    server.add_argument(
        "--parallel",
        type=_positive,
        default=4,
        metavar="N",
        help="photos under way at once (default: %(default)s)",
    )
    server.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        metavar="S",
        help="seconds for one photo (default: %(default)s)",
    )
    options = create.add_argument_group("options of the avatar")
    for name, option in OPTIONS.items():
        options.add_argument(
            f"--{name.replace('_', '-')}", dest=f"option_{name}", metavar=_values(option), help=_help(option)
        )
    create.set_defaults(run=_create)


def _add_refine(commands: Any) -> None:
    refine = commands.add_parser(
        "refine",
        help="refine the latents of a face",
        description="Change latents until the render matches the photo, with a progress bar. START is an "
        ".npz with face_crop, face_mask, intrinsics, head_to_camera, sh_light and w_plus.",
    )
    refine.add_argument("start", type=Path, metavar="START")
    refine.add_argument(
        "-o", "--output", type=Path, required=True, metavar="PATH", help="the .npz of the result"
    )
    refine.add_argument("--preview", type=Path, metavar="JPEG", help="also write the last picture")
    refine.add_argument(
        "--server", default="localhost:8001", metavar="HOST:PORT", help="(default: %(default)s)"
    )
    refine.add_argument("--tls-authority", type=Path, metavar="PEM", help="connect encrypted, see create")
    refine.add_argument("--timeout", type=float, default=600.0, metavar="S", help="(default: %(default)s)")
    options = refine.add_argument_group("options of the refinement")
    for name, option in REFINE_OPTIONS.items():
        options.add_argument(
            f"--{name.replace('_', '-')}", dest=f"option_{name}", metavar=_values(option), help=_help(option)
        )
    refine.set_defaults(run=_refine)


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser(
        "serve",
        help="start a server and keep it alive",
        description="Start Triton with every pipeline, wait until each stage has answered a real photo, and "
        "restart it when a stage dies or falls silent. SIGTERM and Ctrl-C let requests in flight finish.",
    )
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s; 0.0.0.0: everywhere)"
    )
    for port, default in (("grpc", 8001), ("http", 8000), ("metrics", 8002)):
        serve.add_argument(
            f"--{port}-port",
            type=int,
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
        "--cores", type=int, default=0, metavar="N", help="CPU cores to size the stages for (default: all)"
    )
    serve.add_argument(
        "--longest-wait",
        type=float,
        default=30.0,
        metavar="S",
        help="answer OVERLOADED to requests that wait longer, seconds (default: %(default)s; 0: never)",
    )
    serve.add_argument(
        "--probe-every",
        type=float,
        default=30.0,
        metavar="S",
        help="prove an idle server alive by a real request this often, seconds (default: %(default)s)",
    )
    serve.add_argument(
        "--networks", type=Path, metavar="REPOSITORY", help="also serve what facewright export wrote there"
    )
    serve.add_argument("--log", type=Path, metavar="FILE", help="Triton's log (default: standard error)")
    serve.add_argument(
        "--tls-certificate",
        type=Path,
        metavar="PEM",
        help="serve gRPC encrypted, and HTTP to this machine only; needs --tls-key",
    )
    serve.add_argument("--tls-key", type=Path, metavar="PEM", help="the certificate's private key")
    serve.set_defaults(run=_serve)


def _add_doctor(commands: Any) -> None:
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


def _add_export(commands: Any) -> None:
    export = commands.add_parser(
        "export",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="published checkpoints to verified ONNX files",
        description="""\
Turn checkpoints in their published formats into a Triton model repository.

Each network is read strictly (every key must have its place; nothing in a file is run), written as ONNX with
a dynamic batch, linted against TensorRT 10.12 to 11, and run beside the original on ONNX Runtime: a network
that computes something else is not written. Exporting again adds a version; Triton serves the newest two.

  facewright export twin --weights LightCNN_29Layers_V2_checkpoint.pth.tar shape_decoder.pt
  facewright export normalized --weights models/* --precision fp16 --profile tensorrt
  facewright export normalized --network perceptual_distance --weights perceptual_distance=vgg16.pth,vgg.pth
  facewright export animatable --weights deca_model.tar generic_model.pkl --check""",
    )
    export.add_argument("pipeline", choices=_PIPELINES, metavar="PIPELINE", help=", ".join(_PIPELINES))
    export.add_argument(
        "--weights",
        nargs="+",
        required=True,
        metavar="FILE",
        help="checkpoint files; which network each holds is found by what fits, or said: NETWORK=FILE[,FILE]",
    )
    export.add_argument(
        "--precision",
        choices=_PRECISIONS,
        default="fp32",
        help="of the files, with fp32 layers where a narrower type overflows (default: %(default)s)",
    )
    export.add_argument(
        "--profile",
        choices=("cpu", "cuda", "tensorrt"),
        default="cpu",
        help="whose configuration is the default; all three are written (default: %(default)s)",
    )
    export.add_argument("--check", action="store_true", help="verify everything and write nothing")
    export.add_argument(
        "--network", nargs="+", default=(), metavar="NAME", help="only these networks of the pipeline"
    )
    export.add_argument(
        "--output",
        type=Path,
        metavar="REPOSITORY",
        help="the model repository (default: model_repository in Facewright's cache folder)",
    )
    export.set_defaults(run=_export)


def _add_build(commands: Any) -> None:
    build = commands.add_parser(
        "build",
        help="TensorRT plans, on the GPU that serves them",
        description="Build a TensorRT plan of the newest version of every exported network, for the GPU of "
        "this machine. The ONNX file says precision and batch range. A plan comes with a file that says what "
        "it was built for, and is refused anywhere else. Not run on hardware by this project yet.",
    )
    build.add_argument(
        "repository",
        type=Path,
        nargs="?",
        metavar="REPOSITORY",
        help="what facewright export wrote (default: the open networks, for serve --profile tensorrt)",
    )
    build.add_argument("--network", nargs="+", default=(), metavar="NAME", help="only these")
    weights = build.add_mutually_exclusive_group()
    weights.add_argument("--strip", action="store_true", help="plans without weights, to be shipped alone")
    weights.add_argument(
        "--restore", action="store_true", help="put the weights of model.onnx into such plans"
    )
    weights.add_argument(
        "--refittable", action="store_true", help="plans whose weights can be exchanged later"
    )
    build.add_argument("--tf32", action="store_true", help="let fp32 layers round their inputs to 10 bits")
    build.add_argument(
        "--aux-streams", type=int, metavar="N", help="more streams for branches (default: TensorRT's)"
    )
    build.add_argument("--workspace-gb", type=float, metavar="GB", help="memory of one layer (default: all)")
    build.add_argument(
        "--level",
        type=int,
        choices=range(6),
        default=3,
        help="0 builds fast, 5 tries everything (default: 3)",
    )
    build.set_defaults(run=_build)


def _add_parity(commands: Any) -> None:
    parity = commands.add_parser(
        "parity",
        help="how exactly exported files compute",
        description="Export every network at its published size with seeded weights, run each file on ONNX "
        "Runtime beside the module in torch float32, and print cosine, relative L2, the largest difference, "
        "and the error in millimetres, degrees, ΔE or σ beside what its gate allows. Exit status 1 when a "
        "gate fails. Takes minutes.",
    )
    parity.add_argument(
        "--pipeline", nargs="+", choices=_PIPELINES, default=(), help="only these (default: all)"
    )
    parity.add_argument(
        "--precision", nargs="+", choices=_PRECISIONS, default=("fp32", "fp16"), help="(default: fp32 fp16)"
    )
    parity.add_argument("--json", type=Path, metavar="FILE", help="also write the rows")
    parity.set_defaults(run=_parity)


# Each command imports what it needs: `facewright create` against a server far away needs no onnxruntime.


def _create(parsed: argparse.Namespace) -> int:
    from facewright.batch_create import Batch, create_avatars
    from facewright.options import AvatarOptions

    given = {name: value for name in OPTIONS if (value := getattr(parsed, f"option_{name}")) is not None}
    validated = AvatarOptions.from_parameters(given).to_dict()
    batch = Batch(
        photos=tuple(parsed.photos),
        output=parsed.output,
        options={name: validated[name] for name in given},
        pipeline=parsed.pipeline,
        preview=parsed.preview,
        report=parsed.report,
        again=parsed.again,
        parallel=parsed.parallel,
        timeout_s=parsed.timeout,
    )
    if not parsed.embedded:
        from facewright_client import Tls

        tls = Tls(parsed.tls_authority) if parsed.tls_authority else None
        return create_avatars(batch, parsed.server, tls)
    from facewright.serve_command import NOT_STARTED, embedded_server

    try:
        with embedded_server() as server:
            return create_avatars(batch, server.url)
    except NOT_STARTED as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _refine(parsed: argparse.Namespace) -> int:
    from facewright.options import validated_options
    from facewright.refine_command import RefineCommand, refine_latents
    from facewright_client import Tls

    given = {
        name: value for name in REFINE_OPTIONS if (value := getattr(parsed, f"option_{name}")) is not None
    }
    return refine_latents(
        RefineCommand(
            parsed.start,
            parsed.output,
            parsed.server,
            validated_options(given, REFINE_OPTIONS),
            parsed.preview,
            parsed.timeout,
            Tls(parsed.tls_authority) if parsed.tls_authority else None,
        )
    )


def _serve(parsed: argparse.Namespace) -> int:
    from facewright.serve_command import serve
    from facewright.server import ServerSettings

    if (parsed.tls_certificate is None) != (parsed.tls_key is None):
        print("error: --tls-certificate and --tls-key go together", file=sys.stderr)
        return 2
    return serve(
        ServerSettings(
            host=parsed.host,
            grpc_port=parsed.grpc_port,
            http_port=parsed.http_port,
            metrics_port=parsed.metrics_port,
            profile=parsed.profile,
            cores=parsed.cores,
            longest_wait_ms=round(1e3 * parsed.longest_wait),
            probe_every_s=parsed.probe_every,
            networks=parsed.networks,
            log=parsed.log,
            tls_certificate=parsed.tls_certificate,
            tls_key=parsed.tls_key,
        )
    )


def _doctor(parsed: argparse.Namespace) -> int:
    from facewright.doctor import examine

    return examine(install=parsed.install, quiet=parsed.quiet)


def _export(parsed: argparse.Namespace) -> int:
    with _export_environment():
        from facewright_export.export_command import ExportRequest, default_repository, export_pipeline
        from facewright_export.precision import Precision
    return export_pipeline(
        ExportRequest(
            pipeline=parsed.pipeline,
            weights=tuple(parsed.weights),
            precision=Precision(parsed.precision),
            profile=parsed.profile,
            output=parsed.output or default_repository(),
            only=tuple(parsed.network),
            check=parsed.check,
        )
    )


def _build(parsed: argparse.Namespace) -> int:
    from facewright_export.tensorrt.build_command import build_repository, restore_repository
    from facewright_export.tensorrt.plan_builder import BuildOptions

    if parsed.restore and parsed.repository is None:
        print("error: --restore needs a REPOSITORY", file=sys.stderr)
        return 2
    if parsed.restore:
        return restore_repository(parsed.repository, parsed.network)
    options = BuildOptions(
        strip=parsed.strip,
        refittable=parsed.refittable,
        tf32=parsed.tf32,
        aux_streams=parsed.aux_streams,
        workspace_bytes=None if parsed.workspace_gb is None else round(parsed.workspace_gb * 2**30),
        optimisation_level=parsed.level,
    )
    return build_repository(parsed.repository, parsed.network, options)


def _parity(parsed: argparse.Namespace) -> int:
    with _export_environment():
        from facewright_export.parity_command import run_parity
        from facewright_export.precision import Precision
    return run_parity(parsed.pipeline, [Precision(name) for name in parsed.precision], parsed.json)


@contextmanager
def _export_environment() -> Iterator[None]:
    """Says how to get what only exporting needs, where it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise FacewrightError(
            ErrorCode.INTERNAL,
            f"exporting networks needs {error.name}, which this environment, made for serving, does not have",
            "scripts/setup --export, then .venv-export/bin/facewright with the same arguments",
        ) from error


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _values(option: Option) -> str:
    if option.choices:
        return "|".join(map(str, option.choices))
    return {bool: "true|false", int: "N", float: "X", str: "TEXT"}[option.kind]


def _help(option: Option) -> str:
    allowed = "" if option.minimum is None else f", {option.minimum:g} to {option.maximum:g}"
    default = str(option.default).lower() if option.kind is bool else option.default
    return f"{option.meaning}{allowed} (default: {default})"


if __name__ == "__main__":
    sys.exit(main())
