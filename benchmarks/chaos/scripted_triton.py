"""A Triton that answers at once with so many bytes, in a process of its own: what the gateway costs, without
stages.

python -m benchmarks.chaos.scripted_triton SOCKET BYTES
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2

from benchmarks.chaos.asking import INFER, UNBOUNDED


class _Answers(grpc.GenericRpcHandler):  # type: ignore[misc]  # of an untyped package
    """Takes and gives bytes, so that it costs little of the core that it shares."""

    def __init__(self, size: int) -> None:
        answer = service_pb2.ModelInferResponse(model_name="avatar_twin")
        answer.outputs.add(name="GLB", datatype="UINT8", shape=[1, size])
        answer.raw_output_contents.append(bytes(size))
        self._answer: bytes = answer.SerializeToString()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """gRPC's entry point."""
        return grpc.unary_unary_rpc_method_handler(self._infer) if details.method == INFER else None

    async def _infer(self, _request: bytes, _context: Any) -> bytes:
        return self._answer


async def _serve(socket: Path, size: int) -> None:
    server = grpc.aio.server(options=UNBOUNDED)
    server.add_generic_rpc_handlers((_Answers(size),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
