"""Which of an owner's files holds which network: told by name, or found by what fits strictly."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from torch import nn

from facewright.core.wheels import sha256_of
from facewright_export.checkpoints import CheckpointError
from facewright_export.export_error import ExportError
from facewright_export.network import Network


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
        ExportError: a file does not exist, or a network is unknown.
    """
    named: dict[str, tuple[Path, ...]] = {}
    unnamed = []
    for argument in arguments:
        name, equals, files = argument.partition("=")
        if not equals or Path(argument).exists():
            unnamed.append(Path(argument))
        elif name not in known:
            raise ExportError(f"there is no network {name!r} in this pipeline", f"one of: {', '.join(known)}")
        else:
            named[name] = tuple(Path(file) for file in files.split(","))
    for path in (*unnamed, *(path for paths in named.values() for path in paths)):
        if not path.is_file():
            raise ExportError(f"there is no file {path}", "give the path of a checkpoint")
    return WeightFiles(named, tuple(unnamed))


@dataclass(frozen=True)
class Loaded:
    """A network with its weights.

    Args:
        module: what is served.
        paths: of its files.
    """

    module: nn.Module
    paths: tuple[Path, ...]

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
        CheckpointError: a file that was named for it does not fit.
        ExportError: several choices fit, or another number of files was named than it needs.
    """
    if network.name in files.named:
        paths = files.named[network.name]
        if len(paths) != len(network.files):
            raise ExportError(
                f"{network.name} is made from {len(network.files)} file(s), given {len(paths)}",
                f"--weights {network.name}={','.join(network.files)}",
            )
        return Loaded(network.from_files(*paths), paths)
    fitting = list(_fitting(network, [path for path in files.unnamed if path not in reserved]))
    if len(fitting) > 1:
        choices = " and ".join("+".join(path.name for path in paths) for paths, _ in fitting)
        raise ExportError(
            f"{choices} all fit {network.name}", f"say which: --weights {network.name}={fitting[0][0][0]}"
        )
    if not fitting:
        return None
    paths, module = fitting[0]
    return Loaded(module, paths)


def refusals(network: Network, files: WeightFiles) -> str:
    """Why no unnamed file fits a network: one line for each choice."""
    lines = []
    for paths in permutations(files.unnamed, len(network.files)):
        try:
            network.from_files(*paths)
        except CheckpointError as error:
            lines.append(f"    {'+'.join(path.name for path in paths)}: {error.seen:.160}…")
    return "\n".join(lines) or f"    it is made from {len(network.files)} files"


def _fitting(network: Network, unnamed: Sequence[Path]) -> Iterator[tuple[tuple[Path, ...], nn.Module]]:
    """Choices of files that fit, each set of files once: some importers take theirs in any order."""
    fitted: set[frozenset[Path]] = set()
    for paths in permutations(unnamed, len(network.files)):
        if frozenset(paths) in fitted:
            continue
        try:
            module = network.from_files(*paths)
        except CheckpointError:
            continue
        fitted.add(frozenset(paths))
        yield paths, module
