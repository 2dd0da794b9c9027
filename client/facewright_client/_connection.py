"""How a client connects: address, time, retries, TLS."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from facewright_client._errors import RETRYABLE, FacewrightClientError

if TYPE_CHECKING:
    from facewright_client._metrics import ClientMetrics

_LARGEST_MESSAGE: Final = 2**31 - 1
#: gRPC waits up to two minutes before it looks for a lost server again; a restart takes seconds.
CHANNEL_OPTIONS: Final[list[tuple[str, str | int]]] = [
    ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.primary_user_agent", "facewright-client"),
]


@dataclass(frozen=True)
class RetryPolicy:
    """When to send a request again: only after OVERLOADED or UNAVAILABLE, which leave nothing half done.

    Args:
        attempts: sends in all; 1 never retries.
        first_pause_s: mean pause before the second send; each further one is twice as long.
        longest_pause_s: bound of the pauses.
    """

    attempts: int = 12
    first_pause_s: float = 0.25
    longest_pause_s: float = 4.0

    def pause_after(self, attempt: int, error: FacewrightClientError) -> float | None:
        """Seconds to wait after failed send number ``attempt`` (from 1); None: give up.

        Random by half, so that clients refused together do not return together.
        """
        if attempt >= self.attempts or not isinstance(error, RETRYABLE):
            return None
        pause = min(self.first_pause_s * 2.0 ** (attempt - 1), self.longest_pause_s)
        return pause * random.uniform(0.5, 1.5)


@dataclass(frozen=True)
class Tls:
    """Encrypted connections.

    Args:
        authority: PEM file of the authority that signed the server's certificate; None: the system's.
        certificate, key: PEM files of the client, where the server asks for one.
        server_name: the name that the server's certificate was issued for, where one connects by another.
    """

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None


@dataclass(frozen=True)
class Connection:
    """Settings of a client.

    Args:
        timeout_s: longest time for one request, retries included.
        retries: when to send again.
        tls: encryption; None: plain text.
        metrics: Prometheus metrics of this client's requests.
    """

    timeout_s: float = 60.0
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    tls: Tls | None = None
    metrics: ClientMetrics | None = None

    def seconds_for(self, timeout_s: float | None) -> float:
        """The time limit of one request: its own, or this connection's where it has none.

        Raises:
            ValueError: not a positive, finite number.
        """
        chosen = self.timeout_s if timeout_s is None else timeout_s
        if not (chosen > 0 and math.isfinite(chosen)):
            raise ValueError(f"timeout_s must be positive and finite, got {chosen}")
        return chosen

    def triton_arguments(self) -> dict[str, object]:
        """Keyword arguments of tritonclient's constructors."""
        tls = self.tls
        options: list[tuple[str, str | int]] = [*CHANNEL_OPTIONS]
        if tls and tls.server_name:
            options.append(("grpc.ssl_target_name_override", tls.server_name))
        return {
            "channel_args": options,
            "ssl": tls is not None,
            "root_certificates": str(tls.authority) if tls and tls.authority else None,
            "certificate_chain": str(tls.certificate) if tls and tls.certificate else None,
            "private_key": str(tls.key) if tls and tls.key else None,
        }
