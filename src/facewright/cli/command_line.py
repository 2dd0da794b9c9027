"""What ``facewright`` was asked for, and what it exits with.

Each command imports what it needs when it runs: ``facewright create`` against a server far away needs no
onnxruntime. Other packages bring commands of their own (`installed_commands`).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from facewright.cli.client_commands import DEFAULT_PIPELINE, add_create, add_refine, where_else
from facewright.cli.command_parser import WRONG_USAGE, CommandParser, refuse_unknown_command
from facewright.cli.installed_commands import add_installed
from facewright.cli.interrupts import ending_in_order, leaving_at_once
from facewright.cli.keys_command import add_keys
from facewright.cli.messages import complain, discard_output, flush_output, prepare_streams, reason, say
from facewright.cli.other_names import our_command, our_option
from facewright.cli.reload_command import add_reload
from facewright.cli.server_commands import add_doctor, add_serve
from facewright.core.errors import FacewrightError
from facewright.core.invocation import program
from facewright_client.contract import ErrorCode

_EXAMPLES: Final = {
    "": {
        "serve": "start a server, stop it with Ctrl-C",
        "create me.jpg -o me.glb": "one photo, by the server on this machine",
        "create photos/*.jpg -o avatars/": "many photos; run it again to finish what is missing",
        "create me.jpg -o me.glb --embedded": "the same without a server: starts one, stops it after",
        "doctor": "what is missing on this machine, and the command that mends it",
    },
    "For owners of published networks (needs scripts/setup --export, but for build):\n\n": {
        "export twin --weights *.pth": "checkpoints to verified ONNX files in a model repository",
        "build [REPOSITORY]": "TensorRT plans of them, on the GPU that serves",
        "parity": "how exactly every network's file computes what its module does",
    },
}


def _description() -> str:
    """What the program does, and commands to type, as they work from the current folder."""
    parts = ["One photo in, one game-ready 3D head avatar out.\n"]
    for title, examples in _EXAMPLES.items():
        lines = [f"  {program()} {example:34} {meaning}\n" for example, meaning in examples.items()]
        parts.append(title + "".join(lines))
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 1 failed, 2 wrong usage, 128 and the
    signal's number where one ended it (130: Ctrl-C)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    prepare_streams()
    try:
        try:
            return _run(arguments)
        finally:
            flush_output()  # after argparse's own exits, too
    except BrokenPipeError:  # whoever read the output has seen enough
        return 1
    except OSError as error:
        return _failed(error)
    finally:
        discard_output()


def _run(arguments: Sequence[str]) -> int:
    try:
        os.getcwd()
    except FileNotFoundError:
        complain("the current folder is not there any more", "cd into one that is")
        return 1
    with ending_in_order() as ending:
        try:
            return _told(arguments)
        except KeyboardInterrupt:
            say(ending.word)
            return ending.status


def _told(arguments: Sequence[str]) -> int:
    """Run a command, and say what kept it from its work."""
    try:
        with leaving_at_once():
            parsed = _parsed(arguments)
        status: int = parsed.run(parsed)
    except FacewrightError as error:
        complain(error.message, error.hint)
        return WRONG_USAGE if error.code == ErrorCode.BAD_OPTION else 1
    except BrokenPipeError:
        raise
    except OSError as error:  # whatever no command expects of the file system
        return _failed(error)
    return status


def _failed(error: OSError) -> int:
    complain(f"{error.filename}: {reason(error)}" if error.filename else reason(error))
    return 1


def _asked_pipeline(arguments: Sequence[str]) -> str | None:
    """The pipeline whose options ``facewright create`` may have; None for the other commands."""
    if list(arguments[:1]) != ["create"]:
        return None
    asked = CommandParser("facewright create", add_help=False)
    asked.add_argument("--pipeline", default=DEFAULT_PIPELINE)
    known, _ = asked.parse_known_args([word for word in arguments if word != "--"])
    return str(known.pipeline)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        "facewright", description=_description(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_create(commands, _asked_pipeline(arguments))
    add_refine(commands)
    add_serve(commands)
    add_reload(commands)
    add_keys(commands)
    add_doctor(commands)
    add_installed(commands)
    if arguments:
        refuse_unknown_command("facewright", list(commands.choices), arguments[0], our_command(arguments[0]))
        chosen = commands.choices.get(arguments[0], parser)
        if chosen is parser:
            parser.refuse_unknown_options(arguments[:1], _behind_a_command(commands.choices))
        else:
            chosen.refuse_unknown_options(arguments[1:], where_else(arguments[0]))
    parsed, left = parser.parse_known_args(arguments)
    if left:
        commands.choices.get(arguments[0], parser).refuse_words(left)
    return parsed


def _behind_a_command(commands: Mapping[str, CommandParser]) -> Callable[[str], str]:
    """Where an option is one that stands before the command."""

    def place(option: str) -> str:
        named = our_option("", option)
        if named:
            return f"did you mean {named}?"
        for name, command in commands.items():
            if spelling := command.spelling(option):
                return f"options stand behind their command: facewright {name} … {spelling}"
        return ""

    return place


def _version() -> str:
    try:
        return f"facewright {version('facewright')}"
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "facewright"
