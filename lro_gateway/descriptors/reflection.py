"""Descriptors by gRPC server reflection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.sources import (
    FileIndex,
    SourceError,
    SourceUnavailableError,
    SourceUnreachableError,
    text_of,
)
from lro_gateway.errors import Code, code_name

_MAX_FILES: Final = 4096

# What servers say of a symbol they do not know, or whose name they do not like.
_UNKNOWN: Final = frozenset({Code.NOT_FOUND, Code.INVALID_ARGUMENT})
_SERVICES: Final = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)


class ReflectionSource:
    """Server reflection, v1 or v1alpha, whichever the server speaks.

    `metadata` is sent with each call, as reflection may want the same credentials as the service;
    `deadline` is in seconds and covers one look-up.
    """

    def __init__(
        self, channel: grpc.aio.Channel, metadata: Sequence[tuple[str, str]], deadline: float
    ) -> None:
        self._metadata = metadata
        self._deadline = deadline
        # There is no deserializer, because gRPC turns an answer that does not parse into None.
        # Both versions share their messages but for the package, which is not on the wire. One call
        # for each request: on a stream that the server refuses, a write that comes too late hides
        # the server's status behind an internal error of gRPC's own.
        self._calls: Mapping[str, grpc.aio.UnaryStreamMultiCallable[Any, Any]] = {
            service: channel.unary_stream(
                f"/{service}/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            )
            for service in _SERVICES
        }
        self._service: str | None = None

    @property
    def label(self) -> str:
        """Always `reflection`."""
        return "reflection"

    async def find(self, symbol: str) -> Sequence[FileDescriptorProto]:
        """Ask the server for the file of a symbol, then for what it depends on."""
        async with self._told():
            return await self._find(symbol)

    async def services(self) -> Sequence[str]:
        """Ask the server for its services."""
        async with self._told():
            answer = await self._ask(reflection_pb2.ServerReflectionRequest(list_services=""))
            if answer.HasField("error_response"):
                raise _refused(answer)
            return [service.name for service in answer.list_services_response.service]

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """Bound a look-up by the deadline, and tell every failure as a `SourceError`."""
        try:
            async with asyncio.timeout(self._deadline):
                yield
        except TimeoutError:
            raise SourceUnreachableError(
                f"reflection did not answer within {self._deadline:g} s"
            ) from None
        except grpc.aio.AioRpcError as error:
            code = error.code()
            unavailable = code is grpc.StatusCode.UNAVAILABLE
            raise (SourceUnreachableError if unavailable else SourceError)(
                f"reflection failed: {code.name}: {error.details()}"
            ) from error
        except DecodeError as error:
            raise SourceError("reflection answered with a malformed descriptor") from error

    async def _find(self, symbol: str) -> Sequence[FileDescriptorProto]:
        asked = {file.name for file in well_known.FILES}
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        files = {text_of(file.name): file for file in await self._files(request)}
        while len(files) <= _MAX_FILES:
            needed = {text_of(name) for file in files.values() for name in file.dependency}
            wanted = sorted(needed - files.keys() - asked)
            if not wanted:
                break
            asked.update(wanted)
            for name in wanted:
                request = reflection_pb2.ServerReflectionRequest(file_by_filename=name)
                files.update({text_of(file.name): file for file in await self._files(request)})
        return FileIndex(files.values()).find(symbol)

    async def _files(
        self, request: reflection_pb2.ServerReflectionRequest
    ) -> list[FileDescriptorProto]:
        """Ask for files; an unknown symbol or file is an empty answer."""
        answer = await self._ask(request)
        if answer.HasField("error_response"):
            if answer.error_response.error_code in _UNKNOWN:
                return []
            raise _refused(answer)
        return [
            FileDescriptorProto.FromString(content)
            for content in answer.file_descriptor_response.file_descriptor_proto
        ]

    async def _ask(
        self, request: reflection_pb2.ServerReflectionRequest
    ) -> reflection_pb2.ServerReflectionResponse:
        """Send a request by the version that the server speaks."""
        for service in (self._service,) if self._service else _SERVICES:
            try:
                answer = await _first(
                    self._calls[service](request, metadata=self._metadata or None)
                )
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                    raise
                continue
            self._service = service
            return answer
        # It may be another server by the next time.
        self._service = None
        raise SourceUnavailableError("reflection is not served")


def _refused(answer: reflection_pb2.ServerReflectionResponse) -> SourceError:
    """Make the error of an answer in which the server says why there is none."""
    refusal = answer.error_response
    return SourceError(
        f"reflection failed: {code_name(refusal.error_code)}: {refusal.error_message}"
    )


async def _first(
    stream: grpc.aio.UnaryStreamCall[Any, Any],
) -> reflection_pb2.ServerReflectionResponse:
    """Return the first response of a call, and end it.

    Raises `AioRpcError` if the call failed, `SourceError` if the server did not answer the request.
    """
    try:
        answer = await stream.read()
        if answer is grpc.aio.EOF:
            raise SourceError("reflection ended its stream without an answer")
        if not isinstance(answer, bytes):
            raise SourceError("reflection answered without a message")
        return reflection_pb2.ServerReflectionResponse.FromString(answer)
    except DecodeError:
        raise SourceError("reflection answered with a malformed message") from None
    finally:
        stream.cancel()
