"""A source of descriptors that uses gRPC server reflection."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2

from lro_gateway.background import Slices, Steps
from lro_gateway.descriptors.declarations import symbols
from lro_gateway.descriptors.descriptor_file import DescriptorFile
from lro_gateway.descriptors.limits import DescriptorLimits
from lro_gateway.descriptors.received_files import Received
from lro_gateway.descriptors.source_list import each_of
from lro_gateway.descriptors.sources import SourceError, SourceUnavailableError
from lro_gateway.errors import Code, StatusError, code_name, quote, quoted_text

logger: Final = logging.getLogger(__name__)

NOT_SERVED: Final = "reflection is not served"
"""The text of the error about a server without reflection."""

_MAX_DECLARATIONS: Final = 20_000
"""The maximum number of messages, enums and services in one file.

The largest file of googleapis has 2,300. To add a file to a pool is one call, which takes about
4 ms for each thousand declarations, and during that time nothing else runs.
"""
_OWN_SERVICES: Final = 32
"""The services of a list that the limit does not count, such as those of gRPC itself."""
_LONGEST_NAME: Final = 512
"""The maximum length of the name of a service, in characters."""
_SMALLEST: Final = 5
"""The size of the smallest declaration in bytes: its own tag and length, and those of its name."""
_MAX_CALLS: Final = 8
"""The maximum number of calls at a time."""
_PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds before a call is repeated, each time that the server answers RESOURCE_EXHAUSTED."""
_TRANSIENT: Final = frozenset(
    {
        *(Code.CANCELLED, Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED),
        *(Code.ABORTED, Code.INTERNAL, Code.UNAVAILABLE),
    }
)
"""If a look-up fails with one of these codes, a later look-up may succeed."""

# Servers answer with one of these codes if a symbol is unknown or its name is invalid.
_UNKNOWN: Final = frozenset({Code.NOT_FOUND, Code.INVALID_ARGUMENT})
# gRPC makes this error text if an answer is too large. A later answer would be as large.
_TOO_LARGE: Final = "larger than max"
# gRPC makes this error text if the metadata of a request is too large for the server. Later
# requests would have as much metadata.
_METADATA_TOO_LARGE: Final = "exceeds hard limit"
_SERVICES: Final = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)

_Request = reflection_pb2.ServerReflectionRequest
_Response = reflection_pb2.ServerReflectionResponse


