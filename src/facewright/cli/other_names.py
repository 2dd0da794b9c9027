"""What commands and options are called in other programs."""

from __future__ import annotations

from typing import Final

_OF_A_CLIENT: Final[dict[str, tuple[str, ...]]] = {
    "--server": ("--host", "--port", "--url", "--address", "--connect", "--endpoint"),
    "--output": ("--dest", "--destination", "--to", "--folder", "--directory", "--out-dir", "--output-dir"),
    "--tls-authority": ("--tls", "--ssl", "--ca", "--cacert", "--cert"),
    "--key-file": ("--token", "--password", "--auth"),
}
#: By command ("": before it) and option. Those of one letter are written with two dashes here.
_OTHERS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "": {"--version": ("--v",), "--help": ("--usage", "--man")},
    "create": {
        **_OF_A_CLIENT,
        "--again": ("--force", "--overwrite", "--f", "--redo"),
        "--parallel": ("--jobs", "--j", "--workers", "--threads", "--concurrency"),
        "--pipeline": ("--model", "--m"),
        "--together": ("--merge", "--join", "--combine", "--same-person"),
    },
    "refine": _OF_A_CLIENT,
    "serve": {
        "--host": ("--bind", "--listen", "--address", "--ip"),
        "--cores": ("--workers", "--threads", "--jobs", "--j", "--cpus"),
        "--profile cuda": ("--gpu", "--gpus", "--cuda", "--device"),
        "--tls-certificate": ("--tls", "--ssl", "--cert", "--certificate", "--ssl-certfile"),
        "--keys": ("--key", "--key-file", "--api-key", "--api-keys", "--token"),
        "--pipelines": ("--model", "--models"),
        "--allow-origin": ("--cors", "--origin"),
    },
    "doctor": {
        "--install": ("--fix", "--repair", "--mend", "--setup", "--update", "--upgrade", "--yes", "--y"),
        "--quiet": ("--q", "--silent"),
    },
}


#: By our own command, or option.
_COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "--help": ("help", "usage", "man", "?"),
    "--version": ("version",),
    "create": ("make", "generate", "convert", "run", "avatar", "photo"),
    "serve": ("start", "server", "up", "daemon"),
    "reload": ("restart", "update", "upgrade"),
    "doctor": ("check", "status", "test", "install", "setup", "info"),
    "keys new": ("key", "token", "login"),
}


def our_command(word: str) -> str:
    """The command, or the option, that other programs call ``word``; "" where none does."""
    return next((name for name, others in _COMMANDS.items() if word.lower() in others), "")


def our_option(command: str, option: str) -> str:
    """What a command calls an option that others call ``option``; "" where nobody does."""
    return next((name for name, others in _OTHERS.get(command, {}).items() if option in others), "")
