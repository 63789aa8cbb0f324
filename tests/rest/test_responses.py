"""JSON responses: their form, and the 304 for a state that the client has already."""

from __future__ import annotations

import httpx


async def test_pretty_print_can_be_turned_off(client: httpx.AsyncClient) -> None:
    """JSON is indented unless the request has `prettyPrint=false`."""
    pretty = await client.get("/v1/done/1?fields=name")
    plain = await client.get("/v1/done/1?fields=name&prettyPrint=false")
    assert (pretty.text, plain.text) == ('{\n  "name": "done/1"\n}\n', '{"name":"done/1"}')


async def test_an_unchanged_operation_is_not_sent_again(client: httpx.AsyncClient) -> None:
    """304 for the ETag, its weak form, a list that has it, and `*`; 200 for any other ETag."""
    first = await client.get("/v1/jobs/1")
    tag = first.headers["etag"]
    statuses = [
        (await client.get("/v1/jobs/1", headers={"If-None-Match": known})).status_code
        for known in (tag, f"W/{tag}", f'"x", {tag}', "*", '"x"', tag.strip('"'))
    ]
    assert statuses == [304, 304, 304, 304, 200, 200]
    same = await client.get("/v1/jobs/1", headers={"If-None-Match": tag})
    assert (same.content, same.headers["etag"]) == (b"", tag)
    assert (await client.get("/v1/jobs/2")).headers["etag"] != tag


async def test_a_backends_error_body_has_googles_form(client: httpx.AsyncClient) -> None:
    """It has exactly `code`, `message` and `status`, and `details` if there are any."""
    response = await client.get("/v1/none/1")
    assert (response.status_code, response.json()) == (
        404,
        {"error": {"code": 404, "message": "no such job", "status": "NOT_FOUND"}},
    )