class ReflectionSource:
    """A source that calls the backend's server reflection, v1 or v1alpha.

    `metadata` is sent with each call, because reflection may require the credentials of the
    service. `credentials` returns more metadata for a call. `deadline` is in seconds and covers one
    look-up, which may take several calls. The source keeps the files that it has received, and does
    not request them again before `forget` is called. A look-up fails if it needs more files than
    the `limits` allow for all look-ups.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        metadata: Sequence[tuple[str, str]],
        deadline: float,
        limits: DescriptorLimits | None = None,
        slices: Slices | None = None,
        credentials: Callable[[], Awaitable[Sequence[tuple[str, str]]]] | None = None,
    ) -> None:
        self._metadata = tuple(metadata)
        self._credentials = credentials
        self._deadline = deadline
        self._limits = limits or DescriptorLimits()
        self._slices = slices or Slices()
        # The calls have no deserializer, because gRPC turns an answer into None if parsing fails.
        # The messages of v1 and v1alpha are the same on the wire, because only their package
        # differs. Each request is a separate call. If the requests shared a stream and the server
        # refused that stream, a later write would replace the server's status by an internal error
        # of gRPC.
        self._calls: Mapping[str, grpc.aio.UnaryStreamMultiCallable[Any, Any]] = {
            service: channel.unary_stream(
                f"/{service}/ServerReflectionInfo",
                request_serializer=_Request.SerializeToString,
            )
            for service in _SERVICES
        }
        self._service: str | None = None
        self._slots = asyncio.Semaphore(_MAX_CALLS)
        self._received = Received()

    @property
    def label(self) -> str:
        """The label of this source, which is always `reflection`."""
        return "reflection"

    def forget(self) -> None:
        """Forget all received files."""
        self._received = Received()

    async def find(self, symbol: str) -> Sequence[DescriptorFile]:
        """Fetch the file that defines a symbol, and the files that it depends on."""
        received = self._received
        async with self._raising_source_errors():
            if symbol not in received.index:
                await self._receive(received, _Request(file_containing_symbol=symbol))
            return await self._complete(received, partial(received.index.finding, symbol))

    async def find_file(self, name: str) -> Sequence[DescriptorFile]:
        """Fetch the file of this name, and the files that it depends on."""
        received = self._received
        async with self._raising_source_errors():
            await self._fetch(received, name)
            if (failure := received.failed.get(name)) is not None:
                raise failure
            return await self._complete(received, partial(received.index.finding_file, name))

    async def find_extension(self, extended: str, number: int) -> Sequence[DescriptorFile]:
        """Fetch the file that declares an extension, and the files that it depends on."""
        received = self._received

        find = partial(received.index.finding_extension, extended, number)
        async with self._raising_source_errors():
            # Node's reflection knows the extended type only by its name with a dot in front.
            for name in (extended, f".{extended}"):
                if not await self._slices.run(find()):
                    wanted = reflection_pb2.ExtensionRequest(
                        containing_type=name, extension_number=number
                    )
                    await self._receive(received, _Request(file_containing_extension=wanted))
            return await self._complete(received, find)

    async def services(self) -> Sequence[str]:
        """Fetch the names of the server's services."""
        async with self._raising_source_errors():
            # Most servers ignore the text, but an old server for Node needs one.
            request = _Request(list_services="*")
            answer = await self._call(request)
            if answer.HasField("error_response"):
                raise _refused(answer)
            self._received.answers[_key(request)] = _digest(answer)
            # One more than the limit shows that there are more. A longer name is no service's.
            most = self._limits.services + _OWN_SERVICES
            listed = answer.list_services_response.service[:most]
            return [each.name for each in listed if len(each.name) <= _LONGEST_NAME]

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

    async def is_unchanged(self) -> bool:
        """Return whether the server answers the same requests in the same way as before.

        The requests for symbols that the server did not have are not repeated.
        """
        answers = self._received.answers

        async def is_same(request: bytes) -> bool:
            try:
                async with self._raising_source_errors():
                    answer = await self._call(_Request.FromString(request))
            except SourceError:
                return False
            return _digest(answer) == answers.get(request)

        return all(await each_of([*answers], is_same))

    async def _complete(
        self, received: Received, find: Callable[[], Steps[list[DescriptorFile]]]
    ) -> Sequence[DescriptorFile]:
        """Fetch the imports that the files of `find` lack, and return all files."""
        while True:
            files = await self._slices.run(find())
            new: Sequence[DescriptorFile] = files
            while names := sorted(received.unknown_imports(new)):
                outcomes = await asyncio.gather(
                    *(self._fetch(received, name) for name in names), return_exceptions=True
                )
                failures = [each for each in outcomes if isinstance(each, BaseException)]
                if failures:
                    raise failures[0]
                new = [file for each in outcomes if isinstance(each, list) for file in each]
            if new is files:
                return files

    async def _fetch(self, received: Received, name: str) -> list[DescriptorFile]:
        """Fetch one file, unless it was requested before. The server may not have it."""
        async with received.locks[name]:
            if received.index.has_file(name) or name in received.missing:
                return []
            try:
                return await self._receive(received, _Request(file_by_filename=name), name)
            except SourceUnavailableError:
                raise
            except SourceError as error:
                # The file may only declare options, or another source may have it.
                logger.info("file %s is missing: %s", quote(name), error)
                if error.is_transient:
                    received.failed[name] = error
                received.missing.add(name)
                return []

    async def _receive(
        self, received: Received, request: _Request, name: str = ""
    ) -> list[DescriptorFile]:
        """Send one request, keep the files in the answer, and return them.

        The list is empty if the server does not know the requested symbol or file.
        """
        answer = await self._call(request)
        files: list[FileDescriptorProto] = []
        if answer.HasField("error_response"):
            if answer.error_response.error_code not in _UNKNOWN:
                raise _refused(answer)
        else:
            files = await self._slices.run(_parsed(answer))
        if files or name:
            received.answers[_key(request)] = _digest(answer)
        new = [file for file in files if not received.index.has_file(file.name)]
        size = sum(file.ByteSize() for file in new)
        if received.number + len(new) > (most := self._limits.files):
            raise SourceUnavailableError(_over(f"{most} files", "max_descriptor_files"))
        if received.size + size > (most := self._limits.size):
            raise SourceUnavailableError(_over(f"{most} bytes", "max_descriptor_bytes"))
        received.number += len(new)
        received.size += size
        return await self._slices.run(received.adding(files, name))

    async def _call(self, request: _Request) -> _Response:
        """Send one request. Repeat it a few times if the server limits the rate of calls."""
        async with self._slots:
            answer = await self._attempt(request)
            for pause in _PAUSES:
                refusal = answer.error_response
                if refusal.error_code != Code.RESOURCE_EXHAUSTED or _stays(refusal.error_message):
                    break
                await asyncio.sleep(pause)
                answer = await self._attempt(request)
            return answer

    async def _all_metadata(self) -> tuple[tuple[str, str], ...]:
        if self._credentials is None:
            return self._metadata
        try:
            return (*self._metadata, *await self._credentials())
        except StatusError as error:
            raise SourceUnavailableError(error.message, is_transient=True) from error

    async def _attempt(self, request: _Request) -> _Response:
        """Send one request once, in the version of reflection that the server implements.

        An error that ended the call is returned as an error in an answer, because some servers
        report an unknown symbol by either.
        """
        metadata = await self._all_metadata()
        for service in sorted(_SERVICES, key=lambda service: service != self._service):
            try:
                answer = await _first(self._calls[service](request, metadata=metadata or None))
            except grpc.aio.AioRpcError as error:
                code: int = error.code().value[0]
                if code == Code.UNIMPLEMENTED:
                    continue
                if code == Code.UNAVAILABLE:
                    # Another server may take over the address.
                    self.forget()
                    raise SourceUnavailableError(
                        _failure(code, error.details()), is_transient=True
                    ) from error
                refusal = reflection_pb2.ErrorResponse(
                    error_code=code, error_message=error.details() or ""
                )
                return _Response(error_response=refusal)
            self._service = service
            return answer
        if self._service is not None:
            # The server may lack this kind of request. It may also have been replaced by another
            # one, so try both versions at the next look-up.
            self._service = None
            raise SourceError("reflection does not implement the request")
        raise SourceUnavailableError(NOT_SERVED)


