"""Calls that a person must agree to: who can be asked is asked, and else the call is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import mcp_types as types
import pytest
from mcp import Client

from lro_gateway.config.models import GatewayConfig
from lro_gateway.demo.server import DemoServer
from lro_gateway.gateway import Gateway
from lro_gateway.serving.app import create_mcp_server
from tests.gateways import serving
from tests.mcp.wire import wire

ADMIN = "lro_gateway.demo.v1.DatabaseAdmin"
OPERATIONS = "google.longrunning.Operations"
CONFIRM = [f"{ADMIN}/Create*", "*/DeleteOperation"]
ARGUMENTS = {"databaseId": "orders", "rowCount": 20}
QUESTION = (
    f"Call {ADMIN}/CreateDatabase on backend demo? It starts a long-running operation with"
    ' {"databaseId": "orders", "rowCount": 20}.'
)


@dataclass
class Person:
    """Answers what a client asks, and remembers it."""

    action: Any = "accept"
    agreed: bool = True
    asked: list[str] = field(default_factory=list)

    async def __call__(self, context: Any, params: types.ElicitRequestParams) -> Any:
        assert context is not None
        self.asked.append(params.message)
        content: Any = {"agreed": self.agreed} if self.action == "accept" else None
        return types.ElicitResult(action=self.action, content=content)


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """Serve the demo; return it as a gateway's configuration names it."""
    async with DemoServer.open(tmp_path) as demo:
        yield {"name": "demo", "target": demo.target, "confirm": CONFIRM}


Opened = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(params=["2026-07-28", "a session of before"])
def opened(request: pytest.FixtureRequest, backend: dict[str, Any]) -> Opened:
    """Return how a client of one era is opened, with somebody who answers or with nobody."""

    @asynccontextmanager
    async def session(person: Person | None) -> AsyncIterator[Client]:
        config = GatewayConfig.model_validate({"backends": [backend]})
        async with Gateway.open(config) as gateway:
            server = create_mcp_server(gateway).server
            async with Client(server, mode="legacy", elicitation_callback=person) as client:
                yield client

    @asynccontextmanager
    async def http(person: Person | None) -> AsyncIterator[Client]:
        async with (
            serving(backend) as url,
            Client(f"{url}/mcp", mode="2026-07-28", elicitation_callback=person) as client,
        ):
            yield client

    return http if request.param == "2026-07-28" else session


def told(result: types.CallToolResult) -> Any:
    """Return the first text block's JSON."""
    (first, _) = (b.text for b in result.content if isinstance(b, types.TextContent))
    return json.loads(first)


async def databases(client: Client) -> list[str]:
    """Return the names of the operations that there are, to see what was started."""
    page = await client.call_tool("list_operations", {})
    assert page.structured_content is not None
    return [each["name"] for each in page.structured_content["operations"]]


async def test_the_person_is_asked_and_what_was_agreed_to_is_done(opened: Opened) -> None:
    """The question names the backend, the method, and what it will do."""
    person = Person()
    async with opened(person) as client:
        result = await client.call_tool("create_database", ARGUMENTS)
    assert person.asked == [QUESTION]
    assert told(result)["response"]["name"] == "databases/orders"


@pytest.mark.parametrize(
    "person",
    [Person("decline"), Person("cancel"), Person(agreed=False)],
    ids=["declined", "dismissed", "sent without the tick"],
)
async def test_nothing_is_done_that_the_person_did_not_agree_to(
    opened: Opened, person: Person
) -> None:
    """The model is told so, and not to try again."""
    async with opened(person) as client:
        result = await client.call_tool("create_database", ARGUMENTS)
        assert await databases(client) == []
    assert result.is_error
    assert told(result)["status"] == "PERMISSION_DENIED"
    assert told(result)["details"][0]["reason"] == "CONFIRMATION_DECLINED"


async def test_a_client_that_cannot_ask_is_refused_and_told_how_it_can_be_allowed(
    opened: Opened,
) -> None:
    """Nothing is done."""
    async with opened(None) as client:
        result = await client.call_tool("create_database", ARGUMENTS)
        assert await databases(client) == []
    assert told(result)["status"] == "FAILED_PRECONDITION"
    assert told(result)["details"][0] == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "CONFIRMATION_REQUIRED",
        "domain": "lro-gateway",
        "metadata": {"backend": "demo", "method": f"{ADMIN}/CreateDatabase"},
    }
    step = getattr(result.content[1], "text", "")
    assert "elicitation" in step
    assert "`confirm`" in step
    # A model that reads of the header could take it for the way around.
    assert "lro-gateway-confirmed" not in str(result)


