"""Descriptor sources: files, modules, and reflection of servers that are good, odd and broken."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.reflection import ReflectionSource
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.descriptors.sources import (
    COMMON_PROTOS,
    FileSource,
    ModuleSource,
    SourceError,
    SourceUnavailableError,
)
from lro_gateway.descriptors.type_set import TypeSet
from tests.contrary import ContraryBackend
from tests.shapes import descriptor_set, pool


def names(files: Sequence[FileDescriptorProto]) -> list[str]:
    """Return the names of files."""
    return [file.name for file in files]


def is_loadable(files: Sequence[FileDescriptorProto], symbol: str) -> bool:
    """Tell whether files in this order define a message in a new set."""
    types = TypeSet()
    return types.add(files) == [] and types.message_class(symbol) is not None


def put(path: Path, *files: FileDescriptorProto) -> None:
    """Write a FileDescriptorSet."""
    path.write_bytes(FileDescriptorSet(file=files).SerializeToString())


def chain(*dependencies: tuple[str, ...]) -> list[FileDescriptorProto]:
    """Make files `0.proto`, ... that import these; each has a message `chain.M<index>`."""
    files = []
    for index, imported in enumerate(dependencies):
        file = FileDescriptorProto(name=f"{index}.proto", package="chain", syntax="proto3")
        file.dependency.extend(imported)
        file.message_type.add(name=f"M{index}").nested_type.add(name="Inner")
        file.service.add(name=f"S{index}")
        files.append(file)
    return files


def test_the_well_known_files_are_complete_and_in_order() -> None:
    """Each comes after those that it imports."""
    seen: set[str] = set()
    for file in well_known.FILES:
        assert set(file.dependency) <= seen
        seen.add(file.name)
    types = TypeSet()
    for name in ("Any", "Api", "Duration", "Empty", "FieldMask", "FileDescriptorSet", "Timestamp"):
        assert types.message_class(f"google.protobuf.{name}") is not None


async def test_common_protos_hold_what_google_style_services_share() -> None:
    """Each type with all it needs, dependencies first."""
    for symbol in ("google.rpc.Status", "google.type.Date", "google.longrunning.Operation"):
        assert is_loadable(await COMMON_PROTOS.find(symbol), symbol)
    assert await COMMON_PROTOS.find("google.rpc.NoSuch") == []


class TestFileSource:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "set.binpb"

    async def test_a_symbol_is_found_with_what_its_file_imports(self, path: Path) -> None:
        """Messages, nested ones and services; the symbol's file comes last."""
        put(path, *descriptor_set().file)
        source = FileSource(path)
        found = await source.find("shapes.v1.Everything")
        assert is_loadable(found, "shapes.v1.Everything")
        assert names(found)[-1] == "shapes.proto"
        assert await source.find("no.Such") == []
        assert source.label == str(path)

    async def test_the_order_of_the_set_does_not_matter(self, path: Path) -> None:
        """Some tools write files as they find them; one may be imported by many, or in a circle."""
        files = chain(("1.proto", "2.proto"), ("2.proto",), ("3.proto", "not_there.proto"), ())
        files[3].dependency.append("0.proto")  # a circle, which no compiler would let pass
        put(path, *files)
        source = FileSource(path)
        assert names(await source.find("chain.M1")) == ["0.proto", "3.proto", "2.proto", "1.proto"]
        assert names(await source.find("chain.M1.Inner"))[-1] == "1.proto"
        assert names(await source.find("chain.S1"))[-1] == "1.proto"

    async def test_a_long_chain_of_imports_is_followed(self, path: Path) -> None:
        """Longer than Python's stack."""
        files = chain(*((f"{i + 1}.proto",) for i in range(3000)), ())
        put(path, *files)
        found = await FileSource(path).find("chain.M0")
        assert names(found) == [f"{index}.proto" for index in reversed(range(3001))]

    async def test_a_file_that_changes_is_read_anew(self, path: Path) -> None:
        """Without a restart; while it is unchanged it is not read."""
        put(path, *chain(()))
        source = FileSource(path)
        assert names(await source.find("chain.M1")) == []
        put(path, *chain((), ()))
        os.utime(path, ns=(1, 1))
        assert names(await source.find("chain.M1")) == ["1.proto"]

    @pytest.mark.parametrize(
        "content", [b"", b"\xff\xff", b"syntax = 'proto3';", b"\x12\x01a", b"\x0a\x03\x0a\x01\xff"]
    )
    def test_what_is_no_descriptor_set_says_how_to_make_one(
        self, path: Path, content: bytes
    ) -> None:
        """Also what parses as a message without anything in it, or with names that are no text."""
        path.write_bytes(content)
        with pytest.raises(SourceUnavailableError) as caught:
            FileSource(path).load()
        assert str(caught.value) == (
            f"{path} is not a FileDescriptorSet; make one with"
            " protoc --include_imports --include_source_info -o FILE"
        )

    async def test_a_file_that_is_gone_says_so_and_may_come_back(self, path: Path) -> None:
        """The source stays usable."""
        source = FileSource(path)
        with pytest.raises(SourceUnavailableError) as caught:
            await source.find("chain.M0")
        assert str(caught.value) == f"{path} cannot be read: No such file or directory"
        put(path, *chain(()))
        assert names(await source.find("chain.M0")) == ["0.proto"]


