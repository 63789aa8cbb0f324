"""The schemas of the gateway's own requests and answers."""

from __future__ import annotations

from lro_gateway.rest.openapi.own_schemas import own_schemas


def test_no_field_of_an_answer_is_required() -> None:
    """The query `fields` may leave out any of them, and `summary=true` adds one."""
    schemas = own_schemas()
    for name in ("Operation", "ListOperationsResponse"):
        assert "required" not in schemas[f"google.longrunning.{name}"]
    summary = schemas["google.longrunning.Operation"]["properties"]["summary"]
    assert summary["properties"]["state"]["enum"] == ["running", "succeeded", "failed", "cancelled"]


def test_the_body_of_a_wait_has_a_timeout_that_is_not_negative() -> None:
    """The name of the operation is in the path."""
    wait = own_schemas()["google.longrunning.WaitOperationRequest"]
    assert list(wait["properties"]) == ["timeout"]
    assert wait["properties"]["timeout"]["pattern"].startswith("^[0-9]")