async def test_a_wrong_argument_is_told_before_anybody_is_asked(opened: Opened) -> None:
    """Nobody agrees to what cannot be done anyway."""
    person = Person()
    async with opened(person) as client:
        result = await client.call_tool("create_database", {"rowCount": "many"})
    assert (told(result)["status"], person.asked) == ("INVALID_ARGUMENT", [])


async def test_what_is_not_marked_is_done_without_asking(opened: Opened) -> None:
    """Reading, waiting, cancelling; deleting is marked here."""
    person = Person()
    async with opened(person) as client:
        created = told(await client.call_tool("create_database", ARGUMENTS))
        name = {"name": created["name"]}
        person.asked.clear()
        for tool in ("get_operation", "wait_operation", "cancel_operation"):
            assert (await client.call_tool(tool, name)).structured_content is not None
        assert person.asked == []
        assert told(await client.call_tool("delete_operation", name)) == {}
        assert person.asked == [
            (
                f"Call {OPERATIONS}/DeleteOperation on backend demo?"
                f" It deletes the record of operation {created['name']}."
            )
        ]


async def test_a_question_shows_what_does_not_print(opened: Opened) -> None:
    """Text that runs backwards, or ends a line, must not show something else than is done."""
    person = Person("decline")
    async with opened(person) as client:
        await client.call_tool("create_database", {"databaseId": "a\u202eb\nc" + "x" * 400})
    (question,) = person.asked
    assert 'with {"databaseId": "a\\u202eb\\ncxxx' in question
    assert question.endswith("x....")
    assert question.isprintable()


async def test_agreement_is_to_one_call_only(backend: dict[str, Any]) -> None:
    """The state that comes back is sealed with the tool and its arguments."""
    capabilities: dict[str, Any] = {"elicitation": {"form": {}}}
    async with serving(backend) as url, wire(f"{url}/mcp", capabilities=capabilities) as client:
        asked = await client("tools/call", name="create_database", arguments=ARGUMENTS)
        assert asked["resultType"] == "input_required"
        assert asked["inputRequests"]["agreed"]["params"]["message"] == QUESTION
        answer = {
            "requestState": asked["requestState"],
            "inputResponses": {"agreed": {"action": "accept", "content": {"agreed": True}}},
        }
        other = {**ARGUMENTS, "databaseId": "payroll"}
        with pytest.raises(Exception, match="Invalid or expired requestState"):
            await client("tools/call", name="create_database", arguments=other, **answer)
        unasked = {"inputResponses": answer["inputResponses"]}
        again = await client("tools/call", name="create_database", arguments=ARGUMENTS, **unasked)
        assert again["resultType"] == "input_required"
        done = await client("tools/call", name="create_database", arguments=ARGUMENTS, **answer)
        assert done["structuredContent"]["done"] is True


async def test_older_clients_over_http_are_refused(backend: dict[str, Any]) -> None:
    """There is no session that could carry a question."""
    person = Person()
    async with (
        serving(backend) as url,
        Client(f"{url}/mcp", mode="legacy", elicitation_callback=person) as client,
    ):
        result = await client.call_tool("create_database", ARGUMENTS)
    assert told(result)["details"][0]["reason"] == "CONFIRMATION_REQUIRED"
    assert person.asked == []


async def test_over_rest_a_header_says_that_a_person_has_agreed(backend: dict[str, Any]) -> None:
    """Who has curl at hand is a person, or has asked one; the refusal tells the header."""
    async with serving(backend) as url, httpx.AsyncClient(base_url=url) as client:
        refused = await client.post("/v1/databases", json=ARGUMENTS)
        assert (refused.status_code, refused.json()["error"]["status"]) == (
            400,
            "FAILED_PRECONDITION",
        )
        header = {"lro-gateway-confirmed": "true"}
        assert header.keys() <= {word.strip(":") for word in refused.text.split()}
        created = (await client.post("/v1/databases", json=ARGUMENTS, headers=header)).json()
        assert created["done"]
        path = f"/v1/{created['name']}"
        assert (await client.delete(path)).status_code == 400
        assert (await client.delete(path, headers=header)).json() == {}


async def test_a_running_task_of_a_marked_method_is_agreed_to_first(
    backend: dict[str, Any],
) -> None:
    """The task comes with the answer, not with the question."""
    capabilities: dict[str, Any] = {
        "elicitation": {"form": {}},
        "extensions": {"io.modelcontextprotocol/tasks": {}},
    }
    async with (
        serving(backend, sync_grace="0s") as url,
        wire(f"{url}/mcp", capabilities=capabilities) as client,
    ):
        large = {"databaseId": "orders", "rowCount": 20_000}
        asked = await client("tools/call", name="create_database", arguments=large)
        task = await client(
            "tools/call",
            name="create_database",
            arguments=large,
            requestState=asked["requestState"],
            inputResponses={"agreed": {"action": "accept", "content": {"agreed": True}}},
        )
        assert task["resultType"] == "task"
