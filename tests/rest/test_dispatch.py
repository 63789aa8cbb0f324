"""The most specific template decides whether a method or google.longrunning.Operations answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf import wrappers_pb2

from tests.contrary import Answer, ContraryBackend, Handler, acknowledging, answering, refusing
from tests.gateways import serving
from tests.rest.exchanges import error_of
from tests.strange import Strange

TEXT = "google.protobuf.StringValue"
STARTED = operations_pb2.Operation(name="ops/1", done=True)


async def echo(request: Any, _context: Any) -> Answer:
    """Answer an operation that has the name in the request."""
    answer: Answer = operations_pb2.Operation(name=request.name, done=True)
    return answer


async def listed(request: Any, _context: Any) -> Answer:
    """Answer a page with one operation under the parent in the request."""
    operation = operations_pb2.Operation(name=f"{request.name}/operations/1", done=True)
    answer: Answer = operations_pb2.ListOperationsResponse(operations=[operation])
    return answer


OPERATIONS: Mapping[str, Handler] = {
    "GetOperation": echo,
    "WaitOperation": echo,
    "ListOperations": listed,
    "CancelOperation": acknowledging(),
    "DeleteOperation": acknowledging(),
}


def service(*rules: str, package: str = "strange") -> Strange:
    """Return a service of plain methods with these rules, such as `GET /v1/{name=**}`.

    The methods are called M0, M1 and so on, and each answers its own name.
    """
    strange = Strange()
    strange.file.package = package
    strange.file.name = f"{package}.proto"
    strange.message("Request", "name", "parent")
    for number, rule in enumerate(rules):
        verb, template = rule.split(" ")
        strange.method(f"M{number}", f"{package}.Request", TEXT, **{verb.lower(): template})
    return strange


@asynccontextmanager
async def backend_of(strange: Strange) -> AsyncIterator[ContraryBackend]:
    """Serve the methods of a service, and operations of every name."""
    path = f"{strange.file.package}.Strange"
    methods = {
        f"{path}/{each.name}": answering(wrappers_pb2.StringValue(value=f"{path}/{each.name}"))
        for each in strange.service.method
    }
    async with ContraryBackend.open(
        OPERATIONS, methods=methods, pool=strange.pool(), reflection_versions=("v1",)
    ) as backend:
        yield backend


@asynccontextmanager
async def gateway_to(*services: Strange, **patterns: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of a gateway to the backends `a` and `b`, with these patterns."""
    async with AsyncExitStack() as stack:
        backends = [await stack.enter_async_context(backend_of(each)) for each in services]
        settings = [
            {
                "name": name,
                "target": backend.target,
                "methods": ["*"],
                "operations": patterns.get(name, []),
            }
            for name, backend in zip("ab", backends, strict=False)
        ]
        url = await stack.enter_async_context(serving(*settings))
        yield await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60))


async def answer(client: httpx.AsyncClient, request: str, **query: str) -> Any:
    """Return the method that answers a request, or the name of an operation, or the error."""
    verb, path = request.split(" ")
    response = await client.request(verb, path, params=query)
    if response.is_success:
        body = response.json()
        if isinstance(body, str):
            return body.removeprefix("strange.Strange/")
        if "operations" in body:
            return [each["name"] for each in body["operations"]]
        return body.get("name", "done")
    details = error_of(response).get("details", [{"reason": "no reason"}])
    return details[0]["reason"]


SPANNER = (
    "GET /v1/{name=projects/*}",
    "GET /v1/{parent=projects/*}/instances",
    "POST /v1/{parent=projects/*}/instances",
    "GET /v1/{name=projects/*/instances/*}",
    "DELETE /v1/{name=projects/*/instances/*}",
    "POST /v1/{name=projects/*/instances/*}:undelete",
)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("GET /v1/projects/operations", "M0"),
        ("GET /v1/projects/operations/instances", "M1"),
        ("POST /v1/projects/operations/instances", "M2"),
        ("GET /v1/projects/operations/instances/i", "M3"),
        ("GET /v1/projects/operations/instances/operations", "M3"),
        ("GET /v1/projects/p/instances/operations", "M3"),
        ("DELETE /v1/projects/p/instances/operations", "M4"),
        ("POST /v1/projects/p/instances/operations:undelete", "M5"),
        ("GET /v1/projects/p/operations", ["projects/p/operations/1"]),
        ("GET /v1/projects/operations/operations", ["projects/operations/1"]),
        ("GET /v1/projects/p/operations/instances", "projects/p/operations/instances"),
        ("GET /v1/projects/operations/operations/1", "projects/operations/operations/1"),
        ("POST /v1/projects/operations/instances/i:cancel", "done"),
        ("DELETE /v1/projects/p/operations/1", "done"),
        ("PUT /v1/projects/p/operations/1", "METHOD_NOT_ALLOWED"),
        ("POST /v1/projects/p/operations/1", "METHOD_NOT_ALLOWED"),
    ],
)
async def test_a_resource_may_be_called_operations(
    spanner: httpx.AsyncClient, request_: str, expected: Any
) -> None:
    """A project, an instance or a database may have this id."""
    assert await answer(spanner, request_) == expected


