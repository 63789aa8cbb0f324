"""Tests of the ranges in the URIs of resources."""

from __future__ import annotations

import pytest
from google.longrunning import operations_pb2
from mcp import Client

from lro_gateway.mcp.operation_uris import Range, split_range
from tests.contrary import answering
from tests.mcp.reports import client_of_reports, finished, report


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("operation://b/a/1", ("operation://b/a/1", None)),
        ("operation://b/a/1?offset=5", ("operation://b/a/1", Range(5))),
        ("operation://b/a/1?limit=7", ("operation://b/a/1", Range(0, 7))),
        ("operation://b/a/1?offset=5&limit=7", ("operation://b/a/1", Range(5, 7))),
        ("operation://b/a/1?limit=7&offset=5", ("operation://b/a/1", Range(5, 7))),
        ("operation://b/a?b?offset=5", ("operation://b/a?b", Range(5))),
        ("operation://b/a?", ("operation://b/a?", None)),
        ("operation://b/a?offset=-1", ("operation://b/a?offset=-1", None)),
        ("operation://b/a?offset=1&offset=2", ("operation://b/a?offset=1&offset=2", None)),
        ("operation://b/a?page=1", ("operation://b/a?page=1", None)),
        ("operation://b/a?offset=1&x=2", ("operation://b/a?offset=1&x=2", None)),
    ],
)
def test_only_a_query_with_whole_numbers_is_a_range(
    uri: str, expected: tuple[str, Range | None]
) -> None:
    """Any other query belongs to the name of the operation."""
    assert split_range(uri) == expected


async def test_a_name_that_ends_like_a_range_is_no_range() -> None:
    """Its URI in resources/list has an encoded question mark, and reads the operation."""
    odd = finished(report(0, 0), name="jobs/a?offset=3")
    page = operations_pb2.ListOperationsResponse(operations=[odd])
    handlers = {"ListOperations": answering(page), "GetOperation": answering(odd)}
    async with client_of_reports("2026-07-28", handlers) as (client, backend):
        uri = await _only_uri(client)
        await client.read_resource(uri)
    assert uri == "operation://b/jobs/a%3Foffset=3"
    assert backend.answered[-1].request.name == "jobs/a?offset=3"


async def _only_uri(client: Client) -> str:
    (listed,) = (await client.list_resources()).resources
    return str(listed.uri)
