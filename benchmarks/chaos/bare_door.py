"""What an asyncio server of grpcio costs that passes bytes on and does nothing else: the least for a gateway.

python -m benchmarks.chaos.bare_door SOCKET
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from benchmarks.chaos.asking import INFER, UNBOUNDED


class _PassesOn(grpc.GenericRpcHandler):  # type: ignore[misc]  # of an untyped package
    def __init__(self, triton: Path) -> None:
        self._infer = grpc.aio.insecure_channel(f"unix:{triton}", UNBOUNDED).unary_unary(INFER)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """gRPC's entry point."""
        return grpc.unary_unary_rpc_method_handler(self._answer) if details.method == INFER else None

    async def _answer(self, request: bytes, _context: Any) -> Any:
        return await self._infer(request)


async def _serve(triton: Path) -> None:
    server = grpc.aio.server(options=UNBOUNDED)
    server.add_generic_rpc_handlers((_PassesOn(triton),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
