"""``facewright doctor``: what serving needs, whether it is there, and the command that mends what is not.

A check says only what it tried. Commands are printed as they work in the folder where they are read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from facewright.adapter.served_files import NETWORKS_VARIABLE
from facewright.cli.finding import Finding
from facewright.cli.machine_checks import (
    check_compiler,
    check_export,
    check_gpu,
    check_packages,
    check_places,
    check_platform,
    check_python_library,
    check_runtime,
    check_shared_memory,
)
from facewright.cli.mends import typed_here
from facewright.cli.pipeline_checks import check_table
from facewright.core.assets import cache_failure, cache_folder, require_cache
from facewright.core.errors import FacewrightError
from facewright.core.wheels import PYTRITON, WheelError, fetch_wheel
from facewright.server.server_traces import remove_stale_folders, remove_stale_regions
from facewright.server.triton_runtime import (
    VERSION,
    RuntimeMissingError,
    install_runtime,
    is_unpacked,
    missing_python_library,
)

_CHECKS: tuple[Callable[[], Finding | list[Finding]], ...] = (
    check_platform,
    check_packages,
    check_compiler,
    check_python_library,
    check_runtime,
    check_places,
    check_shared_memory,
    check_gpu,
    check_export,
    check_table,
)


def examine(install: bool = False, quiet: bool = False, networks: Path | None = None) -> int:
    """Run all checks and print them; returns 0 when nothing is wrong but for warnings, else 1.

    Args:
        install: first install what this user may: the Triton runtime, as root also a missing libpython.
        quiet: print only what is wrong.
        networks: a repository of exported networks that would be served.
    """
    if networks is not None:
        os.environ[NETWORKS_VARIABLE] = str(networks.resolve())
    try:
        cache_folder()
        if not install or cache_folder().exists():  # a folder that is not there is made for what is installed
            require_cache()
    except FacewrightError as error:  # most of the checks could not begin
        print(f"✗ cache: {error.message}\n  mend: {typed_here(error.hint)}")
        return 1
    if install:
        problem = _install(quiet)
        if problem:
            print(f"✗ {problem.subject}: {problem.problem}\n  mend: {typed_here(problem.mend)}")
            return 1
    findings = [finding for check in _CHECKS for finding in _findings(check)]
    for finding in findings:
        if finding.problem:
            mark, what = ("!", "recommended") if finding.warning else ("✗", "mend")
            print(f"{mark} {finding.subject}: {finding.problem}\n  {what}: {typed_here(finding.mend)}")
        elif not quiet:
            print(f"✓ {finding.subject}")
    regions, folders = remove_stale_regions(), remove_stale_folders()
    if (regions or folders) and not quiet:
        print(f"✓ removed {regions} shared-memory regions and {folders} folders of servers that were killed")
    return int(any(finding.problem and not finding.warning for finding in findings))


def _findings(check: Callable[[], Finding | list[Finding]]) -> list[Finding]:
    found = check()
    return found if isinstance(found, list) else [found]


def _install(quiet: bool) -> Finding | None:
    """Install what is missing; returns what went wrong."""
    subject = f"Triton {VERSION}"
    package = missing_python_library()
    if package and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {package}")
        # A fresh container has no package lists. Whether all went well is what the checks say.
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], check=False)
    try:
        if is_unpacked():
            return None
        wheel = fetch_wheel(PYTRITON, _show_progress if sys.stderr.isatty() else _no_progress)
        if not quiet or sys.stderr.isatty():
            print(f"unpacking Triton {VERSION}")
        install_runtime(wheel)
    except WheelError as error:
        return Finding(subject, str(error), "facewright doctor --install   (once that is mended)")
    except (RuntimeMissingError, FacewrightError) as error:
        return Finding(subject, *_cause_and_mend(error))
    except OSError as error:
        return Finding(subject, *_cause_and_mend(cache_failure(error)))
    return None


def _cause_and_mend(error: RuntimeMissingError | FacewrightError) -> tuple[str, str]:
    if isinstance(error, FacewrightError):
        return error.message, error.hint
    return error.what, error.mend


def _show_progress(share: float, what: str) -> None:
    print(f"\r{what} {share:4.0%}", end="\n" if share >= 1 else "", file=sys.stderr, flush=True)


def _no_progress(_share: float, _what: str) -> None:
    return
