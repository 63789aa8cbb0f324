"""Paths in which the client has encoded a whole name, as clients of an OpenAPI document do."""

from __future__ import annotations

import pytest

from tests.rest.test_dispatch import answer, gateway_to, service


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        ("GET /v1/databases%2Fx%2Foperations%2F1", "databases/x/operations/1"),
        ("GET /v1/databases%2fx/operations/1", "databases/x/operations/1"),
        ("POST /v1/databases%2Fx%2Foperations%2F1:wait", "databases/x/operations/1"),
        ("POST /v1/databases%2Fx:backup", "M0"),
        ("GET /v1/databases%2Fx", "M1"),
        ("GET /v2/databases%2Fx", "M2"),
    ],
)
async def test_a_name_that_is_encoded_whole_finds_its_route(request_: str, found: str) -> None:
    """A route whose variable is one segment still gets the segment as it is."""
    methods = service(
        "POST /v1/{name=databases/*}:backup", "GET /v1/{name=databases/*}", "GET /v2/{name}"
    )
    async with gateway_to(methods) as client:
        assert await answer(client, request_) == found


async def test_a_parent_that_is_encoded_whole_is_listed() -> None:
    """The backend gets the name with its slashes."""
    async with gateway_to(service()) as client:
        for path in ("/v1/databases%2Fx/operations", "/v1/databases%2Fx%2Foperations"):
            listed = (await client.get(path)).json()["operations"]
            assert [each["name"] for each in listed] == ["databases/x/operations/1"]
