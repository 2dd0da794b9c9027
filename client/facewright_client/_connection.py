"""How a client connects: address, time, retries, TLS."""

from __future__ import annotations

import json
import math
import random
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, Literal

from facewright_client._address import checked_address, on_this_machine
from facewright_client._api_key import check_key
from facewright_client._errors import RETRYABLE, FacewrightClientError
from facewright_client._metrics import ClientMetrics
from facewright_client._rest_address import checked_rest_address, is_encrypted, is_rest

#: A whole number from here on is meant as a port, not as seconds.
_LEAST_PORT: Final = 1024
_LARGEST_PORT: Final = 65535
_LARGEST_MESSAGE: Final = 2**31 - 1
#: gRPC waits up to two minutes before it looks for a lost server again; a restart takes seconds.
CHANNEL_OPTIONS: Final[list[tuple[str, str | int]]] = [
    ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    (
        "grpc.min_reconnect_backoff_ms",
        5000,
    ),  # in spite of its name the longest time that a connection may take
    ("grpc.primary_user_agent", "facewright-client"),
]
_POLICIES: Final = ("pick_first", "round_robin")


@dataclass(frozen=True)
class RetryPolicy:
    """When to send a request again: only after OVERLOADED or UNAVAILABLE, which leave nothing half done.

    Args:
        attempts: sends in all; 1 never retries, None: until the request's time is over.
        first_pause_s: mean pause before the second send; each further one is twice as long.
        longest_pause_s: bound of the pauses, but not of what the server asks for.
        unavailable_s: how long a server that is not there is waited for; None: until the request's time is
            over. One that says when it is back (``retry_after_s``) is there.

    Raises:
        TypeError, ValueError: one of them is no number, or below its least.
    """

    attempts: int | None = None
    first_pause_s: float = 0.25
    longest_pause_s: float = 4.0
    unavailable_s: float | None = None

    def __post_init__(self) -> None:
        if self.attempts is not None:
            if isinstance(self.attempts, bool) or not isinstance(self.attempts, int):
                raise TypeError(f"attempts is {self.attempts!r:.64}; give a whole number, 1 or more, or None")
            if self.attempts < 1:
                raise ValueError(f"attempts is {self.attempts}; give 1 or more (1 never retries), or None")
        for name in ("first_pause_s", "longest_pause_s", "unavailable_s"):
            value = getattr(self, name)
            if value is None and name == "unavailable_s":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} is {value!r:.64}; give seconds")
            if not value >= 0:
                raise ValueError(f"{name} is {value!r:.64}; give seconds, 0 or more")

    def pause_after(self, attempt: int, error: FacewrightClientError) -> float | None:
        """Seconds to wait after failed send number ``attempt`` (from 1); None: give up.

        Random by half, so that clients refused together do not return together, and not before the server
        expects to take it.
        """
        if not isinstance(error, RETRYABLE) or (self.attempts is not None and attempt >= self.attempts):
            return None
        pause = min(self.first_pause_s * 2.0 ** min(attempt - 1, 32), self.longest_pause_s)
        asked_for = (error.retry_after_s or 0.0) * random.uniform(1.0, 1.5)
        return max(pause * random.uniform(0.5, 1.5), asked_for)


@dataclass(frozen=True)
class Tls:
    """Encrypted connections.

    Args:
        authority: PEM file of the authority that signed the server's certificate; None: the system's.
        certificate, key: PEM files of the client, where the server asks for one.
        server_name: the name that the server's certificate was issued for, where one connects by another.

    Raises:
        TypeError: one of them is not of its kind.
    """

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        for name in ("authority", "certificate", "key"):
            path = getattr(self, name)
            if path is not None and not isinstance(path, Path):
                # The file's content, too, may have been given, which for a key nobody is to read.
                is_name = isinstance(path, str) and path.isprintable()
                told = f"{path!r:.200}; give Path({path!r:.200})" if is_name else "no path; give a Path"
                raise TypeError(f"{name} is {told}")
        if self.server_name is not None and not isinstance(self.server_name, str):
            raise TypeError(f"server_name is {self.server_name!r:.64}; give a name")

    def check(self) -> None:
        """Whether the files are what they are said to be; gRPC would only fail to connect.

        Raises:
            OSError: one cannot be read.
            ValueError: one is no PEM file of that kind, or certificate and key do not belong together.
        """
        for path in filter(None, (self.authority, self.certificate, self.key)):
            path.read_bytes()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self.authority:
                context.load_verify_locations(self.authority)
        except ssl.SSLError:
            raise ValueError(f"{self.authority} holds no certificate in PEM form") from None
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client's certificate and its key go together")
        try:
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key, password="")
        except ssl.SSLError:
            raise ValueError(
                f"{self.certificate} and {self.key} are no certificate and its key in PEM form"
            ) from None


