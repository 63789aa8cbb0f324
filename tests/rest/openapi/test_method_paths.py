"""The methods of backends in `/openapi.json`."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from lro_gateway.demo.server import DemoServer
from tests import factory
from tests.gateways import serving
from tests.rest import library
from tests.rest.library import method, rule

ERROR = {"$ref": "#/components/responses/error"}
SYSTEM = [{"$ref": f"#/components/parameters/{name}"} for name in ("fields", "prettyPrint", "alt")]
KEY = {"$ref": "#/components/parameters/idempotencyKey"}
STRING = {"type": "string"}
LIBRARY = (
    method("ListBooks", rule("GET", "/v1/{parent=shelves/*}/books", response_body="books")),
    method("BestBook", rule("GET", "/v1/{parent=shelves/*}/books:best", response_body="best")),
    method("ReadTime", rule("GET", "/v1/readTime", response_body="read_time")),
    method("CreateBook", rule("POST", "/v1/{parent=shelves/*}/books", "book")),
    method("UpdateBook", rule("PATCH", "/v1/{book.name=shelves/*/books/*}", "*")),
    method("LendBook", rule("POST", "/v1/{name=shelves/*/books/*}:lend", "*")),
    method("CopyBook", rule("POST", "/v1/copies/{copies}", "genres")),
    method("AnyVerb", rule("*", "/v1/anything", "*"), rule("GET", "/v1/anything")),
)


def backend(path: Path, files: FileDescriptorSet, name: str = "b", **keys: Any) -> dict[str, Any]:
    """Write descriptors to a file; return the configuration of a backend that offers them all.

    No server runs at the target.
    """
    file = path / f"{name}.binpb"
    file.write_bytes(files.SerializeToString())
    return {
        "name": name,
        "target": "127.0.0.1:1",
        "descriptors": [str(file)],
        "methods": ["*/*"],
        **keys,
    }


@asynccontextmanager
async def client_of(*backends: Mapping[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of a gateway to these backends."""
    async with serving(*backends) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


async def document_of(*backends: Mapping[str, Any]) -> Any:
    """Return the document of a gateway to these backends, after a check that it is valid."""
    async with client_of(*backends) as client:
        return await fetched(client)


async def fetched(client: httpx.AsyncClient) -> Any:
    """Return the document, after checks that it is valid and that its ids and paths are unique."""
    response = await client.get("/openapi.json")
    assert response.status_code == 200
    document = response.json()
    validate(document, cls=OpenAPIV31SpecValidator)
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    names = [each["operationId"] for item in document["paths"].values() for each in item.values()]
    assert sorted(names) == sorted(set(names))
    shapes = [re.sub(r"\{[^}]*\}", "{}", path) for path in document["paths"]]
    assert sorted(shapes) == sorted(set(shapes))
    return document


def operations(document: Any) -> dict[str, str]:
    """Return the HTTP verb and the path of each method's operation, by operationId."""
    return {
        operation["operationId"]: f"{verb.upper()} {path}"
        for path, item in document["paths"].items()
        for verb, operation in item.items()
        if operation["tags"] not in (["operations"], ["health"])
    }


# --- routes -----------------------------------------------------------------------------------


async def test_the_demo_backends_methods_are_operations(tmp_path: Path) -> None:
    """Each operation has the path of its rule, and two verbs of one path share the path."""
    async with DemoServer.open(tmp_path) as demo:
        configured = {"name": "demo", "target": demo.target, "methods": ["*/*"]}
        document = await document_of(configured)
        assert document == await document_of(configured)
    assert operations(document) == {
        "backup_database": "POST /v1/databases/{databasesId}:backup",
        "check_database": "POST /v1/databases/{databasesId}:check",
        "create_database": "POST /v1/databases",
        "list_databases": "GET /v1/databases",
        "export_query": "POST /v1/databases/{databasesId}:exportQuery",
        "get_database": "GET /v1/databases/{databasesId}",
        "list_backups": "GET /v1/databases/{databasesId}/backups",
    }


async def test_the_factorys_methods_are_operations(tmp_path: Path) -> None:
    """The operationId of a second rule has a number, and a method without a rule has a route.

    The backend is down, but its descriptors come from a file.
    """
    document = await document_of(backend(tmp_path, factory.descriptor_set()))
    assert operations(document) == {
        "build_machine": "POST /v1/lines/{linesId}/machines",
        "build_machine_2": "POST /v1/machines:build",
        "delete_machine": "DELETE /v1/lines/{linesId}/machines/{machinesId}",
        "get_machine": "GET /v1/lines/{linesId}/machines/{machinesId}",
        "update_machine": "PATCH /v1/lines/{linesId}/machines/{machinesId}",
        "overhaul": "POST /v1/factory.v1.Factory/Overhaul",
    }
    assert document["tags"] == [{"name": "factory.v1.Factory", "description": "Builds machines."}]
    overhaul = document["paths"]["/v1/factory.v1.Factory/Overhaul"]["post"]
    assert overhaul["deprecated"] is True
    assert overhaul["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/google.longrunning.Operation"
    }