def _parsed(answer: _Response) -> Steps[list[FileDescriptorProto]]:
    """Return the files in an answer."""
    files: list[FileDescriptorProto] = []
    malformed = False
    for content in answer.file_descriptor_response.file_descriptor_proto:
        yield
        try:
            file = FileDescriptorProto.FromString(content)
            yield from _check_declarations(file, len(content))
            files.append(file)
        except DecodeError:
            malformed = True
    if malformed and not files:
        raise SourceError("reflection answered with a malformed descriptor")
    return files


def _check_declarations(file: FileDescriptorProto, size: int) -> Steps[None]:
    """Raise `SourceError` if a file has too many declarations to be added to a pool at once."""
    if size >= _MAX_DECLARATIONS * _SMALLEST:
        for number, _ in enumerate(symbols(file), 1):
            yield
            if number > _MAX_DECLARATIONS:
                raise SourceError(
                    f"the file {quote(file.name)} of reflection has more than"
                    f" {_MAX_DECLARATIONS} declarations"
                )


def _key(request: _Request) -> bytes:
    return request.SerializeToString(deterministic=True)


def _digest(answer: _Response) -> bytes:
    return hashlib.blake2b(answer.SerializeToString(deterministic=True)).digest()


def _over(limit: str, setting: str) -> str:
    return f"reflection has more than {limit}; raise {setting} of this backend"


def _stays(text: str) -> bool:
    """Return whether a refusal is about a size, and not about the rate of calls."""
    return _TOO_LARGE in text or _METADATA_TOO_LARGE in text


def _refused(answer: _Response) -> SourceError:
    """Make a `SourceError` from an answer that holds an error."""
    code, text = answer.error_response.error_code, answer.error_response.error_message
    if code == Code.RESOURCE_EXHAUSTED and _TOO_LARGE in text:
        return SourceError(f"{_failure(code, text)}; raise max_message_bytes of this backend")
    return SourceError(_failure(code, text), is_transient=code in _TRANSIENT)


def _failure(code: int, text: str | None) -> str:
    failure = f"reflection failed: {code_name(code)}"
    return f"{failure}: {quoted_text(text)}" if text else failure


async def _first(stream: grpc.aio.UnaryStreamCall[Any, Any]) -> _Response:
    """Return the first response of a call, and end the call.

    Raises `AioRpcError` if the call failed, and `SourceError` if it ended without a valid response.
    """
    try:
        answer = await stream.read()
        if answer is grpc.aio.EOF:
            raise SourceError("reflection ended its stream without an answer")
        if not isinstance(answer, bytes):
            raise SourceError("reflection answered without a message")
        return _Response.FromString(answer)
    except DecodeError:
        raise SourceError("reflection answered with a malformed message") from None
    finally:
        stream.cancel()
