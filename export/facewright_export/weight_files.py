"""Which of an owner's files holds which network: told by name, or found by what fits strictly."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import torch
from torch import nn

from facewright.core.wheels import sha256_of
from facewright_export.checkpoints import CheckpointError, import_notes, require_checkpoint
from facewright_export.checkpoints._reading import read_checkpoint
from facewright_export.export_error import ExportError
from facewright_export.network import Network
from facewright_export.network_tables import PIPELINES, pipeline_networks

#: How much is shown of why a file does not fit.
_SHOWN = 160
#: A file that has this share of a network's names is taken for one of it, of other sizes or cut.
_ALIKE = 0.8


@dataclass(frozen=True)
class WeightFiles:
    """What was given on the command line.

    Args:
        named: files by network, in the row's order (``--weights camera_regressor=cam.pth``).
        unnamed: files whose network is to be found.
    """

    named: Mapping[str, tuple[Path, ...]]
    unnamed: tuple[Path, ...]


def parse_weights(arguments: Sequence[str], known: Sequence[str]) -> WeightFiles:
    """``FILE`` or ``NETWORK=FILE[,FILE]`` arguments.

    Raises:
        ExportError: a file does not exist, is no checkpoint of any kind, or a network is unknown.
    """
    named: dict[str, tuple[Path, ...]] = {}
    unnamed: dict[Path, Path] = {}
    for argument in arguments:
        name, equals, files = argument.partition("=")
        if not equals or Path(argument).exists():
            path = Path(argument).expanduser()
            # not Path.resolve, which raises where links lead in a circle
            unnamed.setdefault(Path(os.path.realpath(path)), path)
        elif name not in known:
            raise ExportError(
                f"there is no network {name!r} in this pipeline",
                f"one of: {', '.join(known)}{_elsewhere(name)}",
            )
        elif name in named:
            raise ExportError(f"{name} is given twice: {argument}", f"--weights {name}=FILE once")
        elif "" in files.split(","):
            raise ExportError(f"{argument} names no file", f"--weights {name}=FILE[,FILE]")
        else:
            named[name] = tuple(Path(file).expanduser() for file in files.split(","))
    for path in (*unnamed.values(), *(path for paths in named.values() for path in paths)):
        _require_file(path)
    return WeightFiles(named, tuple(unnamed.values()))


def _require_file(path: Path) -> None:
    if re.match(r"\w+:/", str(path)):
        raise ExportError(f"{path} is an address", "download the file and give its path")
    if path.is_dir():
        raise ExportError(f"{path} is a folder", f"give the files in it: --weights {path}/FILE…")
    if not path.exists() and any(letter in str(path) for letter in "*?["):
        raise ExportError(f"no file matches {path}", "write the pattern without quotes, or the files' paths")
    if path.is_symlink() and not path.exists():
        raise ExportError(
            f"{path} is a link that leads to no file ({os.readlink(path)})", "give the path of a checkpoint"
        )
    if not path.is_file():
        raise ExportError(f"there is no file {path}", "give the path of a checkpoint")
    try:
        require_checkpoint(path)
    except CheckpointError as error:
        raise ExportError(f"{error.what}: {error.seen}", error.mend) from error


def _elsewhere(name: str) -> str:
    pipelines = [pipeline for pipeline, groups in PIPELINES.items() if any(name in group for group in groups)]
    return f"; {name} is of {' and '.join(pipelines)}" if pipelines else ""


@dataclass(frozen=True)
class Loaded:
    """A network with its weights.

    Args:
        module: what is served.
        paths: of its files.
        notes: what its importer said of them, one sentence each.
    """

    module: nn.Module
    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    @property
    def weights(self) -> tuple[str, ...]:
        """``name sha256`` of each file."""
        return tuple(f"{path.name} {sha256_of(path)}" for path in self.paths)


def load_network(network: Network, files: WeightFiles, reserved: Collection[Path] = ()) -> Loaded | None:
    """The network from the files that were named for it, or from the one choice of unnamed files that fits.

    Args:
        network: its row.
        files: what was given.
        reserved: unnamed files that it may not be made from.

    Returns:
        None where nothing was named for it and nothing fits.

    Raises:
        ExportError: a file that was named for it does not fit, several choices fit, or another number of
            files was named than it needs.
    """
    if network.name in files.named:
        paths = files.named[network.name]
        if len(paths) != len(network.files):
            raise ExportError(
                f"{network.name} is made from {len(network.files)} file(s), given {len(paths)}",
                f"--weights {network.name}={','.join(network.files)}",
            )
        try:
            return _load(network, paths)
        except CheckpointError as error:
            raise ExportError(f"{error.what}: {error.seen}", f"{error.mend}; {expected(network)}") from error
    fitting = list(_fitting(network, [path for path in files.unnamed if path not in reserved]))
    if len(fitting) > 1:
        names = ["+".join(path.name for path in loaded.paths) for loaded in fitting]
        if len(set(names)) < len(names):
            names = ["+".join(map(str, loaded.paths)) for loaded in fitting]
        raise ExportError(
            f"{' and '.join(names)} all fit {network.name}",
            f"say which: --weights {network.name}={fitting[0].paths[0]}",
        )
    return fitting[0] if fitting else None


def expected(network: Network) -> str:
    """What a network is read from, and where more is said of it."""
    return (
        f"{network.name} is read from {' and '.join(network.files)}, in the forms that docs/export.md names"
    )


def refusals(network: Network, paths: Sequence[Path]) -> Iterator[str]:
    """Why none of these files fits a network: a line for each choice of as many as it is made from."""
    for choice in permutations(paths, len(network.files)):
        try:
            network.from_files(*choice)
        except CheckpointError as error:
            seen = error.seen if len(error.seen) <= _SHOWN else f"{error.seen[:_SHOWN]}…"
            yield f"{'+'.join(path.name for path in choice)} is not {network.name}: {seen}"


def fits(network: Network, path: Path) -> bool:
    """Whether a network can be made from this file alone."""
    try:
        return len(network.files) == 1 and network.from_files(path) is not None
    except CheckpointError:
        return False


def likeness(path: Path) -> str:
    """The known network whose names a file has, with its pipeline; "" where it has none's."""
    try:
        checkpoint = read_checkpoint(path)
    except CheckpointError:
        return ""
    shares = {
        (row.name, pipeline): (checkpoint.share(names), len(names))
        for pipeline in PIPELINES
        for row in pipeline_networks(pipeline)
        if (names := _names(row))
    }
    best = max(shares, key=lambda found: shares[found])
    name, pipeline = best
    return f"{name} ({pipeline})" if shares[best][0] >= _ALIKE else ""


def _names(network: Network) -> Collection[str]:
    """The names of a network's weights; none of a network that is made from arrays of other formats."""
    if network.kept == ("*",):
        return ()
    with torch.device("meta"):
        return list(network.build().state_dict())


def _load(network: Network, paths: tuple[Path, ...]) -> Loaded:
    with import_notes() as notes:
        module = network.from_files(*paths)
    return Loaded(module, paths, tuple(notes))


def _fitting(network: Network, unnamed: Sequence[Path]) -> Iterator[Loaded]:
    """Choices of files that fit, each set of files once: some importers take theirs in any order."""
    fitted: set[frozenset[Path]] = set()
    for paths in permutations(unnamed, len(network.files)):
        if frozenset(paths) in fitted:
            continue
        try:
            loaded = _load(network, paths)
        except CheckpointError:
            continue
        fitted.add(frozenset(paths))
        yield loaded
