"""What a program and all that it starts do to the machine, by strace: files, addresses, name look-ups."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Calls that give a file a name, take one from it, or change what stands behind one.
_NAMING: Final = (
    "creat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "truncate",
    "chmod",
    "fchmodat",
    "chown",
    "lchown",
    "fchownat",
    "utimensat",
)
_OPENING: Final = ("open", "openat", "openat2")
_TRACED: Final = ",".join(("%network", *_OPENING, *_NAMING))
_CALL: Final = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*)")
#: A path after the folder that it is relative to, where the call takes one.
_PATH: Final = re.compile(r'(?:(?:AT_FDCWD|\d+)<(?P<folder>[^>]*)>, )?"(?P<path>(?:[^"\\]|\\.)*)"')
_ADDRESS: Final = re.compile(r'(?:inet_addr\(|inet_pton\(AF_INET6, )"(?P<host>[^"]+)"')
_PORT: Final = re.compile(r"sin6?_port=htons\((\d+)\)")
_LOCAL_SOCKET: Final = re.compile(r'sa_family=AF_UNIX, sun_path=@?"([^"]*)"')
_DNS: Final = 53
#: The cache of libc's databases, users' too: Bash asks it for its user's shell where ``SHELL`` is not set.
_CACHE_OF_NAMES: Final = "/var/run/nscd/socket"
#: Its protocol's second version: that number, then what is wanted, each 32 bits (glibc's ``nscd-client.h``).
_QUESTION: Final = re.compile(r'"(?P<header>\\2\\0\\0\\0(?:[^"\\]|\\.)*)"')
_ABOUT_HOSTS: Final = frozenset((4, 5, 6, 7, 13, 14))


@dataclass(frozen=True)
class Deeds:
    """What a program and its children did.

    Args:
        written: paths that were created, opened for writing, renamed, removed or changed, also in vain; local
            sockets that were listened at are among them.
        reached: addresses of other machines, of name servers and of local sockets; ``host:port`` or a path.
            Of the cache of names only what it is asked about hosts: any program asks it about users.
    """

    written: frozenset[Path]
    reached: frozenset[str]


class Tracing:
    """A program that runs under strace.

    Args:
        command: the program and its arguments.
        environment, cwd: of the program.
        folder: where the trace and what the program says are kept.

    Raises:
        AssertionError: strace is missing, or may not trace here.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], cwd: Path, folder: Path
    ) -> None:
        strace = shutil.which("strace")
        assert strace, "strace is missing. Install it with:  sudo apt-get install strace"
        probed = subprocess.run([strace, "-qq", "-o", "/dev/null", "true"], capture_output=True, text=True)
        assert probed.returncode == 0, f"strace may not trace here, so allow ptrace: {probed.stderr.strip()}"
        self._trace, self.said = folder / "trace", folder / "said"
        options = ["-f", "-qq", "-y", "--seccomp-bpf", "-e", "signal=none", "-e", f"trace={_TRACED}"]
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [strace, *options, "-o", str(self._trace), "--", *command],
                env=environment,
                cwd=cwd,
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
            )

    def ended(self) -> bool:
        """Whether the program has."""
        return self.process.poll() is not None

    def stop(self, number: signal.Signals, patience_s: float = 60.0) -> None:
        """Send the program a signal, and wait until all that it started has ended too."""
        if not self.ended():
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
            os.kill(int(children.split()[0]), number)
        self.process.wait(patience_s)

    def deeds(self) -> Deeds:
        """What was done until now."""
        written: set[Path] = set()
        reached: set[str] = set()
        folders: dict[str, str] = {}  # current folder by process, as its last call showed it
        for line in self._trace.read_text(errors="replace").splitlines():
            call = _CALL.match(line)
            if call is None:  # the end of a call of which the beginning was read, or of a process
                continue
            name, arguments = call["name"], call["arguments"]
            current = re.search(r"AT_FDCWD<([^>]*)>", arguments)
            if current:
                folders[call["pid"]] = current[1]
            if name in _OPENING:
                reached |= {path for path in _paths(arguments) if path == "/etc/resolv.conf"}
                if re.search(r"\bO_(?:CREAT|WRONLY|RDWR|TRUNC)\b", arguments):
                    written |= {Path(path) for path in _paths(arguments)}
            elif name in _NAMING:
                if name.startswith("mkdir") and "EEXIST" in arguments:
                    continue  # there already
                paths = list(_paths(arguments))
                # The first of a symbolic link is what it says, no file that is touched.
                paths = paths[1:] if name.startswith("symlink") else paths
                written |= {Path(folders.get(call["pid"], "?"), path) for path in paths}
            elif name == "bind" and (made := _LOCAL_SOCKET.search(arguments)):  # to a file of that name
                written.add(Path(folders.get(call["pid"], "?"), made[1]))
            else:
                reached |= set(_foreign(arguments))
        return Deeds(frozenset(written), frozenset(reached))


def _paths(arguments: str) -> Iterator[str]:
    for found in _PATH.finditer(arguments):
        path = _bytes(found["path"]).decode(errors="replace")
        yield str(Path(found["folder"], path)) if found["folder"] else path


def _bytes(quoted: str) -> bytes:
    """What strace has written between quotes."""
    return quoted.encode().decode("unicode_escape").encode("latin-1")


def _foreign(arguments: str) -> Iterator[str]:
    """Addresses in a call of the network that are not this machine's, and every name server."""
    yield from (path for path in _LOCAL_SOCKET.findall(arguments) if path != _CACHE_OF_NAMES)
    for question in _QUESTION.finditer(arguments):
        header = _bytes(question["header"])
        if int.from_bytes(header[4:8], "little") in _ABOUT_HOSTS:
            yield _CACHE_OF_NAMES
    port = _PORT.search(arguments)
    for found in _ADDRESS.finditer(arguments):
        address = ipaddress.ip_address(found["host"])
        mapped = getattr(address, "ipv4_mapped", None)
        number = int(port[1]) if port else 0
        if not (mapped or address).is_loopback or number == _DNS:
            yield f"{address}:{number}"
