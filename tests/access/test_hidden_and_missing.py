"""Hidden operations and missing ones have the same answers, whatever their backend does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.longrunning import operations_pb2

from lro_gateway.access.policy import Verb
from lro_gateway.records.location import Location
from tests import factory
from tests.access.owned import ALICE, Caller, Tokens, configured, owned
from tests.access.test_ownership_crossing import CROSSINGS, MISSING, Crossing, asked, unnamed
from tests.contrary import Answer, ContraryBackend, Handler, refusing
from tests.stub import Stub

pytestmark = pytest.mark.anyio

EVE: Final = "eve"
_LIMIT: Final = 64 * 1024
_ROWS: Final = {
    label: cross
    for verb in (Verb.GET, Verb.WAIT, Verb.CANCEL, Verb.DELETE)
    for label, cross in CROSSINGS[verb].items()
}


@dataclass
class Faulty(Stub):
    """A backend that fails for every name, or whose answers about operations are always these."""

    fault: Handler | None = None
    answer: bytes = b""

    async def _known(self, request: Any, context: Any) -> Any:
        if self.fault is not None:
            await self.fault(request, context)
        return await super()._known(request, context)

    async def _get(self, request: Any, context: Any) -> Answer:
        operation = await super()._get(request, context)
        return self.answer or operation


@dataclass
class Setting:
    """A caller that sees nothing of what Alice has started, and the backend of both."""

    alice: Caller
    eve: Caller
    hidden: str
    faulty: Faulty
    backend: ContraryBackend
    running: AsyncExitStack


@asynccontextmanager
async def setting(directory: Path, **settings: Any) -> AsyncIterator[Setting]:
    """Serve a gateway whose callers see their own operations, of which Alice has started one."""
    tokens, location = Tokens(directory), Location(directory / "store.sqlite3")
    faulty = Faulty(factory.pool(), reads=10**9)
    async with AsyncExitStack() as running:
        backend = await running.enter_async_context(faulty.open(factory.SERVICE))
        config = configured(backend.target, tokens.file, location, "owner", **settings)
        async with owned(config, tokens) as here:
            alice = here[ALICE]
            yield Setting(alice, here[EVE], await alice.start(), faulty, backend, running)


async def differing(here: Setting) -> dict[str, tuple[str, str]]:
    """Return the rows whose answers tell the hidden operation from a missing one."""

    async def both(cross: Crossing) -> tuple[str, str]:
        hidden, missing = await asyncio.gather(
            *(unnamed(cross, here.eve, name) for name in (here.hidden, MISSING))
        )
        return hidden, missing

    answers = await asyncio.gather(*(both(cross) for cross in _ROWS.values()))
    pairs = zip(_ROWS, answers, strict=True)
    return {label: (hidden, missing) for label, (hidden, missing) in pairs if hidden != missing}


async def denied(request: Any, context: Any) -> Answer:
    """Refuse a call in words that have the name."""
    text = f"you may not see {request.name}"
    return await refusing(grpc.StatusCode.PERMISSION_DENIED, text)(request, context)


async def hanging(_request: Any, _context: Any) -> Answer:
    """Answer never."""
    await asyncio.Event().wait()
    return b""


async def test_while_the_backend_answers(tmp_path: Path) -> None:
    """Each row asks the backend for both, and only by the verb that changes nothing."""
    async with setting(tmp_path) as here:
        assert await differing(here) == {}
        hidden, missing = (asked(here.backend, 0, name) for name in (here.hidden, MISSING))
    assert hidden
    assert {*hidden, *missing} == {"GetOperation"}


async def test_while_the_backend_is_down(tmp_path: Path) -> None:
    """Nobody is told that the one is missing while nobody can know it of the other."""
    async with setting(tmp_path) as here:
        await here.running.aclose()
        assert await differing(here) == {}
        answer = await here.eve.http.get(f"/v1/{here.hidden}")
    assert answer.json()["error"]["status"] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("fault", "status", "deadline"),
    [(denied, "PERMISSION_DENIED", "30s"), (hanging, "DEADLINE_EXCEEDED", "2s")],
    ids=["refuses", "hangs"],
)
async def test_while_the_backend_fails(
    fault: Handler, status: str, deadline: str, tmp_path: Path
) -> None:
    """With the words of the backend, or at the deadline of the call."""
    async with setting(tmp_path, deadline=deadline) as here:
        here.faulty.fault = fault
        assert await differing(here) == {}
        answer = await here.eve.http.get(f"/v1/{here.hidden}")
    assert answer.json()["error"]["status"] == status


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff",
        operations_pb2.Operation(name="x" * 2 * _LIMIT).SerializeToString(),
        operations_pb2.Operation(name="lines/1/operations/other").SerializeToString(),
    ],
    ids=["malformed", "too large", "another operation"],
)
async def test_an_answer_that_cannot_be_read_tells_nothing(answer: bytes, tmp_path: Path) -> None:
    """Because only an operation that exists has one."""
    async with setting(tmp_path, max_message_bytes=_LIMIT) as here:
        here.faulty.answer = answer
        assert await differing(here) == {}
        told = await here.eve.http.get(f"/v1/{here.hidden}")
    assert told.json()["error"]["status"] == "NOT_FOUND"


async def test_a_state_that_its_owner_has_just_read_is_not_answered_sooner(tmp_path: Path) -> None:
    """The backend is asked for both equally often, although the gateway keeps the state."""
    async with setting(tmp_path, freshness="30s") as here:
        for _ in range(2):
            await here.alice.http.get(f"/v1/{here.hidden}")
        assert asked(here.backend, 0, here.hidden) == ["GetOperation"]
        since = len(here.backend.calls)
        assert await differing(here) == {}
        hidden, missing = (asked(here.backend, since, name) for name in (here.hidden, MISSING))
    assert hidden == missing != []
