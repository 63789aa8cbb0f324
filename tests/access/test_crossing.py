"""Each verb over each face: what is refused, with which status and which text.

A verb or a face without a row fails the first test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy
from google.longrunning import operations_pb2

from lro_gateway.access.policy import CHANGES, OF_OPERATIONS, READS, Verb
from lro_gateway.principal import Principal
from lro_gateway.records.location import NOWHERE, Location
from tests import factory
from tests.access.crossings import CROSSINGS, NAME, OWNER, Outcome, over_rest
from tests.access.policed import policed, rest
from tests.access.test_policy_faces import HANDLERS, METHODS, POOL
from tests.contrary import Answer, Call, ContraryBackend

READER: Final = Principal("reader", "https://id", "data-readers")
SCOPELESS: Final = Principal("scopeless", "https://id", "scoped")
STRANGER: Final = Principal("mallory", "https://id", "web")
CALLERS: Final = {
    "allowed": OWNER,
    "read-only": READER,
    "missing scope": SCOPELESS,
    "other tenant": STRANGER,
}
RULES: list[dict[str, Any]] = [
    {"allow": ["*"], "tenants": ["data"]},
    {"allow": ["*"], "tenants": ["data-readers"], "read_only": True},
    {"allow": ["*"], "tenants": ["scoped"], "scopes": ["lro.all", "openid"]},
    {"allow": ["*"], "tenants": ["web"], "names": ["web/**"], "methods": ["*/Nothing"]},
]

_WITHOUT_TOOLS: Final = {Verb.EXPLAIN, Verb.APPROVE}
EMPTY_LISTS: Final = {"resources", "completion", "page", "command line"}
"""The faces that list the operations of all parents."""
FACES: Final = {"mcp 2026-07-28", "mcp legacy", "rest", "tools", "openapi"}
"""The faces that every verb of operations and of methods has."""
MORE_FACES: Final[Mapping[Verb, frozenset[str]]] = {
    **dict.fromkeys(OF_OPERATIONS, frozenset({"command line"})),
    Verb.START: frozenset({"tasks 2026-07-28", "tasks 2025-11-25"}),
}
"""The other faces that a verb must have."""


def test_each_verb_has_a_row_for_each_face() -> None:
    """A new verb, or a face that a row lacks, fails here."""
    assert set(CROSSINGS) == set(Verb)
    for verb, row in CROSSINGS.items():
        assert verb in _WITHOUT_TOOLS or row.keys() >= FACES
        assert row.keys() >= MORE_FACES.get(verb, frozenset())


def expected(verb: Verb, face: str, who: str) -> Outcome:
    """Return what a caller gets. Lists show only what a caller may use."""
    reads = verb in READS or verb in {Verb.CALL, Verb.EXPLAIN}
    if who == "allowed" or (who == "read-only" and reads):
        return "ok"
    if face == "openapi" and verb is Verb.APPROVE:
        # One path is for the calls of all methods, and the others may approve some.
        return "not listed" if who == "missing scope" else "ok"
    if face in {"tools", "openapi"}:
        # The other tenant has operations of its own.
        return "ok" if who == "other tenant" and verb in OF_OPERATIONS else "not listed"
    if who == "missing scope":
        return "INSUFFICIENT_SCOPE"
    if who == "read-only" and verb in CHANGES:
        return "POLICY_DENIED"
    return "hidden"


@asynccontextmanager
async def served(
    verb: Verb, store: Location, limits: Mapping[str, Any] | None = None
) -> AsyncIterator[tuple[str, ContraryBackend]]:
    """Serve one backend under the rules. Its starts need an approval if the verb is to approve."""
    handlers = {**HANDLERS, "GetOperation": running} if limits else HANDLERS
    async with ContraryBackend.open(
        handlers, methods=METHODS, pool=POOL, reflection_versions=("v1",)
    ) as backend:
        needed = ["*/BuildMachine"] if verb is Verb.APPROVE else []
        settings = {
            "name": "east",
            "target": backend.target,
            "methods": ["*/GetMachine"],
            "approval": needed,
        }
        kept = store if needed else NOWHERE
        async with policed(RULES, settings, store=kept, limits=limits) as url:
            yield url, backend


async def running(request: Any, _context: Any) -> Answer:
    """Answer that the operation runs, whatever its name is."""
    answer: Answer = operations_pb2.Operation(name=request.name)
    return answer


@pytest.mark.parametrize("verb", Verb)
async def test_each_crossing_refuses_whom_the_policy_refuses(verb: Verb, tmp_path: Path) -> None:
    """With the status and the text of its face. A refused call never reaches the backend."""
    async with served(verb, Location(tmp_path / "store.sqlite3")) as (url, backend):
        async with rest(url, OWNER) as client:
            await client.get("/openapi.json")  # The methods are then known.
        wrong = []
        for face, cross in CROSSINGS[verb].items():
            for who, caller in CALLERS.items():
                before = len(backend.answered)
                outcome = await cross(url, caller)
                asked = len(backend.answered) - before
                refused = outcome not in {"ok", "not listed"}
                # A list of everything asks the backend, and shows only what the caller may see.
                asked = 0 if face in EMPTY_LISTS and who == "other tenant" else asked
                if outcome != expected(verb, face, who) or (refused and asked):
                    wrong.append((face, who, outcome, asked))
    assert wrong == []


RATED: Final = [Verb.GET, Verb.LIST, Verb.CANCEL, Verb.DELETE, Verb.START, Verb.CALL]
LIMITS: Final[dict[str, tuple[list[Verb], Mapping[str, Any], Outcome]]] = {
    "rates": (RATED, {"rates": {verb.value: "1/24h" for verb in RATED}}, "RATE_EXCEEDED"),
    "approvals": ([Verb.APPROVE], {"rates": {"approve": "1/24h"}}, "RATE_EXCEEDED"),
    "watches": ([Verb.WAIT], {"max_watches_per_principal": 1}, "TOO_MANY_WATCHES"),
    "requests": ([Verb.EXPLAIN], {"max_requests_per_principal": 1}, "TOO_MANY_REQUESTS"),
}
"""The verbs of each limit, settings under which one call or stream reaches it, and its reason."""
FIRST: Final = "jobs/operations/first"
BOUND_BY_NO_LIMIT: Final = {
    *((verb, face) for verb in Verb for face in ("tools", "openapi") if verb is not Verb.EXPLAIN),
    (Verb.WAIT, "tasks 2026-07-28"),
}
"""Lists of what may be called make no call, and the client of a new task polls it itself."""


def test_each_verb_has_a_limit() -> None:
    """A new verb without one fails here."""
    assert {verb for verbs, *_ in LIMITS.values() for verb in verbs} == set(Verb)


def except_polls(backend: ContraryBackend) -> list[Call]:
    """Return the calls that a backend has got, without those about the first operation."""
    return [call for call in backend.answered if getattr(call.request, "name", "") != FIRST]


@pytest.mark.parametrize("limit", LIMITS)
async def test_each_crossing_refuses_who_is_over_a_limit(limit: str, tmp_path: Path) -> None:
    """With RESOURCE_EXHAUSTED in the form of its face. The backend gets no call.

    A wait reads the state first, because an operation that is done needs no watch.
    """
    verbs, limits, reason = LIMITS[limit]
    spends = {verb: CROSSINGS[verb]["rest"] for verb in verbs if "rates" in limits}
    if Verb.GET in spends:
        spends[Verb.GET] = over_rest("GET", f"/v1/{FIRST}")  # A known operation costs nothing.
    store = Location(tmp_path / "store.sqlite3")
    async with served(verbs[0], store, limits) as (url, backend), rest(url, OWNER) as client:
        await client.get("/openapi.json")
        spent = {await spend(url, OWNER) for spend in spends.values()}
        assert spent <= {"ok"}
        async with client.stream("GET", f"/v1/{FIRST}:watch") as watch:
            assert watch.status_code == 200
            lines = watch.aiter_lines()  # To drop it would end the stream.
            await anext(lines)
            before = len(except_polls(backend))
            wrong = []
            for verb in verbs:
                for face, cross in CROSSINGS[verb].items():
                    outcome = await cross(url, OWNER)
                    if outcome != ("ok" if (verb, face) in BOUND_BY_NO_LIMIT else reason):
                        wrong.append((verb, face, outcome))
            assert Verb.WAIT in verbs or len(except_polls(backend)) == before
    assert wrong == []


async def test_what_is_hidden_and_what_is_missing_have_one_answer(tmp_path: Path) -> None:
    """Status, headers and body are the same, and so is the work: no backend or store is asked."""
    varying = {"date", "x-request-id", "content-length"}
    missing = "jobs/operations/none"
    requests = (("GET", ""), ("POST", ":wait"), ("GET", ":watch"), ("POST", ":cancel"))
    store = Location(tmp_path / "store.sqlite3")
    async with served(Verb.APPROVE, store) as (url, backend), rest(url, STRANGER) as client:
        await client.get("/openapi.json")
        asked = len(backend.answered)
        with statements() as run:
            for method, verb in (*requests, ("DELETE", "")):
                answers = []
                for name in (NAME, missing):
                    answer = await client.request(method, f"/v1/{name}{verb}")
                    headers = {key: e for key, e in answer.headers.items() if key not in varying}
                    text = answer.text.replace(name, "NAME")
                    answers.append((answer.status_code, headers, text))
                assert answers[0] == answers[1]
                assert answers[0][0] == 404
        assert [each for each in run if NAME in each or missing in each] == []
        assert len(backend.answered) == asked


async def test_what_the_store_is_asked_is_counted(tmp_path: Path) -> None:
    """A start writes to the store, so the count above could find something."""
    async with (
        served(Verb.APPROVE, Location(tmp_path / "store.sqlite3")) as (url, _),
        rest(url, OWNER) as client,
    ):
        with statements() as run:
            asked = await client.post("/v1/machines:build", json=dict(factory.ORDER))
        assert asked.status_code == 200
        assert any("alice" in each for each in run)


@contextmanager
def statements() -> Iterator[list[str]]:
    """Yield a list that gets the parameters of each statement that any store runs."""
    run: list[str] = []

    def note(*arguments: Any) -> None:
        run.append(str(arguments[3]))

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        yield run
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)
