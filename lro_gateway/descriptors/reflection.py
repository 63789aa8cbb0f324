"""A source of descriptors that uses gRPC server reflection."""

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
    text_of,
)
from lro_gateway.errors import Code, code_name

_MAX_FILES: Final = 4096
_TRANSIENT: Final = frozenset(
    {
        *(Code.CANCELLED, Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED),
        *(Code.ABORTED, Code.INTERNAL, Code.UNAVAILABLE),
    }
)
"""If a look-up fails with one of these codes, a later look-up may succeed."""

# Servers answer with one of these codes if a symbol is unknown or its name is invalid.
_UNKNOWN: Final = frozenset({Code.NOT_FOUND, Code.INVALID_ARGUMENT})
_SERVICES: Final = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)


class ReflectionSource:
    """A source that calls the backend's server reflection, v1 or v1alpha.

    `metadata` is sent with each call, because reflection may require the credentials of the
    service. `deadline` is in seconds and covers one look-up, which may take several calls.
    """

    def __init__(
        self, channel: grpc.aio.Channel, metadata: Sequence[tuple[str, str]], deadline: float
    ) -> None:
        self._metadata = metadata
        self._deadline = deadline
        # The calls have no deserializer, because gRPC turns an answer into None if parsing fails.
        # The messages of v1 and v1alpha are the same on the wire, because only their package
        # differs. Each request is a separate call. If the requests shared a stream and the server
        # refused that stream, a later write would replace the server's status by an internal error
        # of gRPC.
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
        """The label of this source, which is always `reflection`."""
        return "reflection"

    async def find(self, symbol: str) -> Sequence[FileDescriptorProto]:
        """Fetch the file that defines a symbol, and the files that it depends on."""
        async with self._raising_source_errors():
            return await self._find(symbol)

    async def services(self) -> Sequence[str]:
        """Fetch the names of the server's services."""
        async with self._raising_source_errors():
            answer = await self._call(reflection_pb2.ServerReflectionRequest(list_services=""))
            if answer.HasField("error_response"):
                raise _refused(answer)
            return [service.name for service in answer.list_services_response.service]

    @asynccontextmanager
    async def _raising_source_errors(self) -> AsyncIterator[None]:
        """Limit a look-up by the deadline, and raise each failure as a `SourceError`."""
        try:
            async with asyncio.timeout(self._deadline):
                yield
        except TimeoutError:
            raise SourceUnavailableError(
                f"reflection did not answer within {self._deadline:g} s", is_transient=True
            ) from None
        except grpc.aio.AioRpcError as error:
            code = error.code()
            unavailable = code is grpc.StatusCode.UNAVAILABLE
            raise (SourceUnavailableError if unavailable else SourceError)(
                f"reflection failed: {code.name}: {error.details()}",
                is_transient=code.value[0] in _TRANSIENT,
            ) from error
        except DecodeError as error:
            raise SourceError("reflection answered with a malformed descriptor") from error

    async def _find(self, symbol: str) -> Sequence[FileDescriptorProto]:
        requested = {file.name for file in well_known.FILES}
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        files = {text_of(file.name): file for file in await self._files(request)}
        while len(files) <= _MAX_FILES:
            needed = {text_of(name) for file in files.values() for name in file.dependency}
            missing = sorted(needed - files.keys() - requested)
            if not missing:
                break
            requested.update(missing)
            for name in missing:
                request = reflection_pb2.ServerReflectionRequest(file_by_filename=name)
                files.update({text_of(file.name): file for file in await self._files(request)})
        return FileIndex(files.values()).find(symbol)

    async def _files(
        self, request: reflection_pb2.ServerReflectionRequest
    ) -> list[FileDescriptorProto]:
        """Send one request, and return the files in the answer.

        The list is empty if the server does not know the requested symbol or file.
        """
        answer = await self._call(request)
        if answer.HasField("error_response"):
            if answer.error_response.error_code in _UNKNOWN:
                return []
            raise _refused(answer)
        return [
            FileDescriptorProto.FromString(content)
            for content in answer.file_descriptor_response.file_descriptor_proto
        ]

    async def _call(
        self, request: reflection_pb2.ServerReflectionRequest
    ) -> reflection_pb2.ServerReflectionResponse:
        """Send one request, in the version of reflection that the server implements."""
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
        # Try both versions at the next look-up, because the server may have been replaced by then.
        self._service = None
        raise SourceUnavailableError("reflection is not served")


def _refused(answer: reflection_pb2.ServerReflectionResponse) -> SourceError:
    """Make a `SourceError` from an answer that holds an error."""
    refusal = answer.error_response
    return SourceError(
        f"reflection failed: {code_name(refusal.error_code)}: {refusal.error_message}",
        is_transient=refusal.error_code in _TRANSIENT,
    )


async def _first(
    stream: grpc.aio.UnaryStreamCall[Any, Any],
) -> reflection_pb2.ServerReflectionResponse:
    """Return the first response of a call, and end the call.

    Raises `AioRpcError` if the call failed, and `SourceError` if it ended without a valid response.
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
