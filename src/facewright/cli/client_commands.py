"""``facewright create`` and ``facewright refine``: what is asked of a server."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from facewright.cli import arguments
from facewright.cli.connection_arguments import DEFAULT_SERVER, add_connection, connection_of
from facewright.cli.interrupts import leaving_at_once
from facewright.cli.messages import complain, say
from facewright.cli.other_names import our_option
from facewright.core.errors import FacewrightError
from facewright.core.options import Option, plain_number, validated_options
from facewright.pipelines.refinement import REFINE_OPTIONS, REFINEMENT
from facewright.pipelines.registry import pipeline, pipelines
from facewright.pipelines.stages import Pipeline
from facewright_client._avatar_name import glb_instead
from facewright_client.contract import GLB, MAX_CODES, MERGE_PIPELINE, PHOTO, PHOTO_FORMATS, ErrorCode

if TYPE_CHECKING:
    pass

DEFAULT_PIPELINE: Final = "avatar_twin"
#: Seconds for one photo, and of them for a server that is not there, where no --timeout says another time.
LONGEST_S: Final = 120.0
LONGEST_UNAVAILABLE_S: Final = 30.0


def add_create(commands: Any, asked: str | None) -> None:
    """The arguments of ``facewright create``.

    Args:
        commands: argparse's.
        asked: the pipeline whose options there are; None: another command is run.

    Raises:
        FacewrightError: BAD_OPTION when there is no such pipeline, or it makes no avatars of photos.
    """
    create = commands.add_parser(
        "create",
        help="make avatars of photos",
        description=f"Make an avatar (.glb) of each photo ({PHOTO_FORMATS}), or of its code (.code). What is "
        "finished already, by the photo's content and the options, is not made again. Exit status 1 when any "
        "photo failed, 2 when nothing was tried because of what was typed.",
    )
    create.add_argument("photos", nargs="+", type=arguments.photo, metavar="PHOTO")
    create.add_argument(
        "-o",
        "--output",
        type=_output,
        required=True,
        metavar="PATH",
        help="a .glb for one photo or person, else a folder",
    )
    create.add_argument("--preview", action="store_true", help="also write NAME.preview.png")
    create.add_argument("--report", action="store_true", help="also write NAME.report.json")
    create.add_argument(
        "--code",
        action="store_true",
        help="also write NAME.code, of which the avatar is made again, or with others of the same person, "
        "without the photo: biometric data, to be kept as the photo would be",
    )
    create.add_argument(
        "--together",
        action="store_true",
        help=f"all photos, at most {MAX_CODES}, are of one person: make one avatar of them",
    )
    create.add_argument("--again", action="store_true", help="make finished avatars again")
    server = create.add_argument_group("server")
    add_connection(server)
    server.add_argument("--embedded", action="store_true", help="start a server for this, and stop it after")
    server.add_argument(
        "--pipeline",
        default=DEFAULT_PIPELINE,
        metavar="NAME",
        help="what makes the avatar; each has its own options (default: %(default)s)",
    )
    server.add_argument(
        "--parallel",
        type=arguments.count,
        default=4,
        metavar="N",
        help="photos under way at once (default: %(default)s)",
    )
    server.add_argument(
        "--timeout",
        type=arguments.seconds,
        metavar="S",
        help="seconds for one photo, and for a server to start answering (default: "
        f"{LONGEST_S:g}, and {LONGEST_UNAVAILABLE_S:g})",
    )
    if asked is not None:
        avatars = [name for name, row in pipelines().items() if _makes_avatars(row)]
        row = pipeline(asked, avatars)
        if row.name not in avatars:
            instead = "facewright refine runs it; " if row in REFINEMENT else ""
            if row.name == MERGE_PIPELINE:
                instead = "codes are given in a photo's place, with no --pipeline; "
            raise FacewrightError(
                ErrorCode.BAD_OPTION,
                f"pipeline {row.name} makes no avatar of a photo",
                f"{instead}--pipeline is one of: {', '.join(avatars)}",
            )
        _add_options(create.add_argument_group(f"options of {row.name}"), row.options)
    create.set_defaults(run=_create)


def _create(parsed: argparse.Namespace) -> int:
    with leaving_at_once():
        from facewright.cli.batch import Batch, each_once
        from facewright.cli.create_command import create_avatars, prepare
        from facewright_client import RetryPolicy

    options = pipeline(parsed.pipeline).options
    batch = Batch(
        photos=each_once(parsed.photos),
        output=parsed.output,
        options=validated_options(_given(parsed, options), options),
        pipeline=parsed.pipeline,
        preview=parsed.preview,
        report=parsed.report,
        code=parsed.code,
        together=parsed.together,
        again=parsed.again,
        parallel=parsed.parallel,
    )
    if parsed.embedded and (parsed.server != DEFAULT_SERVER or parsed.tls_authority is not None):
        raise FacewrightError(
            ErrorCode.BAD_OPTION,
            "--embedded starts a server of its own, and --server or --tls-authority name another",
            "leave one of them out",
        )
    # An explicit time is for a server that is not there, too.
    unavailable_s = parsed.timeout or LONGEST_UNAVAILABLE_S
    connection = replace(
        connection_of(parsed, parsed.timeout or LONGEST_S), retries=RetryPolicy(unavailable_s=unavailable_s)
    )
    if not prepare(batch):
        return 1
    if not parsed.embedded:
        return create_avatars(batch, parsed.server, connection)
    with leaving_at_once():
        from facewright.cli.serve_command import NOT_STARTED, embedded_server, not_started

    say("starting a server …")
    try:
        with embedded_server() as server:
            return create_avatars(batch, server.url, connection)
    except NOT_STARTED as error:
        complain(*not_started(error))
        return 1


def where_else(command: str) -> Callable[[str], str]:
    """Where an option that a command does not have is one: under another name, of another pipeline, or of
    another command."""

    def place(option: str) -> str:
        named = our_option(command, option)
        if named:
            return f"did you mean {named}?"
        name = option.removeprefix("--").replace("-", "_")
        if command == "create":
            if name in REFINE_OPTIONS:
                return f"{option} is an option of facewright refine"
            having = [row.name for row in pipelines().values() if name in row.options]
            return f"{option} is an option of --pipeline {' and '.join(having)}" if having else ""
        return ""

    return place


def add_refine(commands: Any) -> None:
    """The arguments of ``facewright refine``."""
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
    add_connection(refine)
    refine.add_argument(
        "--timeout", type=arguments.seconds, default=600.0, metavar="S", help="(default: %(default)s)"
    )
    _add_options(refine.add_argument_group("options of the refinement"), REFINE_OPTIONS)
    refine.set_defaults(run=_refine)


def _refine(parsed: argparse.Namespace) -> int:
    with leaving_at_once():
        from facewright.cli.refine_command import RefineCommand, refine_latents

    return refine_latents(
        RefineCommand(
            parsed.start,
            parsed.output,
            parsed.server,
            validated_options(_given(parsed, REFINE_OPTIONS), REFINE_OPTIONS),
            parsed.preview,
            connection_of(parsed, parsed.timeout),
        )
    )


def _add_options(group: Any, options: Mapping[str, Option]) -> None:
    """An argument for each option of a pipeline, with its values, meaning and default."""
    for name, option in options.items():
        group.add_argument(
            f"--{name.replace('_', '-')}", dest=f"option_{name}", metavar=_values(option), help=_help(option)
        )


def _given(parsed: argparse.Namespace, options: Mapping[str, Option]) -> dict[str, str]:
    """Those of the options that were given, as they were typed."""
    return {name: value for name in options if (value := getattr(parsed, f"option_{name}")) is not None}


def _output(text: str) -> Path:
    """Where to write: a file, or, named with a slash at its end, a folder whatever its name."""
    if text in ("", "-"):
        raise argparse.ArgumentTypeError(f"{text!r} is no file; give a .glb, or a folder")
    path = Path(text)
    if path.is_dir():
        return path
    if text.endswith("/"):
        if path.suffix.lower() == ".glb":
            raise argparse.ArgumentTypeError(
                f"{text!r} is the name of a folder and of an avatar; give {path}, or a folder"
            )
        return path
    instead = glb_instead(text)
    if instead:  # or it would become a folder
        folder = "a folder" if os.path.lexists(text) else f"a folder: {text}/"
        raise argparse.ArgumentTypeError(
            f"{text!r}: avatars are written as .glb; give {instead}, or {folder}"
        )
    return path


def _makes_avatars(row: Pipeline) -> bool:
    return PHOTO in row.takes and GLB in row.gives


def _values(option: Option) -> str:
    if option.choices:
        return "|".join(map(str, option.choices))
    return {bool: "true|false", int: "N", float: "X", str: "TEXT"}[option.kind]


def _help(option: Option) -> str:
    bounds = [plain_number(bound) for bound in (option.minimum, option.maximum) if bound is not None]
    allowed = f", {' to '.join(bounds)}" if bounds else ""
    default = str(option.default).lower() if option.kind is bool else option.default
    return f"{option.meaning}{allowed} (default: {default})"
