"""Looking up descriptors at reflection servers that are correct, unusual or broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2

from lro_gateway.descriptors.reflection import ReflectionSource
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.descriptors.sources import (
    SourceError,
    SourceUnavailableError,
)
from tests.contrary import ContraryBackend
from tests.descriptors.file_chains import chain, is_loadable, names
from tests.ports import unused_address
from tests.shapes import pool


@asynccontextmanager
async def reflection(
    target: str, metadata: Sequence[tuple[str, str]] = (), deadline: float = 5
) -> AsyncIterator[ReflectionSource]:
    """Open a reflection source with its own channel to a target."""
    # Otherwise it would share a connection with an earlier channel to the address.
    own = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(target, own) as channel:
        yield ReflectionSource(channel, metadata, deadline)


Requests = AsyncIterator[reflection_pb2.ServerReflectionRequest]
Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Requests, Context], AsyncIterator[bytes]]


@asynccontextmanager
async def reflecting(behaviour: Behaviour) -> AsyncIterator[str]:
    """Serve reflection v1 with this behaviour, whose answers are bytes. Yields the target."""
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
        behaviour,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
    )
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "grpc.reflection.v1.ServerReflection", {"ServerReflectionInfo": handler}
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


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


def answering(*answers: bytes) -> Behaviour:
    """Return a behaviour that sends these answers one by one, and then ends the stream."""

    async def behaviour(requests: Requests, _: Context) -> AsyncIterator[bytes]:
        for content in answers:
            await anext(aiter(requests))
            yield content

    return behaviour


def by_name(*files: FileDescriptorProto) -> Behaviour:
    """Return a behaviour that answers each request with one file only, as some servers do."""
    by_symbol = {f"chain.M{index}": file for index, file in enumerate(files)}
    by_file = {file.name: file for file in files}

    async def behaviour(requests: Requests, _: Context) -> AsyncIterator[bytes]:
        async for request in requests:
            found = by_symbol.get(request.file_containing_symbol) or by_file.get(
                request.file_by_filename
            )
            yield answer(found) if found else refusal(5, "not found")

    return behaviour


@pytest.mark.parametrize("versions", [("v1",), ("v1alpha",), ("v1", "v1alpha")])
async def test_a_symbol_is_found_in_both_versions_of_reflection(versions: tuple[str, ...]) -> None:
    """v1 is preferred. Types that no service imports are found with their dependencies."""
    async with (
        ContraryBackend.open({}, reflection_versions=versions, pool=pool()) as backend,
        reflection(backend.target) as source,
    ):
        found = await source.find("shapes.v1.Everything")
        assert is_loadable(found, "shapes.v1.Everything")
        assert await source.find("no.Such") == []
        assert is_loadable(await source.find("odd.v1.Legacy"), "odd.v1.Legacy")
        assert backend.count(f"reflection.{versions[0]}") == len(backend.calls) >= 3


async def test_a_server_without_reflection_is_an_unavailable_source() -> None:
    """A server without reflection fails for every symbol."""
    async with (
        ContraryBackend.open({}) as backend,
        reflection(backend.target) as source,
    ):
        with pytest.raises(SourceUnavailableError, match=r"^reflection is not served$"):
            await source.find("shapes.v1.Job")


async def test_a_server_with_another_version_may_take_over_an_address() -> None:
    """A source uses the version of the server that it calls."""
    target = unused_address()
    async with (
        ContraryBackend.open({}, reflection_versions=("v1",), pool=pool(), address=target),
        reflection(target) as source,
    ):
        assert await source.find("shapes.v1.Job")
    async with (
        ContraryBackend.open({}, reflection_versions=("v1alpha",), pool=pool(), address=target),
        reflection(target) as source,
    ):
        assert await source.find("shapes.v1.Job")


async def test_metadata_goes_with_every_call() -> None:
    """Reflection may require the credentials of the service."""
    async with (
        ContraryBackend.open({}, reflection_versions=("v1",), pool=pool()) as backend,
        reflection(backend.target, [("x-team", "infra")]) as source,
    ):
        await source.find("shapes.v1.Job")
        assert [call.metadata["x-team"] for call in backend.calls] == ["infra"] * len(backend.calls)


async def test_missing_dependencies_are_requested_by_file_name() -> None:
    """Some servers send one file at a time. A file that the server lacks is left out."""
    files = chain(("1.proto", "2.proto", "gone.proto"), ("2.proto",), ())
    async with reflecting(by_name(*files)) as target, reflection(target) as source:
        assert names(await source.find("chain.M0")) == ["2.proto", "1.proto", "0.proto"]


async def test_files_are_sorted_by_their_dependencies() -> None:
    """The file of the symbol may be at any position in an answer."""
    files = chain(("1.proto", "2.proto"), ("2.proto",), ())
    async with reflecting(answering(answer(*files))) as target, reflection(target) as source:
        assert names(await source.find("chain.M1")) == ["2.proto", "1.proto"]


async def test_a_symbol_is_unknown_if_the_file_in_the_answer_lacks_it() -> None:
    """A broken server may send any file."""
    async with (
        reflecting(answering(answer(*chain(())))) as target,
        reflection(target) as source,
    ):
        assert await source.find("no.Such") == []


@pytest.mark.parametrize("code", [3, 5])
async def test_a_symbol_is_unknown_if_the_server_does_not_find_it(code: int) -> None:
    """Most servers answer NOT_FOUND, and some answer INVALID_ARGUMENT."""
    async with reflecting(answering(refusal(code, ""))) as target, reflection(target) as source:
        assert await source.find("no.Such") == []


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([], "reflection ended its stream without an answer"),
        ([refusal(7, "not you")], 'reflection failed: PERMISSION_DENIED: "not you"'),
        ([refusal(99, "")], "reflection failed: CODE_99"),
        ([answer(b"\xff")], "reflection answered with a malformed descriptor"),
        ([b"\xff"], "reflection answered with a malformed message"),
    ],
)
async def test_a_broken_answer_or_a_refusal_is_an_error_for_that_symbol_only(
    answers: list[bytes], problem: str
) -> None:
    """The error is not a `SourceUnavailableError`, so other symbols may be looked up."""
    async with reflecting(answering(*answers)) as target, reflection(target) as source:
        with pytest.raises(SourceError) as caught:
            await source.find("chain.M0")
    assert (str(caught.value), type(caught.value)) == (problem, SourceError)


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([], "reflection ended its stream without an answer"),
        ([b"\xff"], "reflection answered with a malformed message"),
        ([b"\x32\x04\x0a\x03\x0a\x01\xff"], "reflection answered with a malformed message"),
        ([refusal(5, "none here")], 'reflection failed: NOT_FOUND: "none here"'),
    ],
)
async def test_a_broken_answer_to_a_list_of_services_is_a_source_error(
    answers: list[bytes], problem: str
) -> None:
    """A server may send any bytes, such as a service name that is not UTF-8."""
    async with reflecting(answering(*answers)) as target, reflection(target) as source:
        with pytest.raises(SourceError) as caught:
            await source.services()
    assert (str(caught.value), type(caught.value)) == (problem, SourceError)


async def test_a_stream_that_ends_with_ok_but_without_an_answer_is_an_error() -> None:
    """A broken server may end a stream before it answers."""
    async with reflecting(answering()) as target, reflection(target) as source:
        with pytest.raises(SourceError, match=r"ended its stream without an answer$") as caught:
            await source.find("chain.M0")
    assert type(caught.value) is SourceError


async def test_a_server_with_v1alpha_only_never_looks_like_a_failing_server() -> None:
    """The server's refusal of v1 may arrive at any time, even during the first write."""
    versions = ("v1alpha",)
    async with ContraryBackend.open({}, reflection_versions=versions, pool=pool()) as backend:
        for _ in range(50):
            async with reflection(backend.target) as source:
                assert await source.find("shapes.v1.Job")


