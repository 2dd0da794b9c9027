"""What an import says beside its network: which copy was taken, numbers that were widened, parts left out.

Importers give networks, whoever reads a file for its owner collects what there is to say of it:

    with import_notes() as notes:
        network = import_bisenet(path)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_COLLECTED: ContextVar[list[str] | None] = ContextVar("import_notes", default=None)


@contextmanager
def import_notes() -> Iterator[list[str]]:
    """Collects what importers say within, one sentence each, none twice."""
    notes: list[str] = []
    token = _COLLECTED.set(notes)
    try:
        yield notes
    finally:
        _COLLECTED.reset(token)


def note(sentence: str) -> None:
    """Says something to whoever collects; nothing where nobody does."""
    notes = _COLLECTED.get()
    if notes is not None and sentence not in notes:
        notes.append(sentence)
