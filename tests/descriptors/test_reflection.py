"""Descriptors by reflection of servers that are good, odd and broken."""

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
from tests.shapes import pool


@asynccontextmanager
async def reflection(
    target: str, metadata: Sequence[tuple[str, str]] = (), deadline: float = 5
) -> AsyncIterator[ReflectionSource]:
    """Open a reflection source on a channel of its own."""
    async with grpc.aio.insecure_channel(target) as channel:
        yield ReflectionSource(channel, metadata, deadline)


Requests = AsyncIterator[reflection_pb2.ServerReflectionRequest]
Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Requests, Context], AsyncIterator[bytes]]


@asynccontextmanager
async def reflecting(behaviour: Behaviour) -> AsyncIterator[str]:
    """Serve reflection v1 that behaves as it likes, its answers being bytes; yields its target."""
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
    """Make the answer that has these files."""
    contents = [f if isinstance(f, bytes) else f.SerializeToString() for f in files]
    response = reflection_pb2.ServerReflectionResponse()
    response.file_descriptor_response.file_descriptor_proto.extend(contents)
    return response.SerializeToString()


def refusal(code: int, message: str) -> bytes:
    """Make an answer that is an error."""
    response = reflection_pb2.ServerReflectionResponse()
    response.error_response.error_code = code
    response.error_response.error_message = message
    return response.SerializeToString()


def saying(*answers: bytes) -> Behaviour:
    """Answer the first requests so, then end the stream."""

    async def behaviour(requests: Requests, _: Context) -> AsyncIterator[bytes]:
        for content in answers:
            await anext(aiter(requests))
            yield content

    return behaviour


def by_name(*files: FileDescriptorProto) -> Behaviour:
    """Answer each request with just the one file asked for, as some servers do."""
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
async def test_a_symbol_is_found_in_either_version(versions: tuple[str, ...]) -> None:
    """v1 where it is spoken; types that no service imports too, and their dependencies."""
    async with (
        ContraryBackend.open({}, reflection_versions=versions, pool=pool()) as backend,
        reflection(backend.target) as source,
    ):
        found = await source.find("shapes.v1.Everything")
        assert is_loadable(found, "shapes.v1.Everything")
        assert await source.find("no.Such") == []
        assert is_loadable(await source.find("odd.v1.Legacy"), "odd.v1.Legacy")
        assert backend.count(f"reflection.{versions[0]}") == len(backend.calls) >= 3


async def test_a_server_without_reflection_says_so() -> None:
    """It is no error of one symbol: others need not be asked for."""
    async with (
        ContraryBackend.open({}) as backend,
        reflection(backend.target) as source,
    ):
        with pytest.raises(SourceUnavailableError, match=r"^reflection is not served$"):
            await source.find("shapes.v1.Job")


async def test_the_version_is_found_anew_after_a_server_changed() -> None:
    """The same address may be another server by the next time."""
    async with ContraryBackend.open({}, reflection_versions=("v1",), pool=pool()) as first:
        target = first.target
        async with reflection(target) as source:
            assert await source.find("shapes.v1.Job")
    async with (
        ContraryBackend.open({}, reflection_versions=("v1alpha",), pool=pool(), address=target),
        reflection(target) as source,
    ):
        assert await source.find("shapes.v1.Job")


async def test_metadata_goes_with_every_call() -> None:
    """Reflection may want the same credentials as the service."""
    async with (
        ContraryBackend.open({}, reflection_versions=("v1",), pool=pool()) as backend,
        reflection(backend.target, [("x-team", "infra")]) as source,
    ):
        await source.find("shapes.v1.Job")
        assert [call.metadata["x-team"] for call in backend.calls] == ["infra"] * len(backend.calls)


async def test_dependencies_are_asked_for_by_name() -> None:
    """Of a server that gives one file at a time; what nobody has is left out."""
    files = chain(("1.proto", "2.proto", "gone.proto"), ("2.proto",), ())
    async with reflecting(by_name(*files)) as target, reflection(target) as source:
        assert names(await source.find("chain.M0")) == ["2.proto", "1.proto", "0.proto"]


async def test_files_in_any_order_are_put_in_order() -> None:
    """The symbol's file need not be the first of an answer."""
    files = chain(("1.proto", "2.proto"), ("2.proto",), ())
    async with reflecting(saying(answer(*files))) as target, reflection(target) as source:
        assert names(await source.find("chain.M1")) == ["2.proto", "1.proto"]


async def test_a_file_without_the_symbol_is_no_answer() -> None:
    """Whatever the server meant by it."""
    async with (
        reflecting(saying(answer(*chain(())))) as target,
        reflection(target) as source,
    ):
        assert await source.find("no.Such") == []


