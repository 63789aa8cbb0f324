"""Chapter 1: get an operation.

Some work takes longer than a call should. An RPC that starts such work answers at once with an
*operation*, which has a name (AIP-151). With the name, a caller can read the state of the work
later.

The gateway reads the operation from the service for the caller. It returns the operation as JSON,
over REST and over MCP.
"""

from __future__ import annotations

from unittest.mock import ANY

import mcp_types as types
from mcp import Client

from lro_gateway.demo.pace import Gate
from tests.demo.client import Client as Owner
from tests.gateways import Face

METADATA = "type.googleapis.com/lro_gateway.demo.v1.CreateDatabaseMetadata"
DATABASE = "type.googleapis.com/lro_gateway.demo.v1.Database"


async def test_an_operation_that_runs_has_metadata(owner: Owner, gate: Gate, rest: Face) -> None:
    """`done` is false, and the metadata shows the progress in fields that the service defines."""
    async with gate:
        started = await owner.begin("orders", rows=100)
        await gate.arrival()
        gate.admit(9)
        await gate.arrival()

        operation = await rest.get(started.name)

    assert operation == {
        "name": started.name,
        "metadata": {
            "@type": METADATA,
            "createTime": ANY,
            "progressPercent": 42,
            "phase": "INSERTING_ORDERS",
            "rowsInserted": "45",
            "totalRows": "100",
        },
        "done": False,
    }


async def test_an_operation_that_is_done_has_a_response(owner: Owner, rest: Face) -> None:
    """`done` is true, and the response is the result of the work, here a database."""
    created = await owner.create("orders", rows=100)

    operation = await rest.get(created.name)

    assert operation["done"] is True
    assert operation["response"] == {
        "@type": DATABASE,
        "name": "databases/orders",
        "state": "READY",
        "rowCount": "100",
        "sizeBytes": ANY,
        "updateTime": ANY,
    }


async def test_an_agent_gets_the_same_json_and_a_sentence_about_the_state(
    owner: Owner, rest: Face, agent: Client
) -> None:
    """Over MCP the JSON is the same, and a second text describes the state for a model."""
    created = await owner.create("orders")

    result = await agent.call_tool("get_operation", {"name": created.name})

    assert result.structured_content == await rest.get(created.name)
    assert result.content[1] == types.TextContent(
        type="text", text="Done: it succeeded, and response holds the result."
    )
