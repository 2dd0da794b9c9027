"""Find a network in a checkpoint, whatever its trainer wrapped around it, and fill it strictly.

One step for every network: sections of the file and modules of a network are one tree of names. A network is
found where its names hang in it, below names that say nothing but that a network follows (``state_dict``,
``model_ema``, ``module`` …). What hangs there must be the network and nothing else; what lies beside it is
said (`note`) and left alone.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Final

import torch

from facewright_export.checkpoints._files import WHICH, LayoutError, WeightError, listed
from facewright_export.checkpoints._named_entries import colliding, same_entry
from facewright_export.checkpoints._notes import note
from facewright_export.checkpoints._torch_files import read_entries
from facewright_export.checkpoints._torch_unpickler import class_name

StateDict = dict[str, torch.Tensor]

#: Names of what wraps modules, wherever in a network: they are taken off where nothing is beside them.
_MODULE_WRAPPERS: Final = frozenset(
    {"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)
#: Words of which names of sections and wrappers are made, and which tell no network from another.
_AVERAGE_WORDS: Final = frozenset({"ema", "avg", "average", "averaged", "swa", "shadow"})
_WRAPPER_WORDS: Final = _AVERAGE_WORDS | {
    *("state", "dict", "checkpoint", "best", "last", "final"),
    *("model", "net", "nets", "network", "module", "backbone", "generator", "gen", "g"),
    *("param", "params", "parameters", "weight", "weights"),
    *("orig", "mod", "forward", "fsdp", "wrapped"),
}
_COUNTER: Final = ".num_batches_tracked"
#: Names by which a file tells how it was made, what that is, and what mends it.
_TELL_TALES: Final = (
    (r"(^|\.)_?flat_param(_\d+)?$", "a shard of FSDP", "save it with StateDictType.FULL_STATE_DICT"),
    (r"_mask$", "pruned with masks", "call torch.nn.utils.prune.remove on its layers, then save it"),
    (
        r"\.parametrizations\.",
        "weights with parametrizations",
        "call torch.nn.utils.parametrize.remove_parametrizations on its layers, then save it",
    ),
    (
        r"weight_g$",
        "weight normalisation",
        "call torch.nn.utils.remove_weight_norm on its layers, then save it",
    ),
    (r"weight_orig$", "spectral normalisation", "call torch.nn.utils.remove_spectral_norm, then save it"),
    (r"\.lora_[AB]\.", "an adapter (LoRA)", "merge it into its network, then save that"),
    (r"_packed_params", "quantised layers", "take the file of the network before it was quantised"),
)


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds, by full names (see `read_entries`): ``state_dict/layer1.0.weight``.

    Args:
        path: of the file.
        tensors: every tensor; names of `_MODULE_WRAPPERS` are taken off.
        others: what else there is, with its class where that was not read.
    """

    path: Path
    tensors: Mapping[str, torch.Tensor]
    others: Mapping[str, str]

    def place(self, wanted: Collection[str]) -> str:
        """What stands before most of the ``wanted`` names; "" where none is there.

        Raises LayoutError where it has a name of its own, so that this may be another network, and where two
        places hold the network with other numbers.
        """
        found = self._found(wanted)
        places = [place for place in found if self._says_nothing(place)]
        most = max((found[place] for place in places), default=0)
        named = max(found, key=lambda place: found[place], default="")
        if found[named] > most and 2 * found[named] > len(wanted):
            beside = self._beside([name for name in self.tensors if name.startswith(named)])
            raise LayoutError(
                f"checkpoint {self.path}",
                f"its names are found under {_said(named)!r}, beside {listed(beside)}",
                f"where that is the network, save what is under {_said(named)!r} alone, with torch.save",
            )
        if not places:
            return self._beginning()
        return self._chosen(sorted(place for place in places if found[place] == most), wanted)

    def share(self, wanted: Collection[str]) -> float:
        """How much of these names is in one place, whatever it is called, 0 … 1."""
        return max(self._found(wanted).values(), default=0) / len(wanted)

    def network_at(self, place: str, wanted: Collection[str]) -> StateDict:
        """The network's tensors below a place, and whatever else the dicts hold there that they are in."""
        there = [name for name in self.tensors if name.startswith(place)]
        own = [name for name in there if _dotted(name[len(place) :]) in wanted]
        sections = {_section(name) for name in own or [place]}
        return {
            _dotted(name[len(place) :]): self.tensors[name] for name in there if _section(name) in sections
        }

    def note_rest(self, place: str, used: Iterable[str]) -> None:
        """Says what the file holds beside these tensors below a place."""
        rest = self._beside({place + name for name in used})
        if rest:
            note(f"{self.path.name} also holds {listed(rest)}: not used")

    def _beside(self, used: Collection[str]) -> list[str]:
        """The outermost names of all that is not used, with the classes of objects."""
        ancestors = {parent for name in used for parent in _ancestors(name)}
        rest: dict[str, str] = {}
        for name, kind in {**dict.fromkeys(self.tensors, ""), **self.others}.items():
            label = next((part for part in _ancestors(name) if part not in ancestors), "")
            if label:
                rest[label] = rest.get(label) or kind
        return [f"{name} ({kind})" if kind else name for name, kind in sorted(rest.items())]

    def _found(self, wanted: Collection[str]) -> Counter[str]:
        """How many of these names follow each place."""
        return Counter(
            name[:end] for name in self.tensors for end in _starts(name) if _dotted(name[end:]) in wanted
        )

    def _says_nothing(self, place: str) -> bool:
        """Whether a network may hang here: dicts must be called as wrappers are, a module's name may be any
        where everything in its dict begins with it.
        """
        parts = re.findall(r"([^./]*)([./])", place)
        shared = self._shared_beginnings.get(_section(place), "")
        return all(
            _is_wrapper(part) or (follows == "." and shared.startswith(place)) for part, follows in parts
        )

    @cached_property
    def _shared_beginnings(self) -> Mapping[str, str]:
        """What the names of all tensors in a dict begin with."""
        shared: dict[str, str] = {}
        for name in self.tensors:
            section = _section(name)
            shared[section] = _shared_beginning(shared.get(section, name), name)
        return shared

    @cached_property
    def objects(self) -> Mapping[str, str]:
        """Classes of what is no tensor, by names with dots."""
        return {_dotted(name): kind for name, kind in self.others.items() if kind}

    def _chosen(self, places: list[str], wanted: Collection[str]) -> str:
        """The average of several copies, else any of several that are the same."""
        if len(places) == 1:
            return places[0]
        said = " and ".join(_said(place) for place in places)
        averages = [place for place in places if _words(place) & _AVERAGE_WORDS]
        if len(averages) == 1:
            taken = _said(averages[0])
            note(f"{self.path.name} holds the network under {said}: {taken} is taken, the average")
            return averages[0]
        first, *others = (self.network_at(place, wanted) for place in places)
        if any(not _same_numbers(first, other) for other in others):
            raise LayoutError(
                f"checkpoint {self.path}",
                f"it holds the network under {said}, with other numbers",
                "save the state_dict() of the one that is meant, alone, with torch.save",
            )
        return places[0]

    def _beginning(self) -> str:
        """What all names begin with, as far as it is wrappers: where a network that is not there would be."""
        names = list(self.tensors)
        begins = [
            names[0][:end]
            for end in _starts(names[0])
            if all(name.startswith(names[0][:end]) for name in names)
            and all(_is_wrapper(part) for part in re.split("[./]", names[0][:end])[:-1])
        ]
        return begins[-1]


