"""``facewright export``, ``build`` and ``parity``, which pyproject.toml names in ``facewright.commands``.

The command line reads this file whatever was asked for, so that it imports next to nothing: what a command
needs, torch above all, is imported when it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from facewright.cli.arguments import written_file
from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

#: What `facewright export` knows; the network tables say which networks each has.
_PIPELINES: Final = ("twin", "normalized", "rerenderable", "generative", "animatable")
#: What is exported beside the pipelines' networks.
_CORRESPONDENCE: Final = "correspondence"
_PRECISIONS: Final = ("fp32", "fp16", "bf16")


def add_export(commands: Any) -> None:
    """The arguments of ``facewright export``."""
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
  facewright export animatable --weights deca_model.tar generic_model.pkl --check

A head of FLAME, BFM or another mesh becomes an avatar by its correspondence with the open head, of which a
picture is written, too:

  facewright export correspondence --weights generic_model.pkl flame_static_embedding.pkl
  facewright export correspondence --weights BFM_model_front.mat
  facewright export correspondence --weights mesh.obj landmarks.json --metres-per-unit 0.01""",
    )
    what = (*_PIPELINES, _CORRESPONDENCE)
    export.add_argument("pipeline", choices=what, metavar="PIPELINE", help=", ".join(what))
    export.add_argument(
        "--weights",
        nargs="+",
        action="extend",
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
        "--network",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="only these networks of the pipeline",
    )
    export.add_argument(
        "--output",
        type=Path,
        metavar="REPOSITORY",
        help="the model repository (default: model_repository in Facewright's cache folder)",
    )
    export.add_argument(
        "--metres-per-unit", type=float, metavar="M", help="of a mesh's correspondence (default: by its size)"
    )
    export.set_defaults(run=_export)


def _export(parsed: argparse.Namespace) -> int:
    if parsed.pipeline == _CORRESPONDENCE:
        return _correspondence(parsed)
    with _export_environment():
        from facewright_export.export_command import ExportRequest, default_repository, export_pipeline
        from facewright_export.onnx.precision import Precision
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


def _correspondence(parsed: argparse.Namespace) -> int:
    if parsed.network or parsed.precision != "fp32":
        print("error: a correspondence is no network; leave out --network and --precision", file=sys.stderr)
        return 2
    with _export_environment():
        from facewright_export.head_correspondence.correspondence_command import (
            CorrespondenceRequest,
            export_correspondence,
        )
    output: Path | None = parsed.output
    if output is None:
        with _export_environment():
            from facewright_export.export_command import default_repository
        output = default_repository()
    return export_correspondence(
        CorrespondenceRequest(
            files=tuple(Path(file).expanduser() for file in parsed.weights),
            output=output,
            metres_per_unit=parsed.metres_per_unit,
            check=parsed.check,
        )
    )


def add_build(commands: Any) -> None:
    """The arguments of ``facewright build``."""
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
    build.add_argument(
        "--check",
        action="store_true",
        help="hold each plan to its ONNX file by the bounds of the export; needs scripts/setup --export",
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


def _build(parsed: argparse.Namespace) -> int:
    with _packages_of(
        "building plans", "pip install --constraint constraints.txt onnx   (in the source tree)"
    ):
        from facewright_export.tensorrt.build_command import build_repository, restore_repository
        from facewright_export.tensorrt.plan_builder import BuildOptions

    if parsed.restore and parsed.repository is None:
        print("error: --restore needs a REPOSITORY", file=sys.stderr)
        return 2
    if parsed.check and (parsed.repository is None or parsed.strip or parsed.restore):
        print("error: --check needs a REPOSITORY, and builds plans with weights", file=sys.stderr)
        return 2
    if parsed.restore:
        return restore_repository(parsed.repository, parsed.network)
    check: Callable[[Path, Path], str] | None = None
    if parsed.check:
        with _export_environment():
            from facewright_export.tensorrt.plan_parity import plan_parity
        check = plan_parity
    options = BuildOptions(
        strip=parsed.strip,
        refittable=parsed.refittable,
        tf32=parsed.tf32,
        aux_streams=parsed.aux_streams,
        workspace_bytes=None if parsed.workspace_gb is None else round(parsed.workspace_gb * 2**30),
        optimisation_level=parsed.level,
    )
    return build_repository(parsed.repository, parsed.network, options, check)


def add_parity(commands: Any) -> None:
    """The arguments of ``facewright parity``."""
    parity = commands.add_parser(
        "parity",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="how exactly exported files compute",
        description="""\
Export networks at their published size with seeded weights, run each file on ONNX Runtime beside the module
in torch float32, and print cosine, relative L2, and the error in millimetres, degrees, ΔE or σ beside what
its gate allows. Exit status 1 when a gate fails. Takes minutes.

  facewright parity                                         every network in fp32 and fp16
  facewright parity --pipeline twin --precision bf16        those of one pipeline
  facewright parity --network mica --precision fp16 --layers
                                      the layers of the narrow file where errors come from, and how large""",
    )
    parity.add_argument(
        "--pipeline", nargs="+", choices=_PIPELINES, default=(), help="only these (default: all)"
    )
    parity.add_argument("--network", nargs="+", default=(), metavar="NAME", help="only these of them")
    parity.add_argument(
        "--precision", nargs="+", choices=_PRECISIONS, default=("fp32", "fp16"), help="(default: fp32 fp16)"
    )
    what = parity.add_mutually_exclusive_group()
    what.add_argument("--json", type=written_file, metavar="FILE", help="also write the rows")
    what.add_argument(
        "--layers",
        action="store_true",
        help="compare the tensors inside fp16 and bf16 files with float32 instead: which layer deviates",
    )
    parity.set_defaults(run=_parity)


def _parity(parsed: argparse.Namespace) -> int:
    with _export_environment():
        from facewright_export.onnx.precision import Precision
        from facewright_export.parity.parity_command import networks_of, run_layers, run_parity
    networks = networks_of(parsed.pipeline, parsed.network)
    precisions = [Precision(name) for name in parsed.precision]
    if parsed.layers:
        return run_layers(networks, precisions)
    return run_parity(networks, precisions, parsed.json)


def _export_environment() -> AbstractContextManager[None]:
    """Says how to get what only exporting needs, where it is missing."""
    mend = "scripts/setup --export, then .venv-export/bin/facewright with the same arguments"
    return _packages_of("exporting networks", mend)


@contextmanager
def _packages_of(work: str, mend: str) -> Iterator[None]:
    """Says how to get what this work imports, where it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise FacewrightError(
            ErrorCode.INTERNAL,
            f"{work} needs {error.name}, which this environment, made for serving, does not have",
            mend,
        ) from error
