"""Look-ups of services whose files lack imports, in as few calls of reflection as possible."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from lro_gateway.descriptors.reflection import ReflectionSource
from lro_gateway.descriptors.registry import TypeRegistry
from tests.descriptors.made_types import file
from tests.gateways import serving
from tests.reflecting import Answer, ReflectingBackend, answer, refusal

OPERATIONS_FILE = "google/longrunning/operations.proto"


def service_file(name: str, package: str, *imports: str) -> FileDescriptorProto:
    """Make a file with a service `Builds`, whose RPC `Build` returns an operation."""
    made = file(name, "title", package=package)
    made.dependency.extend([*imports, OPERATIONS_FILE])
    made.service.add(name="Builds").method.add(
        name="Build", input_type=f".{package}.Thing", output_type=".google.longrunning.Operation"
    )
    return made


def placeholder(**fields: Any) -> bytes:
    """Return an answer with a file that declares nothing."""
    return answer(FileDescriptorProto(name="validate/validate.proto", **fields))


async def build(backend: ReflectingBackend, *descriptors: str) -> tuple[Any, Any]:
    """Start an operation through a gateway. Return its metadata and the requests of reflection."""
    settings = {"descriptors": [*descriptors, "reflection"]}
    async with (
        serving({"name": "b", "target": backend.target, **settings}) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        started = await client.post("/v1/acme.Builds/Build", json={"title": "t"})
    assert started.status_code == 200, started.text
    return started.json()["metadata"], backend.requests


@asynccontextmanager
async def registry_of(backend: ReflectingBackend) -> AsyncIterator[TypeRegistry]:
    """Open a registry whose only source is the reflection of a backend."""
    async with grpc.aio.insecure_channel(backend.target) as channel:
        yield TypeRegistry("b", [ReflectionSource(channel, (), 30)])


async def started(request: bytes, _context: Any) -> bytes:
    """Answer with an operation whose metadata is the request."""
    operation = operations_pb2.Operation(name="operations/1")
    operation.metadata.type_url = "type.googleapis.com/acme.Thing"
    operation.metadata.value = request
    content: bytes = operation.SerializeToString()
    return content


@pytest.mark.parametrize(
    "missing",
    [
        refusal(5, "not found"),
        refusal(13, "it failed"),
        refusal(2, ""),
        (grpc.StatusCode.NOT_FOUND, "not found"),
        (grpc.StatusCode.INTERNAL, "it failed"),
        (grpc.StatusCode.UNIMPLEMENTED, ""),
        None,
        b"",
        answer(),
        b"\xff",
        answer(b"\xff"),
        placeholder(syntax="<unknown:0>"),
        placeholder(package="another.package"),
        answer(file("validate/other.proto", package="other")),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
async def test_an_import_that_the_server_does_not_have_costs_nothing(
    missing: Answer, whole: bool
) -> None:
    """Imports such as validate.proto only declare options, and many servers do not have them."""
    needed = "validate/validate.proto"
    files = [service_file("acme/builds.proto", "acme", needed, "google/api/annotations.proto")]
    async with ReflectingBackend.open(
        files, "acme.Builds", methods={"acme.Builds/Build": started}, whole=whole
    ) as backend:
        backend.answers[f"file_by_filename {needed}"] = missing
        metadata, requests = await build(backend)
    assert metadata == {"@type": "type.googleapis.com/acme.Thing", "title": "t"}
    assert requests.count(f"file_by_filename {needed}") == 1


async def test_a_missing_import_comes_from_another_source_by_its_name(tmp_path: Path) -> None:
    """A type in it is then known. The set lacks what only reflection has, and so completes it."""
    (tmp_path / "set.binpb").write_bytes(
        FileDescriptorSet(
            file=[file("common/ids.proto", "v", package="common")]
        ).SerializeToString()
    )
    made = service_file("acme/builds.proto", "acme", "./common\\ids.proto")
    made.message_type[0].field.add(name="x", number=9, type=11, label=1, type_name=".common.Thing")
    async with ReflectingBackend.open(
        [made], "acme.Builds", methods={"acme.Builds/Build": started}
    ) as backend:
        settings = {"descriptors": ["reflection", str(tmp_path / "set.binpb")]}
        async with (
            serving({"name": "b", "target": backend.target, **settings}) as url,
            httpx.AsyncClient(base_url=url) as client,
        ):
            body = {"title": "t", "x": {"v": "w"}}
            response = await client.post("/v1/acme.Builds/Build", json=body)
    assert response.json()["metadata"] == {"@type": "type.googleapis.com/acme.Thing", **body}


async def test_a_set_without_imports_is_completed_by_reflection(tmp_path: Path) -> None:
    """Protoc leaves out the imports unless --include_imports is given."""
    made = service_file("acme/builds.proto", "acme", "common/ids.proto")
    made.message_type[0].field.add(name="x", number=9, type=11, label=1, type_name=".common.Thing")
    (tmp_path / "set.binpb").write_bytes(FileDescriptorSet(file=[made]).SerializeToString())
    async with ReflectingBackend.open(
        [file("common/ids.proto", "v", package="common")], methods={"acme.Builds/Build": started}
    ) as backend:
        metadata, requests = await build(backend, str(tmp_path / "set.binpb"))
    assert metadata == {"@type": "type.googleapis.com/acme.Thing", "title": "t"}
    assert requests.count("file_by_filename common/ids.proto") == 1


async def test_services_in_files_of_one_name_are_all_offered() -> None:
    """Each team may call its file service.proto."""
    one, other = (service_file("service.proto", package) for package in ("one", "other"))
    async with (
        ReflectingBackend.open([one, other], "one.Builds", "other.Builds") as backend,
        registry_of(backend) as registry,
    ):
        await registry.discover()
    assert registry.services == ("one.Builds", "other.Builds")
    assert all(len(registry.types.methods_of(name)) == 1 for name in registry.services)
    assert registry.types.problems == ()


@pytest.mark.parametrize("whole", [False, True])
async def test_each_file_is_requested_once_and_a_few_at_a_time(whole: bool) -> None:
    """40 services share 60 files, which import each other. A refresh costs as much again."""
    shared = [file(f"shared/{index}.proto", package=f"shared{index}") for index in range(60)]
    for index, made in enumerate(shared[1:]):
        made.dependency.append(shared[index // 2].name)
    names = [made.name for made in shared]
    files = [service_file(f"{index}.proto", f"own{index}", *names) for index in range(40)]
    services = [f"own{index}.Builds" for index in range(40)]
    # The server answers requests for services only in groups of four.
    settings: dict[str, Any] = {"whole": whole, "together": asyncio.Barrier(4)}
    async with (
        ReflectingBackend.open([*files, *shared], *services, **settings) as backend,
        registry_of(backend) as registry,
    ):
        await registry.discover()
        first = len(backend.requests)
        assert await registry.refresh() is False
    assert registry.services == tuple(services)
    # These are the list, the services, the shared files, and the file of Operation.
    assert first == (1 + 40 + 1 if whole else 1 + 40 + 60 + 1)
    assert sorted(backend.requests[:first]) == sorted(set(backend.requests))
    assert len(backend.requests) == 2 * first
    assert 4 <= backend.most <= 8


async def test_a_server_that_limits_the_rate_of_calls_is_called_again() -> None:
    """Several calls at a time may be too many for it."""
    made = service_file("acme/builds.proto", "acme")
    limited: list[Answer] = [
        refusal(8, "slowly"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "slowly"),
    ]
    async with (
        ReflectingBackend.open([made], "acme.Builds") as backend,
        registry_of(backend) as registry,
    ):
        backend.once["file_containing_symbol acme.Builds"] = limited
        await registry.discover()
    assert registry.services == ("acme.Builds",)
    assert backend.requests.count("file_containing_symbol acme.Builds") == 3


async def test_a_symbol_is_unknown_if_the_call_ends_with_not_found() -> None:
    """The library tonic ends the stream with a status instead of an error in an answer."""
    not_found = (grpc.StatusCode.NOT_FOUND, "not found")
    async with (
        ReflectingBackend.open([], not_found=not_found) as backend,
        registry_of(backend) as registry,
    ):
        await registry.ensure(["no.Such"])
    assert registry.types.why_missing("no.Such").startswith("no descriptor of no.Such in refl")


UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "the server is starting")


@pytest.mark.parametrize("failure", [UNAVAILABLE, refusal(13, "it failed"), refusal(4, "late")])
@pytest.mark.parametrize("kind", ["an import", "a type", "an import of a set"])
async def test_what_a_failed_look_up_left_out_is_looked_up_again_soon(
    failure: Answer, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next refresh may be minutes away."""
    monkeypatch.setattr("lro_gateway.gateway.FAILED_FOR", 0.01)
    monkeypatch.setattr("lro_gateway.descriptors.source_list.FAILED_FOR", 0.0)
    needed = file("common/ids.proto", "v", package="common")
    made = service_file("acme/builds.proto", "acme")
    made.message_type[0].field.add(name="x", number=9, type=11, label=1, type_name=".common.Thing")
    if kind != "a type":
        made.dependency.append("common/ids.proto")
        failing = "file_by_filename common/ids.proto"
    else:
        failing = "file_containing_symbol common.Thing"
    descriptors = ["reflection"]
    if kind == "an import of a set":
        (tmp_path / "set.binpb").write_bytes(FileDescriptorSet(file=[made]).SerializeToString())
        descriptors.insert(0, str(tmp_path / "set.binpb"))
    body = {"title": "t", "x": {"v": "w"}}
    async with (
        ReflectingBackend.open(
            [made, needed], "acme.Builds", methods={"acme.Builds/Build": started}
        ) as backend,
        asyncio.timeout(60),
    ):
        backend.once[failing] = [failure]
        settings = {"name": "b", "target": backend.target, "descriptors": descriptors}
        async with (
            serving(settings) as url,
            httpx.AsyncClient(base_url=url) as client,
        ):
            while True:
                response = await client.post("/v1/acme.Builds/Build", json=body)
                if response.status_code == 200:
                    break
    assert response.json()["metadata"] == {"@type": "type.googleapis.com/acme.Thing", **body}


@pytest.mark.parametrize("change", ["a file", "an import that was missing", "the services"])
async def test_a_refresh_builds_the_types_again_only_if_an_answer_has_changed(change: str) -> None:
    """Otherwise it sends the same requests again, and keeps the set of types."""
    lacking = service_file("acme.proto", "acme", "late.proto")
    async with (
        ReflectingBackend.open([lacking], "acme.Builds") as backend,
        registry_of(backend) as registry,
    ):
        await registry.discover()
        types = registry.types
        assert await registry.refresh() is False
        assert registry.types is types
        if change == "a file":
            changed = service_file("acme.proto", "acme", "late.proto")
            changed.message_type.add(name="Added")
            backend.files = [changed]
        elif change == "the services":
            backend.files = [lacking, service_file("b.proto", "b")]
            backend.services.append("b.Builds")
        else:
            backend.files = [lacking, file("late.proto", package="late")]
        assert await registry.refresh() is True
        assert registry.types is not types