async def test_the_error_of_a_failed_call_has_its_code_and_text() -> None:
    """A server may refuse reflection to unauthenticated callers."""

    async def refuse(requests: Requests, context: Context) -> AsyncIterator[bytes]:
        await anext(aiter(requests))
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you")
        yield b""

    async with reflecting(refuse) as target, reflection(target) as source:
        with pytest.raises(SourceError, match=r"^reflection failed: UNAUTHENTICATED: \"who are"):
            await source.find("a.B")


async def test_a_call_to_a_server_that_hangs_is_cancelled_at_the_deadline() -> None:
    """A source whose server hangs is unavailable."""
    cancelled = asyncio.Event()

    async def hang(requests: Requests, _: Context) -> AsyncIterator[bytes]:
        await anext(aiter(requests))
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        yield b""

    async with reflecting(hang) as target, reflection(target, deadline=0.1) as source:
        with pytest.raises(SourceUnavailableError, match=r"did not answer within 0\.1 s$"):
            await source.find("a.B")
        async with asyncio.timeout(60):
            await cancelled.wait()


async def test_a_server_that_is_down_is_an_unavailable_source() -> None:
    """The error text has the code and the text of gRPC."""
    async with reflection(unused_address()) as source:
        with pytest.raises(SourceUnavailableError, match=r"^reflection failed: UNAVAILABLE: "):
            await source.find("a.B")


async def test_a_look_up_with_endless_dependencies_ends_at_the_deadline() -> None:
    """A broken server may send files that each import a further file."""

    async def endless(requests: Requests, _: Context) -> AsyncIterator[bytes]:
        async for request in requests:
            index = int(request.file_by_filename.removesuffix(".proto") or 0)
            file = FileDescriptorProto(name=f"{index}.proto", package="chain")
            file.message_type.add(name=f"M{index}")
            index += 1
            file.dependency.append(f"{index}.proto")
            yield answer(file)

    async with reflecting(endless) as target, reflection(target, deadline=0.5) as source:
        with pytest.raises(SourceUnavailableError, match="did not answer within"):
            await source.find("chain.M0")


async def test_a_registry_finds_types_through_reflection() -> None:
    """The server's version of a common file is used instead of the gateway's version."""
    own = DescriptorPool()
    file = FileDescriptorProto(name="google/rpc/code.proto", package="google.rpc")
    file.message_type.add(name="Odd")
    own.Add(file)
    async with (
        ContraryBackend.open({}, reflection_versions=("v1",), pool=own) as backend,
        reflection(backend.target) as source,
    ):
        registry = TypeRegistry("b", [source])
        await registry.ensure(["google.rpc.Odd", "google.rpc.Help"])
        assert registry.types.message_class("google.rpc.Odd") is not None
        assert registry.types.message_class("google.rpc.Help") is not None