async def test_the_librarys_methods_are_operations(tmp_path: Path) -> None:
    """A rule for any HTTP verb gets the verbs that no other rule of its path has."""
    document = await document_of(backend(tmp_path, library.descriptor_set(*LIBRARY)))
    assert operations(document) == {
        "list_books": "GET /v1/shelves/{shelvesId}/books",
        "best_book": "GET /v1/shelves/{shelvesId}/books:best",
        "read_time": "GET /v1/readTime",
        "create_book": "POST /v1/shelves/{shelvesId}/books",
        "update_book": "PATCH /v1/shelves/{shelvesId}/books/{booksId}",
        "lend_book": "POST /v1/shelves/{shelvesId}/books/{booksId}:lend",
        "copy_book": "POST /v1/copies/{copiesId}",
        "any_verb": "GET /v1/anything",
        "any_verb_2": "DELETE /v1/anything",
        "any_verb_3": "POST /v1/anything",
        "any_verb_4": "PUT /v1/anything",
        "any_verb_5": "PATCH /v1/anything",
    }


async def test_a_number_never_makes_the_name_of_another_method(tmp_path: Path) -> None:
    """`Lend` has two rules, and another method has the name `Lend_2`."""
    methods = (
        method("Lend", rule("POST", "/v1/a", "*"), rule("POST", "/v1/b", "*")),
        method("Lend_2", rule("POST", "/v1/c", "*")),
    )
    document = await document_of(backend(tmp_path, library.descriptor_set(*methods)))
    assert operations(document) == {
        "lend": "POST /v1/a",
        "lend_3": "POST /v1/b",
        "lend_2": "POST /v1/c",
    }


async def test_paths_that_are_equal_for_openapi_are_one_path(tmp_path: Path) -> None:
    """`*` and `**` are equal for OpenAPI. A second route of a verb is named in the description."""
    methods = (
        method("GetBook", rule("GET", "/v1/books/{name}")),
        method("GetPage", rule("GET", "/v1/books/{name=**}")),
        method("PutBook", rule("PUT", "/v1/books/{name=**}", "book")),
        method("GetThing", rule("GET", "/v1/{name}")),
        method("PatchThing", rule("PATCH", "/v1/{book.name}", "book")),
        method("CancelThing", rule("POST", "/v1/{name=things/**}:cancel", "*")),
    )
    paths = (await document_of(backend(tmp_path, library.descriptor_set(*methods))))["paths"]
    assert {verb: each["operationId"] for verb, each in paths["/v1/books/{booksId}"].items()} == {
        "get": "get_book",
        "put": "put_book",
    }
    assert paths["/v1/books/{booksId}"]["get"]["description"] == (
        "Calls library.v1.Library/GetBook. /v1/books/{name=**} of library.v1.Library/GetPage has"
        " the same path; the more specific template, or the parameter backend, decides."
    )
    assert {verb: each["operationId"] for verb, each in paths["/v1/{name}"].items()} == {
        "get": "GetOperation",
        "delete": "DeleteOperation",
        "patch": "patch_thing",
    }
    assert paths["/v1/{name}"]["get"]["description"] == (
        "/v1/{name} of library.v1.Library/GetThing has the same path; the more specific template,"
        " or the parameter backend, decides."
    )
    assert paths["/v1/{name}"]["patch"]["parameters"][0]["name"] == "name"
    assert "/v1/things/{name}:cancel" in paths


async def test_routes_that_never_receive_a_request_are_left_out(tmp_path: Path) -> None:
    """These are the gateway's own pages, and HTTP verbs that are not served."""
    methods = (
        method("A", rule("GET", "/docs"), rule("GET", "/v1/operations/{name}")),
        method("B", rule("REPORT", "/v1/b"), rule("GET", "/books")),
        method("C", rule("POST", "/v1/operations:purge", "*")),
    )
    async with client_of(backend(tmp_path, library.descriptor_set(*methods))) as client:
        document = await fetched(client)
        assert (await client.get("/docs")).headers["content-type"].startswith("text/html")
        assert (await client.request("REPORT", "/v1/b")).status_code == 405
    assert operations(document) == {
        "a": "GET /v1/operations/{operationsId}",
        "b": "GET /books",
        "c": "POST /v1/operations:purge",
    }


# --- requests and responses -------------------------------------------------------------------


