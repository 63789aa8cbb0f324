"""Chapter 5: errors.

There are two kinds, and they are told apart everywhere. A failed *operation* is data: the call went
well, and brought the news that the work went wrong. A failed *call* brought nothing.

A failed call is a google.rpc.Status, with details. The `domain` of its ErrorInfo says whose word it
is: the service's, or that of the gateway, which is `lro-gateway`.
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
    """Return whose word an error is."""
    return str(next(d["domain"] for d in error.details if d["@type"].endswith("ErrorInfo")))


async def test_a_failed_operation_is_data(owner: Owner, rest: Face, tmp_path: Path) -> None:
    """Getting it succeeds; it is done, and its error has a code, a message and details."""
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


async def test_a_call_that_the_service_refuses_is_passed_on(rest: Face) -> None:
    """NOT_FOUND is the service's word, for it alone knows."""
    with pytest.raises(RefusedError) as caught:
        await rest.get("databases/orders/operations/none")

    assert caught.value.status == "NOT_FOUND"
    assert caught.value.reason == "OPERATION_NOT_FOUND"
    assert domain(caught.value) == "demo.lro-gateway.dev"


async def test_a_call_that_the_gateway_refuses_names_the_field(rest: Face) -> None:
    """A name that cannot be one is refused by the gateway, and no service is asked."""
    with pytest.raises(RefusedError) as caught:
        await rest.wait("databases/orders/operations/none", timeout="soon")

    assert caught.value.status == "INVALID_ARGUMENT"
    assert caught.value.fields == ["timeout"]
    assert domain(caught.value) == "lro-gateway"


async def test_an_agent_is_told_what_to_do_next(agent: Client) -> None:
    """A failed call is a tool error, with the next step in words."""
    name = "databases/orders/operations/none"

    result = await agent.call_tool("get_operation", {"name": name})

    assert result.is_error
    words = result.content[1]
    assert isinstance(words, types.TextContent)
    assert words.text == (
        "The call to backend demo failed with NOT_FOUND. The operation may have expired or been"
        " deleted, or the name may be wrong. Call list_operations to see which operations exist."
        " Do not guess names."
    )