@dataclass(frozen=True)
class Connection:
    """Settings of a client.

    Args:
        timeout_s: longest time for one request, retries included.
        retries: when to send again.
        tls: encryption; None: plain text.
        key: the API key that the server asks for, sent with every call as RFC 6750 has it
            (``authorization: Bearer``); in plain text to this machine only.
        key_in_clear: send the key in plain text to other machines, too: for networks that are encrypted
            underneath. Whoever is between reads it.
        lb_policy: of several servers behind one name (``dns:///avatars:8001``, or
            ``ipv4:10.0.0.1:8001,10.0.0.2:8001``) ``pick_first`` asks one until it goes away, ``round_robin``
            each in turn, as gRPC does (https://grpc.io/docs/guides/custom-load-balancing). Servers that the
            name gets later are found when one goes away.
        metrics: Prometheus metrics of this client's requests.
        on_retry: called with the failure before a request is sent again, in the thread that waits for it.

    Raises:
        TypeError: one of them is not of its kind.
        ValueError: ``timeout_s`` is no positive, finite number, ``key`` no key, or ``lb_policy`` none of the
            two.
    """

    timeout_s: float = 60.0
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    tls: Tls | None = None
    key: str | None = field(default=None, repr=False)
    key_in_clear: bool = False
    lb_policy: Literal["pick_first", "round_robin"] = "pick_first"
    metrics: ClientMetrics | None = None
    on_retry: Callable[[FacewrightClientError], None] | None = None

    def __post_init__(self) -> None:
        _require_seconds(self.timeout_s)
        if not isinstance(self.retries, RetryPolicy):
            attempts = self.retries if type(self.retries) is int and self.retries > 0 else 3
            raise TypeError(f"retries is {self.retries!r:.64}; give RetryPolicy(attempts={attempts})")
        if self.tls is not None and not isinstance(self.tls, Tls):
            path = self.tls if isinstance(self.tls, (str, Path)) and str(self.tls) else ""
            meant = f"Tls(Path({str(path)!r:.200}))" if path else "Tls(), or None for plain text"
            raise TypeError(f"tls is {self.tls!r:.200}; give {meant}")
        if self.key is not None:
            check_key(self.key)
        if not isinstance(self.key_in_clear, bool):  # told by its type, since it may be a key
            kind = type(self.key_in_clear).__name__
            raise TypeError(f"key_in_clear is of type {kind}; give True or False")
        if self.metrics is not None and not isinstance(self.metrics, ClientMetrics):
            raise TypeError(f"metrics is {self.metrics!r:.64}; give ClientMetrics(), or None")
        if self.on_retry is not None and not callable(self.on_retry):
            raise TypeError(f"on_retry is {self.on_retry!r:.64}; give a function of the failure, or None")
        if self.lb_policy not in _POLICIES:
            raise ValueError(f"lb_policy is {self.lb_policy!r:.64}; give one of {', '.join(_POLICIES)}")

    def check_key_stays_secret(self, url: str) -> None:
        """Refuse to send the key in plain text over a network, as gRPC does with its call credentials
        (https://grpc.io/docs/guides/auth).

        Args:
            url: the server's address, checked.

        Raises:
            ValueError: it would be.
        """
        if is_rest(url):
            encrypted, here = is_encrypted(url), checked_rest_address(url).loopback
        else:
            encrypted, here = self.tls is not None, on_this_machine(url)
        if self.key is not None and not (encrypted or self.key_in_clear or here):
            raise ValueError(
                f"the API key would go to {url} in plain text, and whoever is between could read it; connect "
                "encrypted (--tls-authority PEM, in Python Connection(tls=Tls())), or say that the network "
                "is (--key-in-clear, in Python key_in_clear=True)"
            )

    def tls_of_rest(self, url: str) -> Tls | None:
        """How a server's REST is asked; None: in plain text.

        Args:
            url: its address, checked.

        Raises:
            ValueError: these settings contradict it, a file of TLS is none, or the key would be sent in plain
                text to another machine.
            OSError: a file of TLS cannot be read.
        """
        self.check_key_stays_secret(url)
        if self.lb_policy != "pick_first":
            raise ValueError(f"lb_policy is of gRPC alone, and {url} is of REST; put a balancer in front")
        if not is_encrypted(url):
            if self.tls is not None:
                raise ValueError(f"{url} is of plain text, and a certificate is given; write https://")
            return None
        tls = self.tls or Tls()
        tls.check()
        return tls

    def seconds_for(self, timeout_s: float | None) -> float:
        """The time limit of one request: its own, or this connection's where it has none.

        Raises:
            TypeError, ValueError: not a positive, finite number.
        """
        if timeout_s is None:
            return self.timeout_s
        _require_seconds(timeout_s)
        return timeout_s

    def triton_arguments(self, url: str) -> dict[str, object]:
        """Arguments of tritonclient's constructors for a server's address.

        gRPC connects through the proxy that ``grpc_proxy``, ``https_proxy`` or ``http_proxy`` names, where
        ``no_proxy`` does not take the host out; to this machine itself it always connects directly.

        Raises:
            ValueError, OSError: no address, or a file of TLS that is none, or the key would be sent in plain
                text to another machine.
        """
        tls = self.tls
        options: list[tuple[str, str | int]] = [*CHANNEL_OPTIONS]
        self.check_key_stays_secret(checked_address(url))
        if on_this_machine(url):
            options.append(("grpc.enable_http_proxy", 0))
        if self.lb_policy != "pick_first":
            policies: list[dict[str, object]] = [{self.lb_policy: {}}]
            options.append(("grpc.service_config", json.dumps({"loadBalancingConfig": policies})))
        if tls:
            tls.check()
        if tls and tls.server_name:
            options.append(("grpc.ssl_target_name_override", tls.server_name))
        return {
            "url": url,
            "channel_args": options,
            "ssl": tls is not None,
            "root_certificates": str(tls.authority) if tls and tls.authority else None,
            "certificate_chain": str(tls.certificate) if tls and tls.certificate else None,
            "private_key": str(tls.key) if tls and tls.key else None,
        }