async def test_an_openapi_operation_describes_its_method_completely(tmp_path: Path) -> None:
    """It has the comment, the parameters, the body without the path's fields, and the payloads."""
    document = await document_of(backend(tmp_path, factory.descriptor_set()))
    update = document["paths"]["/v1/lines/{linesId}/machines/{machinesId}"]["patch"]
    body = update.pop("requestBody")
    whole = "A part of machine.name, which is lines/{linesId}/machines/{machinesId}. Its name."
    assert update == {
        "operationId": "update_machine",
        "summary": "Update machine",
        "description": "Calls factory.v1.Factory/UpdateMachine.",
        "tags": ["factory.v1.Factory"],
        "parameters": [
            *(
                {
                    "name": name,
                    "in": "path",
                    "required": True,
                    "description": whole,
                    "schema": STRING,
                }
                for name in ("linesId", "machinesId")
            ),
            {
                "name": "updateMask",
                "in": "query",
                "schema": {"$ref": "#/components/schemas/google.protobuf.FieldMask-update"},
            },
            *(*SYSTEM, KEY),
        ],
        "responses": {
            "200": {
                "description": "The operation.",
                "headers": {
                    each: {"$ref": f"#/components/headers/{each}"}
                    for each in ("ETag", "idempotency-replayed")
                },
                "content": {
                    "application/json": {
                        "schema": {
                            "allOf": [
                                {"$ref": "#/components/schemas/google.longrunning.Operation"},
                                {
                                    "properties": {
                                        "response": announced("factory.v1.Machine"),
                                        "metadata": announced("factory.v1.BuildMetadata"),
                                    }
                                },
                            ]
                        }
                    }
                },
            },
            "default": ERROR,
        },
    }
    schema = body["content"]["application/json"]["schema"]
    assert "required" not in body
    assert list(schema["properties"]) == [
        *("title", "wantedState", "engine", "crank", "parts", "notes", "startTime", "weight")
    ]
    assert "required" not in schema, "an update mask names the fields that the body has"


def announced(name: str) -> dict[str, Any]:
    """Return the schema of an Any whose payload the method announces."""
    payload = {"$ref": f"#/components/schemas/{name}-any"}
    return {
        "description": f"Usually a {name}. The backend may send another type.",
        "anyOf": [payload, {"type": "object"}],
    }


async def test_requests_and_responses_have_different_schemas(tmp_path: Path) -> None:
    """A machine in a create needs a title and has no state; in an update it needs no title."""
    document = await document_of(backend(tmp_path, factory.descriptor_set()))
    schemas = document["components"]["schemas"]
    create = document["paths"]["/v1/lines/{linesId}/machines"]["post"]
    assert create["requestBody"] == {
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/factory.v1.Machine-input"}
            }
        },
        "required": True,
    }
    assert schemas["factory.v1.Machine-input"]["required"] == ["title"]
    assert "required" not in schemas["factory.v1.Machine-update"]
    assert [
        "state" in schemas[f"factory.v1.Machine{form}"]["properties"]
        for form in ("", "-any", "-input", "-update")
    ] == [True, True, False, False]