@pytest.fixture(scope="module")
async def spanner() -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of a gateway to a service with instances in projects."""
    async with gateway_to(service(*SPANNER)) as client:
        yield client


async def test_the_first_request_knows_the_methods() -> None:
    """The gateway lists the methods of a backend for the first read of an operation too."""
    async with gateway_to(service(*SPANNER)) as client:
        assert await answer(client, "GET /v1/projects/p/instances/operations") == "M3"


@pytest.mark.parametrize("template", ["/v1/{name=**}", "/v1/{name=projects/**}", "/{name=**}"])
async def test_a_deep_wildcard_takes_no_operation_away(template: str) -> None:
    """An operation that a start has returned can always be read."""
    rules = [f"{verb} {template}" for verb in ("GET", "DELETE", "POST")]
    async with gateway_to(service(*rules), a=["projects/p/jobs/*", "**/operations/*"]) as client:
        for request, expected in (
            ("GET /v1/projects/p/operations/1", "projects/p/operations/1"),
            ("GET /v1/projects/p/operations", ["projects/p/operations/1"]),
            ("GET /v1/projects/p/jobs/1", "projects/p/jobs/1"),
            ("GET /v1/projects/p/things/1", "M0"),
            ("DELETE /v1/projects/p/operations/1", "done"),
            ("DELETE /v1/projects/p/things/1", "M1"),
            ("POST /v1/projects/p/operations/1:cancel", "done"),
            ("POST /v1/projects/p/jobs/1:cancel", "done"),
            ("POST /v1/projects/p/things/1:cancel", "UNROUTABLE_NAME"),
            ("POST /v1/projects/p/things/1", "M2"),
            ("GET /v1/projects/p/things/1:cancel", "METHOD_NOT_ALLOWED"),
        ):
            assert await answer(client, request) == expected, request


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("GET /v1/files/a:download", "M0"),
        ("GET /v1/files/a/operations:download", "M0"),
        ("GET /v1/files/a/operations/b:download", "M0"),
        ("DELETE /v1/files/a:download", "METHOD_NOT_ALLOWED"),
        ("POST /v1/files/a:download", "METHOD_NOT_ALLOWED"),
        ("GET /v1/files/a:zap", "METHOD_NOT_ALLOWED"),
        ("POST /v1/files/a/operations/b:cancel", "done"),
    ],
)
async def test_a_custom_verb_of_a_method_is_no_part_of_the_name_of_an_operation(
    request_: str, expected: str
) -> None:
    """A request with another HTTP verb would otherwise read or delete such an operation."""
    custom = ("download", "zap", "cancel")
    verbs = ("GET", "DELETE", "POST")
    rules = [
        f"{verb} /v1/{{name=files/**}}:{each}" for verb, each in zip(verbs, custom, strict=True)
    ]
    async with gateway_to(service(*rules)) as client:
        assert await answer(client, request_) == expected


OWN_OPERATIONS = (
    "GET /v1/{name=projects/*/locations/*/operations/*}",
    "GET /v1/{parent=projects/*/locations/*}/operations",
    "POST /v1/{name=projects/*/locations/*/operations/*}:cancel",
    "GET /compute/v1/projects/{parent}/global/operations/{name}",
    "DELETE /compute/v1/projects/{parent}/global/operations/{name}",
    "POST /compute/v1/projects/{parent}/global/operations/{name}/wait",
    "GET /sql/v1beta4/projects/{parent}/operations",
)
LIST = "GET /v1/projects/p/locations/l/operations"
READ = f"{LIST}/1"


async def test_a_service_may_have_operations_of_its_own() -> None:
    """Compute, Cloud SQL and GKE have plain methods with such paths."""
    async with gateway_to(service(*OWN_OPERATIONS)) as client:
        requests = [
            READ,
            LIST,
            "POST /v1/projects/p/locations/l/operations/1:cancel",
            "GET /compute/v1/projects/p/global/operations/1",
            "DELETE /compute/v1/projects/p/global/operations/1",
            "POST /compute/v1/projects/p/global/operations/1/wait",
            "GET /sql/v1beta4/projects/p/operations",
        ]
        answers = [await answer(client, request) for request in requests]
        assert answers == [f"M{number}" for number in range(7)]
        assert await answer(client, "DELETE /v1/projects/p/locations/l/operations/1") == "done"
        assert await answer(client, "GET /v1/projects/p/operations/1") == "projects/p/operations/1"


async def test_a_name_belongs_to_the_backend_whose_pattern_matches_it() -> None:
    """A method of another backend answers only if the caller names that backend."""
    pattern = "projects/*/locations/*/operations/*"
    for patterns, expected in (
        ({"b": [pattern]}, "projects/p/locations/l/operations/1"),
        ({"a": ["other/*"]}, "projects/p/locations/l/operations/1"),
        ({"a": [pattern]}, "M0"),
        ({}, "M0"),
    ):
        async with gateway_to(service(*OWN_OPERATIONS), service(), **patterns) as client:
            assert await answer(client, READ) == expected
            assert await answer(client, READ, backend="a") == "M0"
            by_b = await answer(client, READ, backend="b")
            assert by_b.removeprefix("//b/") == "projects/p/locations/l/operations/1"
            assert await answer(client, LIST, backend="a") == "M1"
            (listed_by_b,) = await answer(client, LIST, backend="b")
            assert listed_by_b.endswith("projects/p/locations/l/operations/1")


@pytest.mark.parametrize(
    ("rule", "request_"),
    [
        ("GET /pets", "GET /pets"),
        ("POST /v1:purge", "POST /v1:purge"),
        ("GET /", "GET /"),
        ("GET /{name=**}", "GET /a/b/c"),
        ("GET /{name}", "GET /v1"),
        ("POST /docs/{name}", "POST /docs/1"),
        ("PUT /v1/x~y/@me/a.b/{name}", "PUT /v1/x~y/@me/a.b/c%20d"),
        ("PATCH /v1beta1/%24all/{name}", "PATCH /v1beta1/$all/1"),
        ("DELETE /api/pets/{name}:forget", "DELETE /api/pets/1:forget"),
        ("GET /v0/operations/{name}", "GET /v0/operations/1"),
        ("GET /operations", "GET /operations"),
    ],
)
async def test_a_method_may_have_any_path(rule: str, request_: str) -> None:
    """The path needs no version, and may have one segment or none."""
    async with gateway_to(service(rule)) as client:
        assert await answer(client, request_) == "M0"
        assert await answer(client, "POST /v1/strange.Strange/M0") == "M0"
        assert (await client.get("/livez")).json() == {"status": "ok"}
        other = await client.request("TRACE", request_.split(" ")[1])
        assert (other.status_code, rule.split(" ", maxsplit=1)[0] in other.headers["allow"]) == (
            405,
            True,
        )


async def test_a_rule_may_be_for_head_or_for_every_verb() -> None:
    """`custom` is a rule for an HTTP verb that has no field of its own.

    A rule for GET serves HEAD only if the method reads, because HEAD changes nothing (RFC 9110).
    """
    strange = service("GET /v1/things/{name}")
    strange.method("GetOther", "strange.Request", TEXT, get="/v1/others/{name}")
    strange.method("Head", "strange.Request", TEXT, custom={"kind": "HEAD", "path": "/v1/heads/1"})
    strange.method("Any", "strange.Request", TEXT, custom={"kind": "*", "path": "/any/{name}"})
    async with gateway_to(strange) as client:
        assert (await client.head("/v1/heads/1")).status_code == 200
        assert (await client.head("/v1/others/1")).status_code == 200
        assert (await client.head("/v1/things/1")).status_code == 405
        for verb in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            assert await answer(client, f"{verb} /any/1") == "Any"
        allowed = (await client.options("/any/1")).headers["allow"]
        assert allowed == "DELETE, GET, PATCH, POST, PUT"


SHARED = "POST /v1/{parent=projects/*}/instances"
REQUEST = "POST /v1/projects/p/instances"


async def test_methods_of_two_backends_may_share_a_route() -> None:
    """The parameter `backend`, or a name in the path, chooses the method."""
    one, two = service(SHARED, package="one"), service(SHARED, package="two")
    patterns = {"a": ["projects/of-a/**/operations/*"], "b": ["projects/of-b/**/operations/*"]}
    async with gateway_to(one, two, **patterns) as client:
        assert await answer(client, REQUEST, backend="a") == "one.Strange/M0"
        assert await answer(client, REQUEST, backend="b") == "two.Strange/M0"
        assert await answer(client, REQUEST.replace("/p/", "/of-b/")) == "two.Strange/M0"
        assert await answer(client, "POST /v1/one.Strange/M0") == "one.Strange/M0"
        error = error_of(await client.post("/v1/projects/p/instances"))
    assert (error["code"], error["details"][0]["reason"]) == (400, "AMBIGUOUS_ROUTE")
    assert error["message"] == (
        "backend: several methods have this path: one.Strange/M0 on a, two.Strange/M0 on b; name"
        " one of these backends, or call a method at its own path, such as POST"
        " /v1/one.Strange/M0"
    )


async def test_a_backend_that_does_not_offer_the_method_is_refused_with_the_choices() -> None:
    """The error tells whether there is such a backend."""
    one, two = service(SHARED, package="one"), service("POST /v1/{name=**}:x", package="two")
    async with gateway_to(one, two) as client:
        wrong = error_of(await client.post("/v1/projects/p/instances?backend=b"))
        unknown = error_of(await client.post("/v1/projects/p/instances?backend=nobody"))
        default = error_of(await client.post("/v1/one.Strange/M0?backend=b"))
    offered = "backend: backend 'b' does not offer one.Strange/M0; these do: a"
    assert wrong["message"] == default["message"] == offered
    assert wrong["details"][0]["reason"] == "BACKEND_MISMATCH"
    assert unknown["message"] == "backend: there is no backend 'nobody'; there are: a, b"
    assert unknown["details"][0]["reason"] == "UNKNOWN_BACKEND"


async def test_a_less_specific_route_answers_for_the_named_backend() -> None:
    """Without `backend`, the most specific route answers."""
    one = service("POST /v1/{parent=projects/*}/instances", package="one")
    two = service("POST /v1/{parent=**}/instances", package="two")
    async with gateway_to(one, two) as client:
        assert await answer(client, REQUEST) == "one.Strange/M0"
        assert await answer(client, REQUEST, backend="b") == "two.Strange/M0"


async def test_methods_of_one_backend_with_one_route_have_their_default_routes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A request to the shared route is refused, and the log has the problem."""
    async with gateway_to(service(SHARED, SHARED)) as client:
        assert await answer(client, REQUEST) == "AMBIGUOUS_ROUTE"
        assert await answer(client, REQUEST, backend="a") == "AMBIGUOUS_ROUTE"
        assert await answer(client, "POST /v1/strange.Strange/M1") == "M1"
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert {"/v1/strange.Strange/M0", "/v1/strange.Strange/M1"} <= set(paths)
    assert any("several methods of backend 'a'" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("request_", "suggestion"),
    [
        ("GET /v1/operation", "/v1/operations"),
        ("GET /v1/Operations", "/v1/operations"),
        ("GET /v1/operatons/1", "/v1/operations/1"),
        ("GET /v1/databases/x/operation/1", "/v1/databases/x/operations/1"),
        ("POST /v1/operation/1:cancel", "/v1/operations/1:cancel"),
        ("POST /v1/operations/1:cancle", "/v1/operations/1:cancel"),
        ("GET /operations", "/v1/operations"),
        ("GET /V1/operations", "/v1/operations"),
        ("GET /livezz", "/livez"),
    ],
)
async def test_a_misspelt_path_is_a_404_that_suggests(request_: str, suggestion: str) -> None:
    """It is a 404 whether one backend or several may have an operation of this name."""
    missing = refusing(grpc.StatusCode.NOT_FOUND, "no such operation")
    handlers = {"GetOperation": missing, "CancelOperation": missing}
    verb, path = request_.split(" ")
    async with ContraryBackend.open(handlers) as backend:
        for names in ("a", "ab"):
            settings = [{"name": name, "target": backend.target} for name in names]
            async with serving(*settings) as url, httpx.AsyncClient(base_url=url) as client:
                error = error_of(await client.request(verb, path))
                assert (error["code"], error["details"][0]["reason"]) == (404, "UNKNOWN_PATH")
                assert error["message"].endswith(f"; did you mean {suggestion}?")
                other = await answer(client, "GET /v1/main/5f0c")
                assert other == ("AMBIGUOUS_NAME" if names == "ab" else "no reason")


async def test_a_backend_that_hangs_does_not_delay_the_operations_of_others() -> None:
    """Its first discovery ends only after the time within which these reads must be answered."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    silent = {"name": "silent", "target": f"{host}:{port}", "operations": ["silent/*"]}
    async with server, backend_of(service()) as backend:
        sound = {"name": "sound", "target": backend.target}
        for patterns in (["**/operations/*"], []):
            async with (
                serving({**silent, "deadline": "600s"}, {**sound, "operations": patterns}) as url,
                httpx.AsyncClient(base_url=url, timeout=60) as client,
            ):
                assert await answer(client, "GET /v1/x/operations/1") == "x/operations/1"
                assert await answer(client, "POST /v1/x/operations/1:cancel") == "done"
    for writer in writers:
        writer.close()
