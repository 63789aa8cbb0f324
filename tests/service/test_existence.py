"""What a stranger gets before the question whether an operation exists, which tells nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from google.longrunning import operations_pb2

from lro_gateway.config.models import GatewayConfig
from lro_gateway.config.store import StoreConfig
from lro_gateway.records.location import Location
from tests import factory
from tests.access.owned import ALICE, Owned, Tokens, configured, owned, stub
from tests.contrary import ContraryBackend, answering

pytestmark = pytest.mark.anyio

MISSING = "lines/1/operations/99999"
STRANGER = "eve"


@pytest.fixture
async def backend() -> AsyncIterator[ContraryBackend]:
    """Serve a backend whose operations run until they are cancelled."""
    async with stub().open(factory.SERVICE) as running:
        yield running


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    """Make the tokens of all callers."""
    return Tokens(tmp_path)


def config(
    backend: ContraryBackend,
    tokens: Tokens,
    *,
    tables: Mapping[str, Any] = MappingProxyType({}),
    **settings: Any,
) -> GatewayConfig:
    """Return the configuration of a gateway whose operations only their starters see."""
    location = Location(tokens.file.with_name("store.sqlite3"))
    return configured(backend.target, tokens.file, location, "owner", tables, **settings)


async def answers(here: Owned, method: str, path: str, *names: str) -> list[tuple[int, str]]:
    """Send a request about each name as a stranger, and return statuses and bodies."""
    found = []
    for name in names:
        answer = await here[STRANGER].http.request(method, path.format(name=name))
        found.append((answer.status_code, answer.text.replace(name, "NAME")))
    return found


async def test_a_question_for_agreement_comes_first(
    backend: ContraryBackend, tokens: Tokens
) -> None:
    """It is the same for what does not exist."""
    async with owned(config(backend, tokens, confirm=["*/CancelOperation"]), tokens) as here:
        name = await here[ALICE].start()
        hidden, missing = await answers(here, "POST", "/v1/{name}:cancel", name, MISSING)
    assert "CONFIRMATION_REQUIRED" in hidden[1]
    assert hidden == missing


@pytest.mark.parametrize(
    ("limits", "method", "path", "reason"),
    [
        ({"rates": {"cancel": "1/1h"}}, "POST", "/v1/{name}:cancel", "RATE_EXCEEDED"),
        ({"rates": {"get": "1/1h"}}, "GET", "/v1/{name}", "RATE_EXCEEDED"),
        ({"max_watches_per_principal": 1}, "GET", "/v1/{name}:watch", "TOO_MANY_WATCHES"),
    ],
)
async def test_a_bound_is_reached_by_what_is_hidden_too(
    limits: dict[str, Any],
    method: str,
    path: str,
    reason: str,
    backend: ContraryBackend,
    tokens: Tokens,
) -> None:
    """A caller that tries names learns nothing from which of them count."""
    async with owned(config(backend, tokens, tables={"limits": limits}), tokens) as here:
        names = [await here[ALICE].start() for _ in range(2)]
        own = await here[STRANGER].start()
        async with here[STRANGER].http.stream("GET", f"/v1/{own}:watch") as watching:
            events = watching.aiter_text()
            await anext(events)
            found = await answers(here, method, path, *names, MISSING)
    assert reason in found[1][1]
    assert found[1][0] == found[2][0]
    assert json.loads(found[1][1])["error"]["code"] == json.loads(found[2][1])["error"]["code"]


async def test_the_rules_come_first(backend: ContraryBackend, tokens: Tokens) -> None:
    """What the rules refuse by its name is refused whether it exists or not."""
    rules = [{"allow": ["get", "start"]}, {"allow": ["*"], "subjects": [ALICE]}]
    async with owned(config(backend, tokens, tables={"policy": rules}), tokens) as here:
        name = await here[ALICE].start()
        hidden, missing = await answers(here, "POST", "/v1/{name}:cancel", name, MISSING)
        read = await answers(here, "GET", "/v1/{name}", name, MISSING)
        assert (await here[ALICE].http.post(f"/v1/{name}:cancel")).status_code == 200
    assert "POLICY_DENIED" in hidden[1]
    assert hidden == missing
    assert read[0] == read[1]
    assert read[0][0] == 404


async def test_what_a_backend_forgets_is_missing_for_its_owner(
    backend: ContraryBackend, tokens: Tokens
) -> None:
    """The owner gets the error of the backend."""
    async with owned(config(backend, tokens), tokens) as here:
        name = await here[ALICE].start()
        await here["amy"].http.delete(f"/v1/{name}")
        assert (await here[ALICE].http.get(f"/v1/{name}")).status_code == 200
        await here[ALICE].http.delete(f"/v1/{name}")
        for who in (ALICE, STRANGER):
            assert (await here[who].http.get(f"/v1/{name}")).status_code == 404


async def test_a_refusal_is_in_the_audit(backend: ContraryBackend, tokens: Tokens) -> None:
    """With what decided, which the caller does not learn."""
    file = tokens.file.with_name("audit.jsonl")
    tables = {"audit": {"to": f"file:{file}"}}
    async with owned(config(backend, tokens, tables=tables), tokens) as here:
        name = await here[ALICE].start()
        await answers(here, "GET", "/v1/{name}", name)
    text = await asyncio.to_thread(file.read_text)
    entry = json.loads(text.splitlines()[-1])
    assert (entry["event"], entry["subject"], entry["rule"]) == ("refusal", STRANGER, "visibility")
    assert (entry["name"], entry["outcome"]) == (name, "NO_SUCH_OPERATION")


async def test_a_gateway_without_a_store_shows_only_the_other_backends(
    backend: ContraryBackend, tokens: Tokens
) -> None:
    """A list of both has the operations of the other one, if a part is enough."""
    handlers = {
        "GetOperation": answering(operations_pb2.Operation(name="jobs/1")),
        "ListOperations": answering(
            operations_pb2.ListOperationsResponse(
                operations=[operations_pb2.Operation(name="jobs/1")]
            )
        ),
    }
    async with ContraryBackend.open(handlers) as other:
        made = config(backend, tokens)
        (east,) = made.backends
        update = {"name": "west", "target": other.target, "visibility": "all"}
        both = (east, east.model_copy(update=update))
        without = made.model_copy(update={"store": StoreConfig(), "backends": both})
        async with owned(without, tokens) as here:
            http = here[STRANGER].http
            await here[ALICE].start()
            restricted = await http.get("/v1///east/jobs/1")
            assert restricted.status_code == 503
            assert "STORE_UNAVAILABLE" in restricted.text
            assert (await http.get("/v1///west/jobs/1")).status_code == 200
            query = {"returnPartialSuccess": "true"}
            page = (await http.get("/v1/operations", params=query)).json()
    assert [each["name"] for each in page["operations"]] == ["//west/jobs/1"]
    assert page["unreachable"] == ["//east"]
