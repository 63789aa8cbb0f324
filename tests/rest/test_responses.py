"""JSON answers: how they look, and when they are not sent again."""

from __future__ import annotations

import httpx


async def test_pretty_print_can_be_turned_off(client: httpx.AsyncClient) -> None:
    """It is on for people, and off for programs that say so."""
    pretty = await client.get("/v1/done/1?fields=name")
    plain = await client.get("/v1/done/1?fields=name&prettyPrint=false")
    assert (pretty.text, plain.text) == ('{\n  "name": "done/1"\n}\n', '{"name":"done/1"}')


async def test_an_unchanged_operation_is_not_sent_again(client: httpx.AsyncClient) -> None:
    """304 for the tag, a weak form of it, one of several, and `*`; else the operation."""
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
    """Exactly `code`, `message`, `status`, and `details` where there are any."""
    response = await client.get("/v1/none/1")
    assert (response.status_code, response.json()) == (
        404,
        {"error": {"code": 404, "message": "no such job", "status": "NOT_FOUND"}},
    )
