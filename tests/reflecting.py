"""Servers whose reflection answers in the ways in which servers of other languages answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2

from lro_gateway.descriptors.file_index import FileIndex
from tests.contrary import OPERATIONS, REQUESTS, Handler

Failure = tuple[grpc.StatusCode, str]
"""The status with which a call of reflection ends."""
Answer = bytes | Failure | None
"""The bytes of an answer, or a failure. None ends the stream without an answer."""


def answer(*files: FileDescriptorProto | bytes) -> bytes:
    """Return the bytes of an answer that holds these files."""
    contents = [f if isinstance(f, bytes) else f.SerializeToString() for f in files]
    response = reflection_pb2.ServerReflectionResponse()
    response.file_descriptor_response.file_descriptor_proto.extend(contents)
    return response.SerializeToString()


def refusal(code: int, message: str) -> bytes:
    """Return the bytes of an answer that holds an error."""
    response = reflection_pb2.ServerReflectionResponse()
    response.error_response.error_code = code
    response.error_response.error_message = message
    return response.SerializeToString()


def key_of(request: Any) -> str:
    """Return a request as text, such as `file_by_filename a.proto`."""
    kind = request.WhichOneof("message_request")
    value = getattr(request, kind)
    if kind == "file_containing_extension":
        value = f"{value.containing_type} {value.extension_number}"
    return f"{kind} {value}"


@dataclass
class ReflectingBackend:
    """A running server of reflection v1.

    `requests` lists the requests of reflection as texts, and `most` is the largest number of
    requests that the server had at a time. A test may change `files` and `answers`, whose keys are
    requests as texts, while the server runs. Each of the answers in `once` is used once, before
    those in `answers`. If `together` is set, requests for symbols are answered in groups.
    """

    files: list[FileDescriptorProto]
    services: list[str]
    whole: bool = False
    answers: dict[str, Answer] = field(default_factory=dict)
    once: dict[str, list[Answer]] = field(default_factory=dict)
    not_found: Answer = field(default_factory=lambda: refusal(5, "not found"))
    target: str = ""
    requests: list[str] = field(default_factory=list)
    running: int = 0
    most: int = 0
    together: asyncio.Barrier | None = None
    _index: FileIndex | None = None
    _of: list[FileDescriptorProto] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        files: Iterable[FileDescriptorProto],
        *services: str,
        handlers: Mapping[str, Handler] | None = None,
        methods: Mapping[str, Any] | None = None,
        reflects: bool = True,
        **settings: Any,
    ) -> AsyncIterator[ReflectingBackend]:
        """Serve these files and services.

        If `whole` is set, an answer has a file and all files that it needs. Otherwise it has only
        the file. `not_found` answers a request for what is not in the files. `handlers` are those
        of the Operations RPCs, and `methods` take and return bytes, by `pkg.Service/Method`.
        """
        backend = cls([*files], [*services], **settings)
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        rpc: Any = grpc.stream_stream_rpc_method_handler(
            backend._answer,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        )
        rpcs: dict[str, dict[str, Any]] = {}
        if reflects:
            rpcs["grpc.reflection.v1.ServerReflection"] = {"ServerReflectionInfo": rpc}
        for name, handler in (handlers or {}).items():
            rpcs.setdefault(OPERATIONS, {})[name] = grpc.unary_unary_rpc_method_handler(
                handler,
                request_deserializer=REQUESTS[name].FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
        for path, handler in (methods or {}).items():
            service, _, name = path.partition("/")
            rpcs.setdefault(service, {})[name] = grpc.unary_unary_rpc_method_handler(handler)
        server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(*each) for each in rpcs.items())
        )
        backend.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield backend
        finally:
            await server.stop(None)

    async def _answer(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            key = key_of(request)
            self.requests.append(key)
            self.running += 1
            self.most = max(self.most, self.running)
            if self.together and request.HasField("file_containing_symbol"):
                await self.together.wait()
            self.running -= 1
            found = self._found(request, key)
            if found is None:
                return
            if isinstance(found, tuple):
                await context.abort(*found)
            else:
                yield found

    def _found(self, request: Any, key: str) -> Answer:
        if self.once.get(key):
            return self.once[key].pop()
        if key in self.answers:
            return self.answers[key]
        if request.WhichOneof("message_request") == "list_services":
            response = reflection_pb2.ServerReflectionResponse()
            for name in self.services:
                response.list_services_response.service.add(name=name)
            return response.SerializeToString()
        index = self._indexed()
        wanted = request.file_containing_extension
        found = (
            index.find(request.file_containing_symbol)
            or index.find_file(request.file_by_filename)
            or index.find_extension(wanted.containing_type, wanted.extension_number)
        )
        if not found:
            return self.not_found
        contents = [file.content for file in found]
        return answer(*(reversed(contents) if self.whole else contents[-1:]))

    def _indexed(self) -> FileIndex:
        if self._index is None or self._of != self.files:
            self._index, self._of = FileIndex(self.files), [*self.files]
        return self._index