async def test_bodies_and_responses_have_the_fields_that_the_rules_name(tmp_path: Path) -> None:
    """A body leaves out the fields of the path, and a response may be one field or null."""
    document = await document_of(backend(tmp_path, library.descriptor_set(*LIBRARY)))
    bodies, answers = {}, {}
    for item in document["paths"].values():
        for operation in item.values():
            name = operation["operationId"]
            if "requestBody" in operation:
                bodies[name] = operation["requestBody"]["content"]["application/json"]["schema"]
            content = operation["responses"]["200"].get("content", {})
            if "application/json" in content:
                answers[name] = content["application/json"]["schema"]
    book = "#/components/schemas/library.v1.Book"
    response = {"$ref": "#/components/schemas/library.v1.BookResponse"}
    assert bodies["create_book"] == {"$ref": f"{book}-update"}
    assert "name" not in bodies["update_book"]["properties"]["book"]["properties"]
    assert "title" in bodies["update_book"]["properties"]["book"]["properties"]
    assert "name" not in bodies["lend_book"]["properties"]
    genre = {"type": "string", "enum": ["GENRE_UNSPECIFIED", "NOVEL", "POEMS"]}
    assert bodies["copy_book"] == {"type": "array", "items": genre}
    assert answers["list_books"] == {"type": "array", "items": {"$ref": book}}
    assert answers["best_book"] == {"$ref": book}
    assert answers["read_time"] == {
        "anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]
    }
    assert answers["create_book"] == answers["lend_book"] == response
    (copies, *others) = document["paths"]["/v1/copies/{copiesId}"]["post"]["parameters"]
    assert copies["schema"] == {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
    assert {"name": "tags", "in": "query", "schema": {"type": "array", "items": STRING}} in others
    assert "copies" not in {each.get("name") for each in others}


async def test_a_method_that_must_be_confirmed_has_the_header_for_it(tmp_path: Path) -> None:
    """The header `lro-gateway-confirmed` declares that a person has agreed."""
    files = library.descriptor_set(LIBRARY[5])
    document = await document_of(backend(tmp_path, files, confirm=["*/Lend*"]))
    (lend,) = (each["post"] for path, each in document["paths"].items() if path.endswith(":lend"))
    assert lend["parameters"][-1] == {"$ref": "#/components/parameters/confirmed"}
    assert document["components"]["parameters"]["confirmed"]["name"] == "lro-gateway-confirmed"


# --- backends ---------------------------------------------------------------------------------


async def test_the_query_chooses_one_of_several_backends(tmp_path: Path) -> None:
    """The parameter is `gateway_backend` if the request has a field named `backend`."""
    regions = [backend(tmp_path, factory.descriptor_set(), name) for name in ("eu", "us")]
    paths = (await document_of(*regions))["paths"]
    chosen = {
        "in": "query",
        "schema": {"type": "string", "enum": ["eu", "us"]},
        "description": "The backend to call, if no name in the request identifies it.",
    }
    delete = paths["/v1/lines/{linesId}/machines/{machinesId}"]["delete"]["parameters"]
    assert delete[2:] == [{"name": "backend", **chosen}, *SYSTEM, KEY]
    overhaul = paths["/v1/factory.v1.Factory/Overhaul"]["post"]["parameters"]
    assert overhaul == [{"name": "gateway_backend", **chosen}, *SYSTEM, KEY]


async def test_different_messages_of_one_name_have_different_schemas(tmp_path: Path) -> None:
    """Messages that contain them also have two schemas; equal messages share one."""
    older = library.descriptor_set(method("ListBooks", rule("GET", "/v1/books")))
    newer = copy.deepcopy(library.descriptor_set(method("ListTitles", rule("GET", "/v1/titles"))))
    (file,) = (each for each in newer.file if each.name == "library.proto")
    (book,) = (each for each in file.message_type if each.name == "Book")
    book.field[1].name, book.field[1].json_name = "heading", "heading"
    configured = (backend(tmp_path, older, "older"), backend(tmp_path, newer, "newer"))
    document = await document_of(*configured)
    assert document == await document_of(*configured)
    schemas = document["components"]["schemas"]
    assert [name for name in schemas if name.startswith("library.")] == [
        *("library.v1.Author", "library.v1.Book", "library.v1.Book-2"),
        *("library.v1.BookResponse", "library.v1.BookResponse-2"),
    ]
    assert "title" in schemas["library.v1.Book"]["properties"]
    assert "heading" in schemas["library.v1.Book-2"]["properties"]
    assert schemas["library.v1.BookResponse-2"]["properties"]["best"] == {
        "$ref": "#/components/schemas/library.v1.Book-2"
    }


async def test_the_document_follows_the_descriptors(tmp_path: Path) -> None:
    """Its ETag stays the same until a refresh brings other descriptors."""
    configured = backend(tmp_path, factory.descriptor_set(), descriptor_refresh="0.1s")
    async with client_of(configured) as client:
        first = await client.get("/openapi.json")
        known = {"if-none-match": first.headers["etag"]}
        assert (await client.get("/openapi.json", headers=known)).status_code == 304
        fewer = copy.deepcopy(factory.descriptor_set())
        del fewer.file[-1].service[0].method[1:]
        await asyncio.to_thread(
            Path(configured["descriptors"][0]).write_bytes, fewer.SerializeToString()
        )
        while (await client.get("/openapi.json", headers=known)).status_code == 304:
            pass
        assert list(operations(await fetched(client))) == ["build_machine", "build_machine_2"]


async def test_a_field_replaces_the_system_parameter_of_its_name(tmp_path: Path) -> None:
    """`fields` is documented once, as a field of the request."""
    request = copy.deepcopy(library.descriptor_set(method("Get", rule("GET", "/v1/books"))))
    (file,) = (each for each in request.file if each.name == "library.proto")
    (message,) = (each for each in file.message_type if each.name == "BookRequest")
    message.field[0].name, message.field[0].json_name = "fields", "fields"
    parameters = (await document_of(backend(tmp_path, request)))["paths"]["/v1/books"]["get"][
        "parameters"
    ]
    assert [each for each in parameters if each.get("name") == "fields"] == [
        {"name": "fields", "in": "query", "schema": STRING}
    ]
    assert parameters[-2:] == SYSTEM[1:]


@pytest.mark.parametrize("count", [1, 2])
async def test_a_backend_that_is_down_removes_no_operations(tmp_path: Path, count: int) -> None:
    """A backend without descriptors adds no methods, and the other backends keep theirs."""
    up = backend(tmp_path, library.descriptor_set(LIBRARY[0]))
    down = {"name": "down", "target": "127.0.0.1:1", "deadline": "1s"}
    document = await document_of(*[down, up][:count])
    assert list(operations(document)) == ["list_books"][: count - 1]
