"""Calls that need a person's agreement: the client asks a person, or the call is refused."""

from __future__ import annotations

import asyncio
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
_GRACE = "30s"
"""A busy machine needs more than the default of a second for an operation of the demo."""
CONFIRM = [f"{ADMIN}/Create*", "*/DeleteOperation"]
ARGUMENTS = {"databaseId": "orders", "rowCount": 20}
QUESTION = (
    f"Call {ADMIN}/CreateDatabase on backend demo? It starts a long-running operation with"
    ' {"databaseId": "orders", "rowCount": 20}.'
)


@dataclass
class Person:
    """A person who answers the questions of a client; `questions` lists them in order."""

    action: Any = "accept"
    agreed: bool = True
    questions: list[str] = field(default_factory=list)

    async def __call__(self, context: Any, params: types.ElicitRequestParams) -> Any:
        assert context is not None
        self.questions.append(params.message)
        content: Any = {"agreed": self.agreed} if self.action == "accept" else None
        return types.ElicitResult(action=self.action, content=content)


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """Serve the demo; yields its entry in a gateway's configuration."""
    async with DemoServer.open(tmp_path) as demo:
        yield {"name": "demo", "target": demo.target, "confirm": CONFIRM}


Opened = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(params=["2026-07-28", "an older session"])
def opened(request: pytest.FixtureRequest, backend: dict[str, Any]) -> Opened:
    """Return a function that opens a client of one protocol version.

    The function takes the person who answers the client's questions, or None.
    """

    @asynccontextmanager
    async def session(person: Person | None) -> AsyncIterator[Client]:
        settings = {"server": {"sync_grace": _GRACE}, "backends": [backend]}
        config = GatewayConfig.model_validate(settings)
        async with Gateway.open(config) as gateway:
            server = create_mcp_server(gateway).server
            async with Client(server, mode="legacy", elicitation_callback=person) as client:
                yield client

    @asynccontextmanager
    async def http(person: Person | None) -> AsyncIterator[Client]:
        async with (
            serving(backend, sync_grace=_GRACE) as url,
            Client(f"{url}/mcp", mode="2026-07-28", elicitation_callback=person) as client,
        ):
            yield client

    return http if request.param == "2026-07-28" else session


def json_of(result: types.CallToolResult) -> Any:
    """Return the JSON of the first text block."""
    (first, _) = (b.text for b in result.content if isinstance(b, types.TextContent))
    return json.loads(first)


async def operation_names(client: Client) -> list[str]:
    """Return the names of all operations, to show which calls were made."""
    page = await client.call_tool("list_operations", {})
    assert page.structured_content is not None
    return [each["name"] for each in page.structured_content["operations"]]


async def test_a_call_is_made_after_the_person_has_agreed(opened: Opened) -> None:
    """The question names the backend and the method, and says what the call does."""
    person = Person()
    async with opened(person) as client:
        result = await client.call_tool("create_database", ARGUMENTS)
    assert person.questions == [QUESTION]
    assert json_of(result)["response"]["name"] == "databases/orders"


@pytest.mark.parametrize(
    "person",
    [Person("decline"), Person("cancel"), Person(agreed=False)],
    ids=["declined", "dismissed", "box not ticked"],
)
async def test_a_call_is_not_made_without_the_persons_agreement(
    opened: Opened, person: Person
) -> None:
    """The model gets PERMISSION_DENIED and the reason CONFIRMATION_DECLINED."""
    async with opened(person) as client:
        result = await client.call_tool("create_database", ARGUMENTS)
        assert await operation_names(client) == []
    assert result.is_error
    assert json_of(result)["status"] == "PERMISSION_DENIED"
    assert json_of(result)["details"][0]["reason"] == "CONFIRMATION_DECLINED"
    assert json_of(result)["message"] == "Not called: the person did not agree"
    assert getattr(result.content[1], "text", "").startswith("Not called: ")


async def test_the_audit_has_a_refusal_of_the_person(
    backend: dict[str, Any], tmp_path: Path
) -> None:
    """After the entry that a person must agree."""
    file = tmp_path / "audit.jsonl"
    audit = {"to": f"file:{file}"}
    config = GatewayConfig.model_validate({"backends": [backend], "audit": audit})
    async with Gateway.open(config) as gateway:
        server = create_mcp_server(gateway).server
        person = Person("decline")
        async with Client(server, mode="legacy", elicitation_callback=person) as client:
            await client.call_tool("create_database", ARGUMENTS)
    lines = (await asyncio.to_thread(file.read_text)).splitlines()
    entries = [json.loads(line) for line in lines]
    assert [(each["event"], each["outcome"]) for each in entries] == [
        ("confirmation", "CONFIRMATION_REQUIRED"),
        ("confirmation", "CONFIRMATION_DECLINED"),
    ]


