"""Commands that mend something, as they work where they are read."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Final

from facewright.core.assets import source_folder
from facewright.core.invocation import runnable

#: A script works from anywhere, by its path.
_SCRIPT: Final = re.compile(r"(?<![\w./-])scripts/(?=\w)")
#: Commands that only work in the source tree.
_IN_THE_SOURCE_TREE: Final = re.compile(r"constraints\.txt|\.venv\b|\bmake demo\b")


def typed_here(mend: str) -> str:
    """A command as this user can type it in the current folder: from the source tree where it needs that, by
    the program's path, and without ``sudo`` by root, whose container may have none.
    """
    root = source_folder()
    if root is not None and Path.cwd() != root:
        folder = shlex.quote(str(root))
        if _IN_THE_SOURCE_TREE.search(mend):
            mend = f"cd {folder} && {mend}"
        mend = _SCRIPT.sub(lambda _: f"{folder}/scripts/", mend)
    if os.geteuid() == 0:
        mend = mend.replace("sudo ", "")
    return runnable(mend)