def read_checkpoint(path: Path | str) -> Checkpoint:
    """What a file of ``torch.save`` or safetensors holds. Raises CheckpointError."""
    path = Path(path)
    entries = read_entries(path)
    tensors = {name: value for name, value in entries.items() if isinstance(value, torch.Tensor)}
    renamed = _without_module_wrappers(tensors)
    taken: dict[str, str] = {}
    for name in tensors:
        first = taken.setdefault(_dotted(renamed[name]), name)
        if not same_entry(tensors[first], tensors[name]):
            raise colliding(path, repr(first), repr(name))
    return Checkpoint(
        path,
        {renamed[name]: value for name, value in tensors.items()},
        {name: class_name(value) for name, value in entries.items() if name not in tensors},
    )


def state_of(
    path: Path | str,
    wanted: Collection[str],
    *,
    published: Mapping[str, str] | None = None,
    unused: Collection[str] = (),
) -> StateDict:
    """The tensors of a network in a file, by the network's own names.

    Args:
        path: of the file.
        wanted: the network's names.
        published: how the published file begins names that begin otherwise in the network: ``{"regressor.":
            "flameModel.regressor."}``. A file of the network's own ``state_dict()`` is read, too.
        unused: names, or prefixes ending in a dot, that the published file holds and inference does not use.

    Whatever else lies where the network does is in the result, for `load_strictly` to refuse.

    Raises CheckpointError.
    """
    checkpoint = read_checkpoint(path)
    names = {_published(own, published or {}): own for own in wanted}
    if checkpoint.share(names) == 0 < checkpoint.share(wanted):
        names = {own: own for own in wanted}
    place = checkpoint.place({name for name in names if not name.endswith(_COUNTER)})
    found = checkpoint.network_at(place, names)
    left = tuple(name for name in unused if name.endswith("."))
    state = {n: v for n, v in found.items() if n in names or not (n in unused or n.startswith(left))}
    _explain(checkpoint, place, names, state)
    checkpoint.note_rest(place, state)
    return {names.get(name, name): value for name, value in state.items()}


