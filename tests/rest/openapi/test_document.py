"""`/openapi.json`: the document is valid, and it has the paths of operations and of health."""

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

from lro_gateway.service.work_health import Cause
from tests.gateways import serving


@asynccontextmanager
async def client_of(*backends: dict[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of a gateway to these backends."""
    async with serving(*backends) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


async def test_the_openapi_document_is_valid() -> None:
    """It is OpenAPI 3.1, every reference resolves, and names and summaries are unique."""
    async with client_of({"name": "b", "target": "127.0.0.1:1"}) as client:
        response = await client.get("/openapi.json")
    document = response.json()
    validate(document, cls=OpenAPIV31SpecValidator)
    assert document["openapi"].startswith("3.1")
    operations = [each for path in document["paths"].values() for each in path.values()]
    for key in ("operationId", "summary"):
        found = [operation[key] for operation in operations]
        assert sorted(found) == sorted(set(found))


async def test_every_example_in_the_openapi_document_is_valid_for_its_schema() -> None:
    """A wrong example would mislead readers."""
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
    """The paths and the schemas of health come from its FastAPI models."""
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


async def test_the_openapi_document_has_the_health_of_the_work() -> None:
    """The answer fits its schema, and the route needs no credentials."""
    async with client_of({"name": "b", "target": "127.0.0.1:1"}) as client:
        document = (await client.get("/openapi.json")).json()
        answer = (await client.get("/healthz/operations")).json()
    described = document["paths"]["/healthz/operations"]["get"]
    schemas = document["components"]["schemas"]
    assert {"200", "503"} <= described["responses"].keys()
    schema = {**schemas["WorkStatus"], "components": {"schemas": schemas}}
    Draft202012Validator(schema).validate(answer)
    causes = schemas["WorkReason"]["properties"]["reason"]["enum"]
    assert causes == [each.value for each in Cause]


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_the_openapi_document_lists_the_backends(count: int) -> None:
    """They are the values that the parameter `backend` may have, or it is empty."""
    names = [f"b{number}" for number in range(count)]
    async with client_of(*({"name": name, "target": "127.0.0.1:1"} for name in names)) as client:
        document = (await client.get("/openapi.json")).json()
    validate(document, cls=OpenAPIV31SpecValidator)
    schema = document["components"]["parameters"]["backend"]["schema"]
    assert schema.get("enum", []) == (["", *names] if names else [])