@pytest.mark.parametrize("code", [3, 5])
async def test_a_symbol_that_a_server_does_not_know_is_unknown(code: int) -> None:
    """Some say that the name is invalid."""
    async with reflecting(saying(refusal(code, ""))) as target, reflection(target) as source:
        assert await source.find("no.Such") == []


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([], "reflection ended its stream without an answer"),
        ([refusal(7, "not you")], "reflection failed: PERMISSION_DENIED: not you"),
        ([refusal(99, "")], "reflection failed: CODE_99: "),
        ([answer(b"\xff")], "reflection answered with a malformed descriptor"),
        ([answer(b"\x0a\x01\xff")], "reflection answered with a malformed descriptor"),
        ([answer(b"\x0a\x01a\x1a\x01\xff")], "reflection answered with a malformed descriptor"),
        (
            [answer(b"\x0a\x01a\x22\x03\x0a\x01\xff")],
            "reflection answered with a malformed descriptor",
        ),
        ([b"\xff"], "reflection answered with a malformed message"),
    ],
)
async def test_an_answer_that_is_none_is_an_error_of_that_symbol(
    answers: list[bytes], told: str
) -> None:
    """Broken or refused: it is told, and says nothing of other symbols."""
    async with reflecting(saying(*answers)) as target, reflection(target) as source:
        with pytest.raises(SourceError) as caught:
            await source.find("chain.M0")
    assert (str(caught.value), type(caught.value)) == (told, SourceError)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([], "reflection ended its stream without an answer"),
        ([b"\xff"], "reflection answered with a malformed message"),
        ([b"\x32\x04\x0a\x03\x0a\x01\xff"], "reflection answered with a malformed message"),
        ([refusal(5, "none here")], "reflection failed: NOT_FOUND: none here"),
    ],
)
async def test_services_that_a_server_does_not_tell_are_an_error(
    answers: list[bytes], told: str
) -> None:
    """Nothing else than a `SourceError`, whatever bytes come; here a name that is not UTF-8."""
    async with reflecting(saying(*answers)) as target, reflection(target) as source:
        with pytest.raises(SourceError) as caught:
            await source.services()
    assert (str(caught.value), type(caught.value)) == (told, SourceError)


async def test_a_server_that_ends_without_an_answer_is_told() -> None:
    """It ends its stream as if all were well, having said nothing."""
    async with reflecting(saying()) as target, reflection(target) as source:
        with pytest.raises(SourceError, match=r"ended its stream without an answer$") as caught:
            await source.find("chain.M0")
    assert type(caught.value) is SourceError


async def test_a_server_of_the_older_version_alone_is_never_taken_for_a_failing_one() -> None:
    """Its refusal of the newer version arrives at any moment, the first write included."""
    versions = ("v1alpha",)
    async with ContraryBackend.open({}, reflection_versions=versions, pool=pool()) as backend:
        for _ in range(50):
            async with reflection(backend.target) as source:
                assert await source.find("shapes.v1.Job")


async def test_a_failing_call_is_told_with_its_code() -> None:
    """A server may refuse reflection to strangers."""

    async def refuse(requests: Requests, context: Context) -> AsyncIterator[bytes]:
        await anext(aiter(requests))
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you")
        yield b""

    async with reflecting(refuse) as target, reflection(target) as source:
        with pytest.raises(SourceError, match=r"^reflection failed: UNAUTHENTICATED: who are"):
            await source.find("a.B")


async def test_a_server_that_hangs_is_given_up_at_the_deadline() -> None:
    """The call is cancelled, and the source is not asked again at once."""
    left = asyncio.Event()

    async def hang(requests: Requests, _: Context) -> AsyncIterator[bytes]:
        await anext(aiter(requests))
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        yield b""

    async with reflecting(hang) as target, reflection(target, deadline=0.1) as source:
        with pytest.raises(SourceUnavailableError, match=r"did not answer within 0\.1 s$"):
            await source.find("a.B")
        async with asyncio.timeout(5):
            await left.wait()


async def test_a_server_that_is_down_is_unavailable() -> None:
    """And the next one at its address is asked as if nothing had been."""
    async with ContraryBackend.open({}) as backend:
        target = backend.target
    async with reflection(target) as source:
        with pytest.raises(SourceUnavailableError, match=r"^reflection failed: UNAVAILABLE: "):
            await source.find("a.B")


async def test_a_server_of_endless_dependencies_is_given_up() -> None:
    """Each file imports another: it ends at the limit or the deadline, whichever is first."""

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
    """The whole way, with a version of a file that differs from ours."""
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