def fill(
    module: torch.nn.Module,
    path: Path | str,
    *,
    published: Mapping[str, str] | None = None,
    unused: Collection[str] = (),
) -> None:
    """Fills a network from a file, strictly: see `state_of` and `load_strictly`. Raises CheckpointError."""
    state = state_of(path, module.state_dict(), published=published, unused=unused)
    load_strictly(module, state, source=str(path))


def load_strictly(module: torch.nn.Module, state: Mapping[str, torch.Tensor], *, source: str) -> None:
    """Fill ``module`` from ``state``: every entry must have its place, and every place its entry.

    Args:
        module: the network; unchanged when an error is raised.
        state: name → tensor; other floating-point numbers become the module's, which is said.
        source: what to call the file in an error.

    BatchNorm's ``num_batches_tracked`` may be missing, left over or averaged: files from before PyTorch 0.4.1
    lack that counter, which inference does not read.

    Raises LayoutError naming every missing, extra and mis-shaped entry, and WeightError naming every entry
    that is not finite (the first 20 of each are shown).
    """
    wanted = module.state_dict()
    used = {name: value for name, value in state.items() if not name.endswith(_COUNTER)}
    missing = sorted(name for name in wanted if name not in used and not name.endswith(_COUNTER))
    extra = sorted(name for name in used if name not in wanted)
    wrong = [
        f"{name} is {_described(used[name])}, expected {_described(wanted[name])}"
        for name in sorted(used.keys() & wanted.keys())
        if used[name].shape != wanted[name].shape
        or used[name].is_floating_point() != wanted[name].is_floating_point()
    ]
    complaints = [
        f"{len(names)} {kind}: {listed(names)}"
        for kind, names in (("missing", missing), ("extra", extra), ("mis-shaped", wrong))
        if names
    ]
    if complaints:
        seen = "; ".join(complaints)
        if not missing and not extra:
            seen = f"it has the network's names with other sizes; {seen}"
        elif not used.keys() & wanted.keys():
            seen = f"it has none of the network's {len(missing)} names" + (
                f", but {listed(extra)}" if extra else ""
            )
        raise LayoutError(
            f"{source} does not fit {type(module).__name__}", seen, "take the published file of this network"
        )
    floats = [value for value in used.values() if value.is_floating_point()]
    other_types = {value.dtype for value in floats} - {torch.float32}
    used = {name: value.to(wanted[name].dtype) for name, value in used.items()}
    not_finite = sorted(n for n, v in used.items() if v.is_floating_point() and not v.isfinite().all())
    if not_finite:
        raise WeightError(
            f"weights of {source}",
            f"NaN or infinity in {listed(not_finite)}",
            "the training diverged or the file is damaged: take an earlier checkpoint",
        )
    if other_types:
        said = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in other_types))
        note(f"{Path(source).name} has {said} numbers, which became float32")
    counters = {
        name: state[name] if name in state and state[name].dtype == value.dtype else value
        for name, value in wanted.items()
        if name.endswith(_COUNTER)
    }
    module.load_state_dict({**used, **counters}, strict=True)


