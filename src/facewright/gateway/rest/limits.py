"""How much, and how slowly, a stranger may send over HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from facewright_client.contract import MAX_PHOTO_BYTES


@dataclass(frozen=True)
class RestLimits:
    """Bounds of the REST door; what goes beyond one is refused before it is kept.

    Attributes:
        photo_bytes: of the photos of one request together.
        memory_bytes: of all bodies that come, before the house has them, and of answers until they are read.
        form_bytes: of a form beside its photos.
        photos: in one form.
        parameters: in a query, and in a form beside its photos.
        header_bytes: of a request line and its headers.
        connections: open at once. A further one takes the place of one that has no whole request; where all
            have one, it is told 503.
        headers_s: from a connection's or a request's first byte until its headers are whole.
        idle_s: between an answer and the next request on the same connection.
        body_s: that a body may be silent.
        least_bytes_per_s: how fast a body must come, or an answer be read, in the long run.
        discard_s: what a refused body is read for, unkept, so that whoever sends it sees the refusal.
        least_chunk_bytes: what a chunk of a body must have in the long run; each costs as much as a kilobyte.
        heartbeat_s: between two signs of life in a stream of events.
    """

    photo_bytes: int = MAX_PHOTO_BYTES
    memory_bytes: int = 256 * 2**20
    form_bytes: int = 65536
    photos: int = 8
    parameters: int = 64
    header_bytes: int = 16384
    connections: int = 1000
    headers_s: float = 10.0
    idle_s: float = 15.0
    body_s: float = 30.0
    least_bytes_per_s: int = 16384
    discard_s: float = 5.0
    least_chunk_bytes: int = 256
    heartbeat_s: float = 15.0
