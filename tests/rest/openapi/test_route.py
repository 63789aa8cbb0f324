"""`/openapi.json` of a gateway with many methods: an index, and the documents of its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from lro_gateway.rest.openapi.route import MAX_METHODS
from tests.descriptors.made_types import file
from tests.gateways import serving


def service_of(package: str, methods: int) -> FileDescriptorProto:
    """Make a file with a service whose RPCs start operations."""
    made = file(f"{package}.proto", "title", package=package)
    made.dependency.append("google/longrunning/operations.proto")
    service = made.service.add(name="Builds")
    for number in range(methods):
        service.method.add(
            name=f"Build{number}",
            input_type=f".{package}.Thing",
            output_type=".google.longrunning.Operation",
        )
    return made


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of a gateway that offers more methods than one document can describe."""
    async with client_of(
        tmp_path, [service_of("small", 1), service_of("large", MAX_METHODS + 1)]
    ) as c:
        yield c


@asynccontextmanager
async def client_of(
    directory: Path, files: list[FileDescriptorProto]
) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of a gateway to one backend with these descriptors."""
    path = directory / "large.binpb"
    path.write_bytes(FileDescriptorSet(file=files).SerializeToString())
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(path)]}
    async with serving(backend) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


async def test_a_large_document_is_an_index_of_its_parts(client: httpx.AsyncClient) -> None:
    """The index is a valid document, and its parts have each method once."""
    index = (await client.get("/openapi.json")).json()
    validate(index, cls=OpenAPIV31SpecValidator)
    assert "/v1/operations" in index["paths"]
    assert not any("Builds" in path for path in index["paths"])
    urls = [part["url"] for part in index["x-documents"]]
    assert urls == [
        "openapi.json?backend=b&package=large&part=1",
        "openapi.json?backend=b&package=large&part=2",
        "openapi.json?backend=b&package=small",
    ]
    found: list[str] = []
    for part in index["x-documents"]:
        document = (await client.get(f"/{part['url']}")).json()
        paths = [path for path in document["paths"] if "Builds" in path]
        assert len(paths) == part["methods"] <= MAX_METHODS
        found += paths
    assert len(found) == len(set(found)) == MAX_METHODS + 2


async def test_the_page_for_browsers_links_to_the_parts_and_shows_one(
    client: httpx.AsyncClient,
) -> None:
    """A person chooses a part in the description of the index."""
    description = (await client.get("/openapi.json")).json()["info"]["description"]
    assert "[small of b](./docs?backend=b&package=small): 1 methods" in description
    page = (await client.get("/docs?backend=b&package=small&x=%27")).text
    assert 'data-url="./openapi.json?backend=b&amp;package=small"' in page


async def test_a_part_of_a_small_document_can_be_read_too(tmp_path: Path) -> None:
    """A client need not know how large the whole document is."""
    async with client_of(tmp_path, [service_of("one", 1), service_of("two", 2)]) as client:
        whole = (await client.get("/openapi.json")).json()
        part = (await client.get("/openapi.json?backend=b&package=two")).json()
    assert "x-documents" not in whole
    assert sum("Builds" in path for path in whole["paths"]) == 3
    assert sum("Builds" in path for path in part["paths"]) == 2


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("backend=no", 404, "NO_SUCH_DOCUMENT"),
        ("package=no", 404, "NO_SUCH_DOCUMENT"),
        ("backend=b&package=large&part=3", 404, "NO_SUCH_DOCUMENT"),
        ("part=x", 400, "INVALID_FIELD"),
        ("part=0", 400, "INVALID_FIELD"),
    ],
)
async def test_a_part_that_does_not_exist_is_refused(
    query: str, status: int, reason: str, client: httpx.AsyncClient
) -> None:
    """A document without methods would look as if there were none."""
    response = await client.get(f"/openapi.json?{query}")
    assert response.status_code == status
    assert reason in response.text