def _explain(
    checkpoint: Checkpoint, place: str, names: Mapping[str, str], state: Mapping[str, object]
) -> None:
    """Refuses a file that says itself why the network is not in it; `load_strictly` tells of all others."""
    missing = [name for name in names if name not in state and not name.endswith(_COUNTER)]
    source = f"checkpoint {checkpoint.path}"
    objects = [
        f"{n} ({kind})" for n in sorted(missing) if (kind := checkpoint.objects.get(_dotted(place) + n))
    ]
    if objects:
        raise LayoutError(
            source,
            f"no plain numbers in {listed(objects)}",
            "save the state_dict() of the network as it was trained: unquantised, on one device",
        )
    for pattern, told, mend in _TELL_TALES:
        if missing and any(re.search(pattern, name) for name in state if name not in names):
            raise LayoutError(source, f"it holds {told}", mend)
    begins = {name.split(".")[0] for name, own in names.items() if name != own}
    there = {
        _dotted(name)[len(place) :].split(".")[0] for name in checkpoint.tensors if name.startswith(place)
    }
    if begins - there:
        absent = min(begins - there)
        raise LayoutError(source, f"no {absent!r} in the file, which holds {listed(sorted(there))}", WHICH)


def _published(own: str, published: Mapping[str, str]) -> str:
    begins = next((prefix for prefix in published if own.startswith(prefix)), "")
    return published.get(begins, "") + own.removeprefix(begins)


def _without_module_wrappers(names: Iterable[str]) -> dict[str, str]:
    """Each name without the wrappers that stand alone at their place."""
    parts = {name: re.findall(r"[^./]*[./]?", name)[:-1] for name in names}
    children: defaultdict[str, set[str]] = defaultdict(set)
    for split in parts.values():
        for position, part in enumerate(split):
            children["".join(split[:position])].add(part.rstrip("./"))
    return {
        name: "".join(
            part
            for position, part in enumerate(split)
            if part[:-1] not in _MODULE_WRAPPERS or len(children["".join(split[:position])]) > 1
        )
        for name, split in parts.items()
    }


def _is_wrapper(part: str) -> bool:
    """Whether a name is made of wrappers' words; a letter alone may be a network of its own."""
    words = _words(part)
    return words <= _WRAPPER_WORDS and any(len(word) > 1 for word in words)


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", name)}


def _starts(name: str) -> Iterator[int]:
    """Where the parts of a name begin, the whole first."""
    yield 0
    for separator in re.finditer("[./]", name):
        yield separator.end()


def _ancestors(name: str) -> Iterator[str]:
    """The name of everything that holds this, from the outermost, and the name itself, with dots."""
    name = _dotted(name)
    for separator in re.finditer(r"\.", name):
        yield name[: separator.start()]
    yield name


def _shared_beginning(first: str, second: str) -> str:
    same = takewhile(lambda letters: letters[0] == letters[1], zip(first, second, strict=False))
    return "".join(letter for letter, _ in same)


def _section(name: str) -> str:
    return name.rpartition("/")[0]


def _dotted(name: str) -> str:
    return name.replace("/", ".")


def _said(place: str) -> str:
    return _dotted(place).rstrip(".") or "no name"


def _same_numbers(first: StateDict, second: StateDict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _described(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