class TestModuleSource:
    @pytest.fixture
    def directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Return a directory to import from; what was imported from it is forgotten."""
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(sys, "modules", dict(sys.modules))
        return tmp_path

    async def test_a_generated_module_has_its_types_and_those_it_imports(self) -> None:
        """`module:` and the name of a `_pb2`."""
        source = ModuleSource("google.longrunning.operations_pb2")
        assert source.label == "module:google.longrunning.operations_pb2"
        assert is_loadable(await source.find("google.longrunning.Operation"), "google.rpc.Status")
        assert await source.find("google.type.Date") == []

    async def test_a_package_has_the_types_of_all_its_modules(self) -> None:
        """At any depth."""
        source = ModuleSource("google.rpc")
        for symbol in ("google.rpc.ErrorInfo", "google.rpc.context.AttributeContext"):
            assert is_loadable(await source.find(symbol), symbol)

    async def test_directories_of_generated_code_need_no_init(self, directory: Path) -> None:
        """Code by protoc has none; the code here is of a file with nothing in it but a message."""
        (directory / "generated" / "deep").mkdir(parents=True)
        file = chain(())[0].SerializeToString()
        (directory / "generated" / "deep" / "chain_pb2.py").write_text(
            "from google.protobuf.descriptor_pool import DescriptorPool\n"
            f"DESCRIPTOR = DescriptorPool().AddSerializedFile({file!r})\n"
        )
        assert names(await ModuleSource("generated").find("chain.M0")) == ["0.proto"]

    async def test_proto_plus_classes_have_their_types(self, directory: Path) -> None:
        """As the google-cloud packages define them; proto's own base class is none."""
        (directory / "plus_types.py").write_text(
            "import proto\n"
            "from proto import Message\n"
            "__protobuf__ = proto.module(package='plus.v1')\n"
            "class Build(proto.Message):\n"
            "    title = proto.Field(proto.STRING, number=1)\n"
        )
        assert is_loadable(await ModuleSource("plus_types").find("plus.v1.Build"), "plus.v1.Build")

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (None, "module broken_pb2 cannot be imported: No module named 'broken_pb2'"),
            ("raise RuntimeError('too old')", "module broken_pb2 cannot be imported: too old"),
            ("x = 1", "module:broken_pb2 has no generated protobuf code"),
        ],
    )
    async def test_a_module_without_types_says_why(
        self, directory: Path, content: str | None, told: str
    ) -> None:
        """Missing, failing in any way, or of another kind."""
        if content is not None:
            (directory / "broken_pb2.py").write_text(content)
        with pytest.raises(SourceUnavailableError) as caught:
            await ModuleSource("broken_pb2").find("a.B")
        assert str(caught.value) == told


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


