"""Partial responses: the system parameter `fields`."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.rest.exchanges import METADATA_JSON, error_of


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("name,done", {"name": "jobs/1", "done": False}),
        ("metadata/job/progressPercent", {"metadata": {"job": {"progressPercent": 7}}}),
        ("metadata.big", {"metadata": {"big": "1"}}),
        ("metadata(big,color)", {"metadata": {"big": "1", "color": "BLUE"}}),
        ("metadata(@type)", {"metadata": {"@type": METADATA_JSON["@type"]}}),
        ("metadata/job/*", {"metadata": {"job": {"progressPercent": 7}}}),
        ("*", {"name": "jobs/1", "metadata": METADATA_JSON, "done": False}),
        ("response", {}),
        ("metadata,metadata/big", {"metadata": METADATA_JSON}),
        ("metadata/big,metadata", {"metadata": METADATA_JSON}),
        (
            "metadata(job(x)),metadata(job/progressPercent)",
            {"metadata": {"job": {"progressPercent": 7}}},
        ),
    ],
)
async def test_only_the_selected_fields_are_returned(
    client: httpx.AsyncClient, fields: str, expected: Any
) -> None:
    """Paths, groups and `*` select fields; a field that is absent is no error."""
    response = await client.get("/v1/jobs/1", params={"fields": fields})
    assert response.json() == expected


async def test_a_selection_applies_to_each_item_of_a_list(client: httpx.AsyncClient) -> None:
    """A page is returned with the names of its operations and the unreachable resources."""
    response = await client.get("/v1/operations?fields=operations/name,unreachable")
    assert response.json() == {"operations": [{"name": "jobs/1"}], "unreachable": ["jobs/far"]}


@pytest.mark.parametrize(
    "fields",
    ["a(", "a)", "a,,b", "/a", "a b\0", "a(" * 40 + "b" + ")" * 40, "a" * 3000],
)
async def test_a_malformed_selection_is_an_invalid_argument(
    client: httpx.AsyncClient, fields: str
) -> None:
    """The error names the parameter, and no backend is called."""
    response = await client.get("/v1/operations", params={"fields": fields})
    error = error_of(response)
    assert (response.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["details"][1]["fieldViolations"][0]["field"] == "fields"
    assert error["message"].endswith("write it like name,done,metadata(progressPercent)")


async def test_an_error_is_whole_whatever_is_selected(client: httpx.AsyncClient) -> None:
    """A caller that selects `name` still learns why the call has failed, as from Google's APIs."""
    query = "/v1/operations?pageSize=-1"
    selected = await client.get(f"{query}&fields=operations/name&prettyPrint=false")
    assert (selected.status_code, selected.text) == (400, (await client.get(query)).text)
