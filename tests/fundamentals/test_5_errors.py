"""Chapter 5: errors.

There are two kinds of errors. A failed *operation* is data: the call succeeded, and its answer says
that the work failed. A failed *call* has no answer but an error.

The error of a failed call is a google.rpc.Status with details. The `domain` of its ErrorInfo shows
where the error comes from. The gateway's own errors have the domain `lro-gateway`.
"""

from __future__ import annotations

from pathlib import Path

import mcp_types as types
import pytest
from mcp import Client

from lro_gateway.demo.databases import damage
from tests.demo.client import Client as Owner
from tests.gateways import Face, RefusedError


def domain(error: RefusedError) -> str:
    """Return the domain of an error, which shows where it comes from."""
    return str(next(d["domain"] for d in error.details if d["@type"].endswith("ErrorInfo")))


async def test_a_failed_operation_is_data(owner: Owner, rest: Face, tmp_path: Path) -> None:
    """`get` succeeds. The operation is done, and its error has a code, a message and details."""
    await owner.create("orders", rows=2000)
    damage(tmp_path / "orders.sqlite3")
    checked = await owner.check("orders")

    operation = await rest.get(checked.name)

    assert operation["done"] is True
    assert operation["error"]["code"] == 15  # DATA_LOSS
    assert [detail["@type"].rpartition(".")[2] for detail in operation["error"]["details"]] == [
        "ErrorInfo",
        "DamageReport",
    ]


async def test_an_error_of_the_service_is_passed_on(rest: Face) -> None:
    """NOT_FOUND comes from the service, because only the service knows its operations."""
    with pytest.raises(RefusedError) as caught:
        await rest.get("databases/orders/operations/none")

    assert caught.value.status == "NOT_FOUND"
    assert caught.value.reason == "OPERATION_NOT_FOUND"
    assert domain(caught.value) == "demo.lro-gateway.dev"


async def test_a_call_that_the_gateway_refuses_names_the_field(rest: Face) -> None:
    """The gateway refuses a timeout that is not a duration, and does not call the service."""
    with pytest.raises(RefusedError) as caught:
        await rest.wait("databases/orders/operations/none", timeout="soon")

    assert caught.value.status == "INVALID_ARGUMENT"
    assert caught.value.fields == ["timeout"]
    assert domain(caught.value) == "lro-gateway"


async def test_an_agent_gets_the_next_step_of_a_failed_call(agent: Client) -> None:
    """A failed call is a tool error, and its second text says what to do next."""
    name = "databases/orders/operations/none"

    result = await agent.call_tool("get_operation", {"name": name})

    assert result.is_error
    next_step = result.content[1]
    assert isinstance(next_step, types.TextContent)
    assert next_step.text == (
        "The call to backend demo failed with NOT_FOUND. The operation may have expired or been"
        " deleted, or the name may be wrong. Call list_operations to see which operations exist."
        " Do not guess names."
    )