async def test_a_client_that_cannot_ask_is_refused_and_gets_the_next_step(
    opened: Opened,
) -> None:
    """The call is not made, and the next step names the two ways to allow it."""
    async with opened(None) as client:
        result = await client.call_tool("create_database", ARGUMENTS)
        assert await operation_names(client) == []
    assert json_of(result)["status"] == "FAILED_PRECONDITION"
    assert json_of(result)["details"][0] == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "CONFIRMATION_REQUIRED",
        "domain": "lro-gateway",
        "metadata": {"backend": "demo", "method": f"{ADMIN}/CreateDatabase"},
    }
    step = getattr(result.content[1], "text", "")
    assert json_of(result)["message"].startswith("Not called: ")
    assert step.startswith("Not called: ")
    assert "elicitation" in step
    assert "`confirm`" in step
    # A model that knows the header could use it to avoid the question.
    assert "lro-gateway-confirmed" not in str(result)


async def test_a_wrong_argument_is_refused_before_the_person_is_asked(opened: Opened) -> None:
    """A call that cannot succeed needs no question."""
    person = Person()
    async with opened(person) as client:
        result = await client.call_tool("create_database", {"rowCount": "many"})
    assert (json_of(result)["status"], person.questions) == ("INVALID_ARGUMENT", [])


async def test_an_rpc_that_confirm_does_not_name_needs_no_question(opened: Opened) -> None:
    """`confirm` names deleting here, but not reading, waiting or cancelling."""
    person = Person()
    async with opened(person) as client:
        created = json_of(await client.call_tool("create_database", ARGUMENTS))
        name = {"name": created["name"]}
        person.questions.clear()
        for tool in ("get_operation", "wait_operation", "cancel_operation"):
            assert (await client.call_tool(tool, name)).structured_content is not None
        assert person.questions == []
        assert json_of(await client.call_tool("delete_operation", name)) == {}
        assert person.questions == [
            (
                f"Call {OPERATIONS}/DeleteOperation on backend demo?"
                f" It deletes the record of operation {created['name']}."
            )
        ]


async def test_a_question_escapes_characters_that_do_not_print(opened: Opened) -> None:
    """Without this, a change of text direction or a line break could hide what the call does."""
    person = Person("decline")
    async with opened(person) as client:
        await client.call_tool("create_database", {"databaseId": "a\u202eb\nc" + "x" * 400})
    (question,) = person.questions
    assert 'with {"databaseId": "a\\u202eb\\ncxxx' in question
    assert question.endswith("x....")
    assert question.isprintable()


async def test_an_agreement_is_valid_for_one_tool_with_its_arguments(
    backend: dict[str, Any],
) -> None:
    """The client returns a sealed state, which holds the tool and the arguments."""
    capabilities: dict[str, Any] = {"elicitation": {"form": {}}}
    async with (
        serving(backend, sync_grace=_GRACE) as url,
        wire(f"{url}/mcp", capabilities=capabilities) as client,
    ):
        question = await client("tools/call", name="create_database", arguments=ARGUMENTS)
        assert question["resultType"] == "input_required"
        assert question["inputRequests"]["agreed"]["params"]["message"] == QUESTION
        answer = {
            "requestState": question["requestState"],
            "inputResponses": {"agreed": {"action": "accept", "content": {"agreed": True}}},
        }
        other = {**ARGUMENTS, "databaseId": "payroll"}
        with pytest.raises(Exception, match="Invalid or expired requestState"):
            await client("tools/call", name="create_database", arguments=other, **answer)
        without_state = {"inputResponses": answer["inputResponses"]}
        again = await client(
            "tools/call", name="create_database", arguments=ARGUMENTS, **without_state
        )
        assert again["resultType"] == "input_required"
        done = await client("tools/call", name="create_database", arguments=ARGUMENTS, **answer)
        assert done["structuredContent"]["done"] is True


async def test_older_clients_over_http_are_refused(backend: dict[str, Any]) -> None:
    """They have no session over HTTP, so the gateway cannot ask a question."""
    person = Person()
    async with (
        serving(backend) as url,
        Client(f"{url}/mcp", mode="legacy", elicitation_callback=person) as client,
    ):
        result = await client.call_tool("create_database", ARGUMENTS)
    assert json_of(result)["details"][0]["reason"] == "CONFIRMATION_REQUIRED"
    assert person.questions == []


async def test_over_rest_a_header_states_that_a_person_has_agreed(backend: dict[str, Any]) -> None:
    """The error over REST names the header, because a REST client can ask its user."""
    async with (
        serving(backend, sync_grace=_GRACE) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
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


async def test_a_task_begins_after_the_person_has_agreed(
    backend: dict[str, Any],
) -> None:
    """The first call returns the question, and the second call returns the task."""
    capabilities: dict[str, Any] = {
        "elicitation": {"form": {}},
        "extensions": {"io.modelcontextprotocol/tasks": {}},
    }
    async with (
        serving(backend, sync_grace="0s") as url,
        wire(f"{url}/mcp", capabilities=capabilities) as client,
    ):
        large = {"databaseId": "orders", "rowCount": 20_000}
        question = await client("tools/call", name="create_database", arguments=large)
        task = await client(
            "tools/call",
            name="create_database",
            arguments=large,
            requestState=question["requestState"],
            inputResponses={"agreed": {"action": "accept", "content": {"agreed": True}}},
        )
        assert task["resultType"] == "task"
