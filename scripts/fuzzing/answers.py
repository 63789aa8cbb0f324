"""The target of HTTP/2 answers: a real `Backend` calls a server whose frames may all be wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import cache
from typing import Final

import grpc.aio

from lro_gateway.backends.backend import Backend
from lro_gateway.backends.channel import Endpoint
from lro_gateway.backends.health import HealthCheck
from lro_gateway.backends.list_query import ListQuery
from lro_gateway.descriptors.reflection import ReflectionSource
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.descriptors.sources import SourceError
from lro_gateway.errors import StatusError
from lro_gateway.mcp import words
from lro_gateway.mcp.failures import tool_error
from lro_gateway.operations.names import BackendName, GatewayName
from lro_gateway.operations.operation import Operation
from scripts.fuzzing.checks import check
from scripts.fuzzing.http2_server import Http2Server

_DEADLINE: Final = 1.0
_LATEST: Final = 4.0
"""Seconds within which every call ends, although its deadline is sooner."""
_OPTIONS: Final = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))
_NAME: Final = BackendName("operations/1")


class _Caller:
    """A backend at the server, and the calls of which each input makes one."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._server = Http2Server()
        self._runner.run(self._server.start())

    def call(self, data: bytes) -> None:
        """Make one call, and check that it ends soon and in one of the ways that callers expect."""
        self._server.data = data[1:]
        self._runner.run(self._call(data[0] if data else 0))

    async def _call(self, which: int) -> None:
        target = self._server.target
        async with grpc.aio.insecure_channel(target, options=_OPTIONS) as channel:
            calls = _calls(channel, target)
            begun = time.monotonic()
            try:
                await calls[which % len(calls)]()
            except StatusError as error:
                text = tool_error(error).content
                check(text, "an error has a text")
            except SourceError as error:
                check(str(error), "an error has a text")
            check(time.monotonic() - begun < _LATEST, "a call ends soon after its deadline")


def _calls(channel: grpc.aio.Channel, target: str) -> tuple[Callable[[], Awaitable[object]], ...]:
    deadline = timedelta(seconds=_DEADLINE)
    endpoint = Endpoint("b", target, deadline=deadline)
    backend = Backend(
        endpoint,
        channel,
        TypeRegistry("b", []),
        public_name=GatewayName,
        public_parent=GatewayName,
    )
    reflection = ReflectionSource(channel, (), _DEADLINE)

    async def described() -> None:
        _describe(await backend.get(_NAME))

    async def listed() -> None:
        page = await backend.list(
            ListQuery(BackendName(""), "", 0, "", return_partial_success=True)
        )
        words.describe_page(page)
        for operation in page.operations:
            _describe(operation)

    return (
        described,
        listed,
        lambda: backend.cancel(_NAME),
        HealthCheck(backend, channel, deadline).report,
        reflection.services,
        lambda: reflection.find("shapes.v1.Job"),
    )


def _describe(operation: Operation) -> None:
    operation.to_json()
    words.describe(operation)


@cache
def _caller() -> _Caller:
    return _Caller()


def http2_answers(data: bytes) -> None:
    """Answer a call by the frames that an input chooses.

    The call ends within its deadline, with an answer or with one of the declared errors.
    """
    _caller().call(data)