class TestReflectionSource:
    @pytest.mark.parametrize("versions", [("v1",), ("v1alpha",), ("v1", "v1alpha")])
    async def test_a_symbol_is_found_in_either_version(self, versions: tuple[str, ...]) -> None:
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

    async def test_a_server_without_reflection_says_so(self) -> None:
        """It is no error of one symbol: others need not be asked for."""
        async with (
            ContraryBackend.open({}) as backend,
            reflection(backend.target) as source,
        ):
            with pytest.raises(SourceUnavailableError, match=r"^reflection is not served$"):
                await source.find("shapes.v1.Job")

    async def test_the_version_is_found_anew_after_a_server_changed(self) -> None:
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

    async def test_metadata_goes_with_every_call(self) -> None:
        """Reflection may want the same credentials as the service."""
        async with (
            ContraryBackend.open({}, reflection_versions=("v1",), pool=pool()) as backend,
            reflection(backend.target, [("x-team", "infra")]) as source,
        ):
            await source.find("shapes.v1.Job")
            assert [call.metadata["x-team"] for call in backend.calls] == ["infra"] * len(
                backend.calls
            )

    async def test_dependencies_are_asked_for_by_name(self) -> None:
        """Of a server that gives one file at a time; what nobody has is left out."""
        files = chain(("1.proto", "2.proto", "gone.proto"), ("2.proto",), ())
        async with reflecting(by_name(*files)) as target, reflection(target) as source:
            assert names(await source.find("chain.M0")) == ["2.proto", "1.proto", "0.proto"]

    async def test_files_in_any_order_are_put_in_order(self) -> None:
        """The symbol's file need not be the first of an answer."""
        files = chain(("1.proto", "2.proto"), ("2.proto",), ())
        async with reflecting(saying(answer(*files))) as target, reflection(target) as source:
            assert names(await source.find("chain.M1")) == ["2.proto", "1.proto"]

    async def test_a_file_without_the_symbol_is_no_answer(self) -> None:
        """Whatever the server meant by it."""
        async with (
            reflecting(saying(answer(*chain(())))) as target,
            reflection(target) as source,
        ):
            assert await source.find("no.Such") == []

    @pytest.mark.parametrize("code", [3, 5])
    async def test_a_symbol_that_a_server_does_not_know_is_unknown(self, code: int) -> None:
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
        self, answers: list[bytes], told: str
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
        self, answers: list[bytes], told: str
    ) -> None:
        """Nothing else than a `SourceError`, whatever bytes come; here a name that is not UTF-8."""
        async with reflecting(saying(*answers)) as target, reflection(target) as source:
            with pytest.raises(SourceError) as caught:
                await source.services()
        assert (str(caught.value), type(caught.value)) == (told, SourceError)

    async def test_a_server_that_ends_without_an_answer_is_told(self) -> None:
        """It ends its stream as if all were well, having said nothing."""
        async with reflecting(saying()) as target, reflection(target) as source:
            with pytest.raises(SourceError, match=r"ended its stream without an answer$") as caught:
                await source.find("chain.M0")
        assert type(caught.value) is SourceError

    async def test_a_server_of_the_older_version_alone_is_never_taken_for_a_failing_one(
        self,
    ) -> None:
        """Its refusal of the newer version arrives at any moment, the first write included."""
        versions = ("v1alpha",)
        async with ContraryBackend.open({}, reflection_versions=versions, pool=pool()) as backend:
            for _ in range(50):
                async with reflection(backend.target) as source:
                    assert await source.find("shapes.v1.Job")

    async def test_a_failing_call_is_told_with_its_code(self) -> None:
        """A server may refuse reflection to strangers."""

        async def refuse(requests: Requests, context: Context) -> AsyncIterator[bytes]:
            await anext(aiter(requests))
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you")
            yield b""

        async with reflecting(refuse) as target, reflection(target) as source:
            with pytest.raises(SourceError, match=r"^reflection failed: UNAUTHENTICATED: who are"):
                await source.find("a.B")

    async def test_a_server_that_hangs_is_given_up_at_the_deadline(self) -> None:
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

    async def test_a_server_that_is_down_is_unavailable(self) -> None:
        """And the next one at its address is asked as if nothing had been."""
        async with ContraryBackend.open({}) as backend:
            target = backend.target
        async with reflection(target) as source:
            with pytest.raises(SourceUnavailableError, match=r"^reflection failed: UNAVAILABLE: "):
                await source.find("a.B")

    async def test_a_server_of_endless_dependencies_is_given_up(self) -> None:
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

    async def test_a_registry_finds_types_through_reflection(self) -> None:
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


@given(st.lists(st.binary(max_size=40), max_size=3))
def test_no_bytes_in_the_place_of_files_break_a_set(contents: list[bytes]) -> None:
    """What parses as a file is added or left out; nothing else happens."""
    types = TypeSet()
    for content in contents:
        try:
            file = FileDescriptorProto.FromString(content)
        except Exception:  # noqa: BLE001, S112 - the parser's own refusal is not what is tested
            continue
        assert len(types.add([file])) <= 1
    assert types.message_class("google.protobuf.Any") is not None