#: Their names.
SETTINGS: Final = tuple(setting.name for setting in fields(Connection))


def _require_seconds(timeout_s: object) -> None:
    """Refuse what is no time limit; told by its type where it may be a key."""
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)):
        raise TypeError(f"timeout_s is of type {type(timeout_s).__name__}; give seconds, such as 60.0")
    if not (timeout_s > 0 and math.isfinite(timeout_s)):
        raise ValueError(f"timeout_s is {timeout_s!r:.64}; give a positive, finite number of seconds")


def connection_of(given: object, misplaced: Iterable[str]) -> Connection:
    """A client's second argument, or the settings by default.

    Args:
        given: the argument.
        misplaced: names of arguments that a client does not have.

    Raises:
        TypeError: it is neither, told by its type, since it may be a key; or something is misplaced.
    """
    for name in misplaced:
        if name in SETTINGS:
            raise TypeError(f"{name} is a setting of the connection; give Connection({name}=…)")
        if name in ("host", "port"):
            raise TypeError(f"there is no {name}; give host and port as one address, 'localhost:8001'")
        raise TypeError(f"there is no {name}; Connection has {', '.join(SETTINGS)}")
    if given is None:
        return Connection()
    if isinstance(given, Connection):
        return given
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        meant = f"Connection(timeout_s={given!r:.64})"
        if isinstance(given, int) and _LEAST_PORT <= given <= _LARGEST_PORT:
            meant = f"host and port as one address, such as 'localhost:{given}'"
        raise TypeError(f"the connection is {given!r:.64}; give {meant}")
    meant = "Connection(key=…)" if isinstance(given, str) else "a Connection(…)"
    raise TypeError(f"the connection is of type {type(given).__name__}; give {meant}")
