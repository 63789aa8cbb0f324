"""What the gateway says of itself over HTTP: its health, its OpenAPI document, its docs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.gateways import serving


@asynccontextmanager
async def client_of(*backends: dict[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of a gateway to these backends."""
    async with serving(*backends) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


async def test_the_openapi_document_is_valid() -> None:
    """OpenAPI 3.1, with every reference resolved and every operation named once."""
    async with client_of({"name": "b", "target": "127.0.0.1:1"}) as client:
        response = await client.get("/openapi.json")
    document = response.json()
    validate(document, cls=OpenAPIV31SpecValidator)
    assert document["openapi"].startswith("3.1")
    names = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    ]
    assert sorted(names) == sorted(set(names))


async def test_every_example_in_the_openapi_document_is_of_its_schema() -> None:
    """An example that does not fit misleads more than none."""
    async with client_of({"name": "b", "target": "127.0.0.1:1"}) as client:
        document = (await client.get("/openapi.json")).json()
    registry: Any = Registry().with_resource("urn:document", DRAFT202012.create_resource(document))
    seen = 0
    for content in _contents(document):
        schema = _absolute(content["schema"])
        validator = Draft202012Validator(schema, registry=registry)
        for example in content["examples"].values():
            assert list(validator.iter_errors(example["value"])) == []
            seen += 1
    assert seen >= 10


def _contents(node: Any) -> list[Any]:
    if isinstance(node, list):
        return [found for item in node for found in _contents(item)]
    if not isinstance(node, dict):
        return []
    here = [node["application/json"]] if "application/json" in node else []
    return here + [found for item in node.values() for found in _contents(item)]


def _absolute(node: Any) -> Any:
    if isinstance(node, list):
        return [_absolute(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {k: f"urn:document{v}" if k == "$ref" else _absolute(v) for k, v in node.items()}


async def test_the_openapi_document_joins_the_paths_of_fastapi_with_those_of_operations() -> None:
    """Health has its paths and its schemas from the models that answer."""
    async with client_of({"name": "b", "target": "127.0.0.1:1"}) as client:
        document = (await client.get("/openapi.json")).json()
    assert {"/livez", "/readyz", "/v1/operations", "/v1/{name}"} <= document["paths"].keys()
    ready = document["paths"]["/readyz"]["get"]
    assert (ready["operationId"], ready["tags"]) == ("Readyz", ["health"])
    refs = {
        status: response.get("$ref") or response["content"]["application/json"]["schema"]["$ref"]
        for status, response in ready["responses"].items()
    }
    assert refs == {
        "200": "#/components/schemas/Readiness",
        "503": "#/components/schemas/Readiness",
        "default": "#/components/responses/error",
    }
    assert document["components"]["schemas"]["Readiness"]["required"] == ["status", "backends"]


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_the_openapi_document_tells_the_backends(count: int) -> None:
    """As the values that `backend` may have; it stays valid when there are none."""
    names = [f"b{number}" for number in range(count)]
    async with client_of(*({"name": name, "target": "127.0.0.1:1"} for name in names)) as client:
        document = (await client.get("/openapi.json")).json()
    validate(document, cls=OpenAPIV31SpecValidator)
    schema = document["components"]["parameters"]["backend"]["schema"]
    assert schema.get("enum", []) == names
