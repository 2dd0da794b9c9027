"""Commands in messages, as they work where they are read.

Messages name commands in their short form (``facewright doctor --install``, ``python -m …``), which a shell
finds only where the environment is activated. Whatever prints messages to a person passes them through
`runnable`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

_FACEWRIGHT: Final = re.compile(
    r"(?<![\w./-])facewright(?= (?:create|refine|serve|reload|keys|doctor|export|build|parity|--help)\b)"
)
_PYTHON: Final = re.compile(r"(?<![\w./-])python(?= -[mc] )")
_PIP: Final = re.compile(r"(?<![\w./-])pip(?= install )")


def runnable(text: str) -> str:
    """``text`` with the commands of this environment as they can be typed in the current folder."""
    text = _FACEWRIGHT.sub(lambda _: program(), text)
    text = _PIP.sub("python -m pip", text) if not _on_path(Path(sys.executable).with_name("pip")) else text
    return _PYTHON.sub(lambda _: python(), text)


def program() -> str:
    """How to call ``facewright``: as this process was called, or from the environment that it runs in."""
    called = sys.argv[0]
    if Path(called).name == "facewright" and os.sep in called and os.access(called, os.X_OK):
        return shlex.quote(called) if not os.path.isabs(called) else _typed(Path(called))
    installed = Path(sys.executable).with_name("facewright")
    return _typed(installed) if os.access(installed, os.X_OK) else f"{python()} -m facewright.cli"


def python() -> str:
    """How to call the Python that runs this process."""
    generic = Path(sys.executable).with_name("python")
    return _typed(generic if generic.exists() else Path(sys.executable))


def _typed(path: Path) -> str:
    """An executable as one types it: by its name where the shell finds it, else by the shorter path."""
    if _on_path(path):
        return path.name
    try:
        relative = path.relative_to(Path.cwd())
    except (ValueError, OSError):
        return shlex.quote(str(path))
    return shlex.quote(os.path.join(os.curdir, relative) if len(relative.parts) == 1 else str(relative))


def _on_path(path: Path) -> bool:
    return shutil.which(path.name) == str(path)
