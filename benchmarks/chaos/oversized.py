"""Messages of hundreds of megabytes, and small ones that unpack to as much: what they cost the server."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import grpc
from tritonclient.grpc import service_pb2

from benchmarks.chaos.asking import INFER, UNBOUNDED, avatar_request
from benchmarks.chaos.row import Effort, Finding
from benchmarks.chaos.server_processes import memory, peak_memory
from benchmarks.serving.served_process import ServedProcess, served

_MEGABYTE: Final = 10**6
_GROWS_BY: Final = 1.05
#: The gateway gives memory back twice a minute (`facewright.gateway.heap`).
_GIVEN_BACK_S: Final = 35.0
#: What the door may hold of a message before it refuses it.
_UNBUFFERED_MB: Final = 50.0

Attack = Callable[[ServedProcess], str]


def attacks(megabytes: float) -> Mapping[str, Attack]:
    """By what they are: each sends its message and tells how it ended.

    Args:
        megabytes: of the large ones; the largest has three times as many.
    """
    size = round(megabytes * _MEGABYTE)
    return {
        f"gRPC, {size / _MEGABYTE:.0f} MB": lambda server: _grpc(server, avatar_request(bytes(size))),
        f"gRPC, {3 * size / _MEGABYTE:.0f} MB": lambda server: _grpc(server, avatar_request(bytes(3 * size))),
        "gRPC, gzip": lambda server: _grpc(server, avatar_request(bytes(size)), grpc.Compression.Gzip),
        "gRPC, a tensor of numbers": lambda server: _grpc(server, _typed_tensor(size)),
        "gRPC, a tensor of refinement": lambda server: _grpc(server, _raw_tensor(size)),
        "HTTP, its length announced": lambda server: _http(server, partial(_announced, 3 * size)),
        "HTTP, in chunks": lambda server: _http(server, partial(_chunked, size)),
        "HTTP, gzip": lambda server: _http(server, partial(_packed, size)),
    }


def oversized(effort: Effort) -> Finding:
    """One after the other, with the server's memory before, meanwhile and after."""
    rows: dict[str, Any] = {}
    with served() as server:
        _settle(server)
        before = memory(server.pid)
        for name, attack in attacks(effort.pick(500, 60)).items():
            began, first = time.monotonic(), memory(server.pid)
            with peak_memory(server.pid) as peak:
                told = attack(server)
            rows[name] = {
                "told": told,
                "seconds": round(time.monotonic() - began, 2),
                "gateway_peak_mb": round(peak.gateway - first.gateway, 1),
                "triton_peak_mb": round(peak.triton - first.triton, 1),
            }
        time.sleep(_GIVEN_BACK_S)
        _settle(server)
        after, restarts = memory(server.pid), server.restarts()
    figures = {
        "before": before.as_row(),
        "after": after.as_row(),
        "restarts": restarts,
        "messages": rows,
    }
    worst = max(rows, key=lambda name: rows[name]["gateway_peak_mb"])
    peak_mb = rows[worst]["gateway_peak_mb"]
    said = (
        f"all refused; gateway {before.gateway:.0f} → {after.gateway:.0f} MB, at most {peak_mb:+.0f} MB "
        f"meanwhile ({worst}); Triton {before.triton:.0f} → {after.triton:.0f} MB"
    )
    grown = (after.gateway + after.triton) / (before.gateway + before.triton)
    refused = all(row["told"] != "answered" for row in rows.values())
    return Finding(said, refused and grown <= _GROWS_BY and peak_mb <= _UNBUFFERED_MB, figures)


def _settle(server: ServedProcess) -> None:
    """Some avatars, so that memory that stays for good is there before and after."""
    for _ in range(4):
        told = _grpc(server, avatar_request())
        if told != "answered":
            raise RuntimeError(f"the server does not answer: {told}")
    time.sleep(1.0)


def _grpc(
    server: ServedProcess, request: bytes, compression: grpc.Compression = grpc.Compression.NoCompression
) -> str:
    with grpc.insecure_channel(server.url, UNBOUNDED) as channel:
        try:
            channel.unary_unary(INFER)(request, timeout=120, compression=compression)
        except grpc.RpcError as error:
            failed: Any = error
            return f"{failed.code().name}: {failed.details()}"[:200]
    return "answered"


def _http(server: ServedProcess, request: Callable[[], Iterator[bytes]]) -> str:
    """The status line; a server that does not hear the rest of a body closes."""
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=120) as connection:
        with suppress(OSError):
            for piece in request():
                connection.sendall(piece)
        with suppress(OSError):
            answer = connection.recv(4096)
            return str(answer.partition(b"\r\n")[0], "latin-1") or "closed"
    return "closed"


def _head(*headers: str) -> bytes:
    return "\r\n".join(("POST /v1/avatars HTTP/1.1", "Host: localhost", *headers, "", "")).encode()


def _announced(size: int) -> Iterator[bytes]:
    yield _head(f"Content-Length: {size}")
    yield from (bytes(_MEGABYTE) for _ in range(size // _MEGABYTE))


def _chunked(size: int) -> Iterator[bytes]:
    yield _head("Transfer-Encoding: chunked")
    yield from (b"%x\r\n" % _MEGABYTE + bytes(_MEGABYTE) + b"\r\n" for _ in range(size // _MEGABYTE))


def _packed(size: int) -> Iterator[bytes]:
    body = gzip.compress(bytes(size))
    yield _head("Content-Encoding: gzip", f"Content-Length: {len(body)}")
    yield body


def _typed_tensor(size: int) -> bytes:
    """A photo whose bytes are a repeated number of Protocol Buffers, not raw ones."""
    request = service_pb2.ModelInferRequest(model_name="avatar_twin")
    tensor = request.inputs.add(name="PHOTO", datatype="FP32", shape=[1, size // 4])
    tensor.contents.fp32_contents.extend(bytes(size // 4))
    serialised: bytes = request.SerializeToString()
    return serialised


def _raw_tensor(size: int) -> bytes:
    request = service_pb2.ModelInferRequest(model_name="refine_latent")
    request.inputs.add(name="W_PLUS", datatype="FP32", shape=[1, size // 2048, 512])
    request.raw_input_contents.append(bytes(size))
    serialised: bytes = request.SerializeToString()
    return serialised
