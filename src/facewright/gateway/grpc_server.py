"""grpcio's asyncio server, which no caller can end by the name of a method.

grpcio 1.85 reads the name of a call's method as UTF-8 in the loop that takes calls: a single one that is not
ends the loop, and with it the server. Calls of methods that are registered by name come another way. So all
that is served is registered, and what is left over is answered here, under no name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
from grpc._cython import cygrpc
from grpc.aio._server import Server as _AsyncServer


class GrpcServer(_AsyncServer):  # type: ignore[misc]  # of an untyped package
    """`grpc.aio.server`, of which only methods that are registered by name can be called.

    Args:
        interceptors: of all methods.
        options: of the channel.
    """

    def __init__(
        self, interceptors: Sequence[grpc.aio.ServerInterceptor], options: Sequence[tuple[str, Any]]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = _Core(self._loop, None, (), interceptors, options, None)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Generated code calls this beside `add_registered_method_handlers`; it would never be asked."""

    def add_service(self, name: str, handlers: Mapping[str, grpc.RpcMethodHandler]) -> None:
        """Serve a service's methods, by their names."""
        self.add_registered_method_handlers(name, dict(handlers))


class _Core(cygrpc.AioServer):  # type: ignore[misc]  # of an untyped package
    def _make_request_call_future(self, method: bytes | None) -> asyncio.Future[Any]:
        """The next call of a registered method; None: of any other, which the server's loop never sees."""
        if method is not None:
            coming: asyncio.Future[Any] = super()._make_request_call_future(method)
            return coming
        return asyncio.create_task(self._refuse_strangers())

    async def _refuse_strangers(self) -> None:
        """UNIMPLEMENTED, until the server stops, which is an error of `_request_call`."""
        loop = asyncio.get_running_loop()
        nothing = cygrpc._MethodResolver([], {})
        refusing = set()
        while True:
            call = await self._request_call()
            answer = cygrpc._handle_rpc("", nothing, (), call, loop, False)
            task = asyncio.create_task(cygrpc._schedule_rpc_coro(answer, call, loop, ""))
            refusing.add(task)  # the loop itself holds tasks weakly
            task.add_done_callback(refusing.discard)
